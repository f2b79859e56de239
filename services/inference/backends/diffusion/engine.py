"""Runs a `diffusers` pipeline for one image and says all that made it; only the model process imports torch.

An image is a function of its seed, the model's bytes and the sequence of batch shapes it went through; each goes into
the manifest, with all else that is known to change the result (device, kernels, dtype, threads, versions).
"""

import inspect
import io
import platform
import re
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import PIL
import torch
import transformers
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from PIL import Image

from services.inference.backends.diffusion.adapters import Call
from services.inference.backends.diffusion.loras import find as find_loras
from services.inference.backends.diffusion.models import Dressed, Models, Warm
from services.inference.backends.diffusion.rows import Row, Turn
from services.inference.backends.diffusion.starting import Start, said, start_of
from services.inference.backends.diffusion.thumbnails import Sketcher
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
# Raised by whoever changes what this engine makes of the same manifest.
ENGINE = "calotype-diffusion/1"
CPU = Path("/proc/cpuinfo")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
OnStep = Callable[[int, int], None]


class Refused(Exception):
    """The image cannot be made, for a reason of our own vocabulary."""

    def __init__(self, reason: str, detail: str, *, retriable: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.retriable = retriable


class Engine:
    """Runs pipelines: one image a call, in the thread of its row."""

    def __init__(
        self,
        models: Path,
        *,
        device: str,
        dtype: str,
        threads: int,
        warm: int = 0,
        on_load: Callable[[str, float], None],
        on_sketch: Callable[[int, int, bytes], None],
    ) -> None:
        """`on_load` hears which model was loaded, and how long it took; `on_sketch` whose thumbnail of which step."""
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        # Same device, same versions: same bytes. Operations that have no deterministic form warn instead of failing.
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a third of a GPU's step, to find others' mistakes
        torch.backends.cudnn.benchmark = False
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._device = torch.device(_best_device() if device == "auto" else device)
        # bfloat16 has float32's range, so a decoder does not overflow into a black picture as it does in float16.
        default = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._dtype = default if dtype == "auto" else getattr(torch, dtype)
        self._folder = models
        self._models = Models(models, device=self._device, dtype=self._dtype, budget=warm, on_load=on_load)
        self._sketcher = Sketcher(on_sketch)
        self._rows = threading.local()

    def make(self, row: Row, *, on_step: OnStep) -> tuple[bytes, dict[str, Any]]:
        """The image as PNG, and its manifest. Raises `Cancelled` and whatever the pipeline raises."""
        self._rows.current = row
        row.stop_if_cancelled()
        # The next image's model is loaded here too, beside all that others do.
        with self._models.held(row.work["model"], self._take, before_load=row.stop_if_cancelled) as warm:
            row.enter(row.loop.encoding)
            row.stop_if_cancelled()
            try:
                return self._run(warm, row, on_step)
            finally:
                self._sketcher.forget(row.id)

    def free(self) -> bool:
        """Gives back whatever memory is not in use; whether a model was dropped."""
        return self._models.free()

    def _take(self, *args: Any, **kwargs: Any) -> Any:
        return self._rows.current.take(Call(self._rows.core, args, kwargs))

    def _run(self, warm: Warm, row: Row, on_step: OnStep) -> tuple[bytes, dict[str, Any]]:
        work = row.work
        self._check_size(warm.pipe, work)
        start, dressed = _start(warm, work), self._dressed(warm, work)
        scheduler = _scheduler(warm.pipe.scheduler, work["scheduler"])
        pipe = warm.copy(scheduler, of=_runs(warm, start), dressed=dressed)
        self._rows.core = (dressed or warm).core
        truncated = _is_truncated(pipe, work["prompt"])
        whole = warm.core is None and not row.is_alone
        if whole:
            row.leave(row.loop.encoding)
            row.ask(Turn())

        def after_step(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if warm.core is None:
                row.stepped(1, 0)
            on_step(step + 1, pipe.num_timesteps)
            row.stop_if_cancelled()
            if work["preview"] and not row.is_alone:
                self._sketcher.offer(row.id, step + 1, pipe, tensors.get("latents"))
            if step + 1 == pipe.num_timesteps:
                row.last_step_taken()
            elif whole:
                row.ask(Turn())
            return tensors

        taken = inspect.signature(pipe.__call__).parameters
        asked = {"prompt": work["prompt"], NEGATIVE: work[NEGATIVE] or None, "guidance_scale": work["guidance"]}
        size = {"width": work["width"], "height": work["height"]}  # a reference brings its own to some pipelines
        try:
            output = pipe(
                **{name: value for name, value in (asked | size).items() if name in taken},
                **(start.arguments if start else {}),
                num_inference_steps=work["steps"],
                # On the CPU whatever the device: the first noise is then the same everywhere.
                generator=torch.Generator("cpu").manual_seed(work["seed"]),
                callback_on_step_end=after_step,
                output_type="np",
            )
        except ValueError as error:
            if row.shapes:
                raise
            raise Refused("invalid_request", f"the pipeline refuses it: {error}") from error
        row.leave()
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise Refused("content_filtered", "the model's own safety checker withheld the picture")
        manifest = self._manifest(warm, pipe, row) | {
            "ignored": [name for name, value in asked.items() if value and name not in taken],
            "prompt_truncated": truncated,
        }
        manifest |= {"loras": dressed.said} if dressed else {}
        manifest |= {"sources": said(work), "strength": start.strength} if start else {}
        return _png(output.images[0], work, start), manifest

    @property
    def device(self) -> str:
        """As metrics name it."""
        name: str = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type
        return name

    def versions(self) -> dict[str, str]:
        found = {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__}
        found |= {"transformers": transformers.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
        found |= {name: metadata.version(name) for name in ("tokenizers", "safetensors")}
        if self._device.type == "cuda":
            cudnn = str(torch.backends.cudnn.version())
            found |= {"cuda": torch.version.cuda or "", "cudnn": cudnn, "driver": _driver()}
        return found

    def _dressed(self, warm: Warm, work: Mapping[str, Any]) -> Dressed | None:
        loras = find_loras(self._folder, work["loras"])
        if loras and warm.core is None:
            raise Refused("invalid_request", f"{type(warm.pipe).__name__} takes no LoRA here")
        return warm.dressed(loras)

    def _check_size(self, pipe: Any, work: Mapping[str, Any]) -> None:
        # Latents are `vae_scale_factor` times smaller; most pipelines ask for eight at least.
        unit = max(8, int(getattr(pipe, "vae_scale_factor", 8)))
        if work["width"] % unit or work["height"] % unit or min(work["width"], work["height"]) < unit:
            raise Refused("invalid_request", f"{work['width']} × {work['height']} px: both must be multiples of {unit}")

    def _manifest(self, warm: Warm, pipe: Any, row: Row) -> dict[str, Any]:
        scheduler, work = pipe.scheduler, row.work
        return {
            "backend": "diffusion",
            "engine": ENGINE,
            "pipeline": type(pipe).__name__,
            "model": {"name": warm.folder.name, "digest": digest_of(warm.files), "files": warm.files},
            "scheduler": {"class": type(scheduler).__name__, "config": _plain(dict(scheduler.config))},
            "steps": work["steps"],
            "guidance": work["guidance"],
            "width": work["width"],
            "height": work["height"],
            "seed": work["seed"],
            "noise": "cpu",
            "batch_shapes": list(row.shapes),
            # A CPU's kernels give every row the same bits wherever it lies; some of cuDNN's divide their sums by place.
            **({} if self._device.type == "cpu" else {"batch_places": list(row.places)}),
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": self._device_facts(),
            **({"processor": _processor()} if self._device.type == "cpu" else {}),
            "attention": _attention(pipe, self._device),
            "decode": _decoding(pipe),
            "loras": [],
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


def _start(warm: Warm, work: Mapping[str, Any]) -> Start | None:
    try:
        start = start_of(work)
    except ValueError as error:
        raise Refused("invalid_request", str(error)) from error
    if start is None:
        return None
    if warm.core is None:
        raise Refused("invalid_request", f"{type(warm.pipe).__name__} starts from words alone here")
    if int(work["steps"] * start.strength) < 1:
        raise Refused("invalid_request", f"a strength of {start.strength} leaves none of {work['steps']} steps")
    return start


def _runs(warm: Warm, start: Start | None) -> str | None:
    if start is None or warm.core is None:
        return None
    return warm.core.adapter.reference if start.mask is None else warm.core.adapter.masked


def _png(picture: Any, work: Mapping[str, Any], start: Start | None) -> bytes:
    if not np.isfinite(picture).all():
        raise Refused("corrupt_output", f"the decoder gave numbers that are no colour (seed {work['seed']})")
    pixels = (picture * 255).round().astype("uint8")
    image = Image.fromarray(pixels)
    if image.size != (work["width"], work["height"]):
        raise Refused(
            "corrupt_output", f"asked for {work['width']} × {work['height']} px, got {image.width} × {image.height}"
        )
    if start is not None:
        image = Image.fromarray(start.kept(pixels))
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)  # level 6 costs seven times the time for a few per cent
    return target.getvalue()


def _is_truncated(pipe: Any, prompt: str) -> bool:
    tokenizer = getattr(pipe, "tokenizer", None)
    return tokenizer is not None and len(tokenizer(prompt).input_ids) > tokenizer.model_max_length


def _attention(pipe: Any, device: torch.device) -> dict[str, Any]:
    """`kernels`: those that torch may choose from, by the shapes it meets; a CPU has no choice."""
    core = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    processors = {type(processor).__name__ for processor in getattr(core, "attn_processors", {}).values()}
    backend, _ = _AttentionBackendRegistry.get_active_backend()
    found: dict[str, Any] = {"processors": sorted(processors), "backend": str(backend.value)}
    if device.type == "cuda":
        names = ("flash", "mem_efficient", "math", "cudnn")
        found["kernels"] = [name for name in names if getattr(torch.backends.cuda, f"{name}_sdp_enabled")()]
    return found


def _decoding(pipe: Any) -> dict[str, Any]:
    """How latents become a picture: always the whole of one image at a time, whatever its steps were shared with."""
    vae = getattr(pipe, "vae", None)
    if vae is None:
        return {}
    modes = {name: bool(getattr(vae, f"use_{name}", False)) for name in ("tiling", "slicing")}
    return {"class": type(vae).__name__, "dtype": str(vae.dtype).removeprefix("torch."), "alone": True, **modes}


def _processor() -> str:
    """Libraries choose kernels by the model too. A hypervisor may hide its name, but not its numbers."""
    try:
        first = CPU.read_text().partition("\n\n")[0]
    except OSError:
        return platform.processor()
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    names = ("model name", "vendor_id", "cpu family", "model", "cache size", "CPU implementer", "CPU part")
    return ", ".join(f"{name} {said[name]}" for name in names if name in said)


def _driver() -> str:
    try:
        found = re.search(r"\d+\.\d+(\.\d+)*", NVIDIA_DRIVER.read_text())
    except OSError:
        found = None
    return found[0] if found else ""


def _plain(value: Any) -> Any:
    """What JSON can hold: a scheduler's configuration has tuples, arrays and, in some releases, enums."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if not str(key).startswith("_")}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
