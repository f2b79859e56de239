"""Runs a `diffusers` pipeline: the only module that imports torch, and only the model process imports it.

An image is a function of its seed, the model's bytes and the sequence of batch shapes it went through; each goes into
the manifest, with all else that is known to change the result (device, kernels, dtype, threads, versions).
"""

import gc
import inspect
import io
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from PIL import Image

from services.inference.backends.diffusion.folder import ModelFolder, Unloadable, find, hashes
from shared.ids import digest_of

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++_2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "flow_euler": "FlowMatchEulerDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
NEGATIVE = "negative_prompt"


class Cancelled(Exception):
    """Raised between two steps, so the pipeline unwinds at once."""


class Refused(Exception):
    """The image cannot be made, for a reason of our own vocabulary."""

    def __init__(self, reason: str, detail: str, *, retriable: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.retriable = retriable


@dataclass(frozen=True, slots=True)
class Warm:
    """A loaded model; `scheduler` is the configuration every image starts a fresh scheduler from."""

    folder: ModelFolder
    pipe: Any
    scheduler: Any
    files: dict[str, str]


class Engine:
    """One model at a time, kept warm until another one is asked for or its files change."""

    def __init__(self, models: Path, *, device: str, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        # Same device, same versions: same bytes. Operations that have no deterministic form warn instead of failing.
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._models = models
        self._device = torch.device(_best_device() if device == "auto" else device)
        # bfloat16 has float32's range, so a decoder does not overflow into a black picture as it does in float16.
        default = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._dtype = default if dtype == "auto" else getattr(torch, dtype)
        self._warm: Warm | None = None

    def load(self, name: str) -> Warm:
        """The model, from memory if it is the one that is warm."""
        folder = find(self._models, name)
        if self._warm is None or self._warm.folder != folder:
            self.drop()
            self._warm = self._load(folder)
        return self._warm

    def drop(self) -> None:
        """Gives the model's memory back."""
        self._warm = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def generate(
        self, warm: Warm, work: dict[str, Any], *, on_step: Callable[[int, int], None]
    ) -> tuple[bytes, dict[str, Any]]:
        """The image as PNG, and its manifest. `on_step` may raise `Cancelled`."""
        pipe = warm.pipe
        self._check_size(pipe, work)
        pipe.scheduler = _scheduler(warm.scheduler, work["scheduler"])
        shapes: list[int] = []

        def after_step(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            shapes.append(1)
            on_step(step + 1, pipe.num_timesteps)
            return tensors

        taken = inspect.signature(pipe.__call__).parameters
        asked = {"prompt": work["prompt"], NEGATIVE: work[NEGATIVE] or None, "guidance_scale": work["guidance"]}
        try:
            output = pipe(
                **{name: value for name, value in asked.items() if name in taken},
                width=work["width"],
                height=work["height"],
                num_inference_steps=work["steps"],
                # On the CPU whatever the device: the first noise is then the same everywhere.
                generator=torch.Generator("cpu").manual_seed(work["seed"]),
                callback_on_step_end=after_step,
                output_type="np",
            )
        except ValueError as error:
            if shapes:
                raise
            raise Refused("invalid_request", f"the pipeline refuses it: {error}") from error
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise Refused("content_filtered", "the model's own safety checker withheld the picture")
        manifest = self._manifest(warm, work, shapes) | {
            "ignored": [name for name, value in asked.items() if value and name not in taken],
            "prompt_truncated": _is_truncated(pipe, work["prompt"]),
        }
        return _png(output.images[0], work), manifest

    def versions(self) -> dict[str, str]:
        found = {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__}
        found |= {"transformers": transformers.__version__, "numpy": np.__version__}
        return found | ({"cuda": torch.version.cuda or ""} if self._device.type == "cuda" else {})

    def _load(self, folder: ModelFolder) -> Warm:
        try:
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                folder.path, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=self._dtype
            ).to(self._device)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise Unloadable(f"{folder.name} cannot be loaded: {_first_line(error)}") from error
        pipe.set_progress_bar_config(disable=True)
        return Warm(folder, pipe, pipe.scheduler, hashes(folder))

    def _check_size(self, pipe: Any, work: dict[str, Any]) -> None:
        # Latents are `vae_scale_factor` times smaller; most pipelines ask for eight at least.
        unit = max(8, int(getattr(pipe, "vae_scale_factor", 8)))
        if work["width"] % unit or work["height"] % unit or min(work["width"], work["height"]) < unit:
            raise Refused("invalid_request", f"{work['width']} × {work['height']} px: both must be multiples of {unit}")

    def _manifest(self, warm: Warm, work: dict[str, Any], shapes: list[int]) -> dict[str, Any]:
        scheduler = warm.pipe.scheduler
        return {
            "backend": "diffusion",
            "pipeline": type(warm.pipe).__name__,
            "model": {"name": warm.folder.name, "digest": digest_of(warm.files), "files": warm.files},
            "scheduler": {"class": type(scheduler).__name__, "config": _plain(dict(scheduler.config))},
            "steps": work["steps"],
            "guidance": work["guidance"],
            "width": work["width"],
            "height": work["height"],
            "seed": work["seed"],
            "noise": "cpu",
            "batch_shapes": shapes,
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": self._device_facts(),
            "attention": _attention(warm.pipe),
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "tf32": torch.backends.cuda.matmul.allow_tf32 if self._device.type == "cuda" else False,
            "versions": self.versions(),
        }

    def _device_facts(self) -> dict[str, str]:
        if self._device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(self._device)
            return {"type": "cuda", "name": torch.cuda.get_device_name(self._device), "capability": f"{major}.{minor}"}
        # The vector instructions decide the order of additions, so they belong to a CPU's name.
        return {
            "type": self._device.type,
            "name": platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        }


def is_out_of_memory(error: BaseException) -> bool:
    """torch says it in four ways, two of them only in the text of a RuntimeError."""
    texts = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "bad_alloc")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in texts)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _scheduler(stored: Any, asked: str) -> Any:
    """A fresh scheduler per image: they keep state between steps."""
    if asked in ("", "default"):
        return type(stored).from_config(stored.config)
    name = SCHEDULERS.get(asked, asked)
    fitting = {scheduler.__name__: scheduler for scheduler in stored.compatibles}
    if name not in fitting:
        known = ", ".join(sorted(short for short, full in SCHEDULERS.items() if full in fitting))
        raise Refused("invalid_request", f"scheduler {asked!r} does not fit this model; these do: default, {known}")
    return fitting[name].from_config(stored.config)


def _png(picture: Any, work: dict[str, Any]) -> bytes:
    if not np.isfinite(picture).all():
        raise Refused("corrupt_output", f"the decoder gave numbers that are no colour (seed {work['seed']})")
    image = Image.fromarray((picture * 255).round().astype("uint8"))
    if image.size != (work["width"], work["height"]):
        raise Refused(
            "corrupt_output", f"asked for {work['width']} × {work['height']} px, got {image.width} × {image.height}"
        )
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)  # level 6 costs seven times the time for a few per cent
    return target.getvalue()


def _is_truncated(pipe: Any, prompt: str) -> bool:
    tokenizer = getattr(pipe, "tokenizer", None)
    return tokenizer is not None and len(tokenizer(prompt).input_ids) > tokenizer.model_max_length


def _attention(pipe: Any) -> dict[str, Any]:
    core = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    processors = {type(processor).__name__ for processor in getattr(core, "attn_processors", {}).values()}
    backend, _ = _AttentionBackendRegistry.get_active_backend()
    return {"processors": sorted(processors), "backend": str(backend.value)}


def _plain(value: Any) -> Any:
    """What JSON can hold: a scheduler's configuration has tuples, arrays and, in some releases, enums."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if not str(key).startswith("_")}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
