"""Loaded models: one folder each, kept by least recent use within a budget, and whatever is in use in any case."""

import copy
import ctypes
import gc
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch

from services.inference.backends.diffusion.adapters import ADAPTERS, Core
from services.inference.backends.diffusion.folder import ModelFolder, Unloadable, find, hashes
from services.inference.backends.diffusion.loras import Fused, Set, layers_of
from services.inference.backends.diffusion.precision import Loading, isolate
from services.inference.backends.diffusion.prompts import Prompts

SETS = 2  # of LoRAs a model keeps on beside those in use; each is as large as the layers that it changes

NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "bad_alloc",
    "can't start new thread",
    "could not create a primitive",  # oneDNN
    "STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
    "STATUS_NOT_INITIALIZED",  # cuBLAS, which found no memory for a handle
    "unable to find an engine to execute this computation",  # cuDNN, none of whose plans found room to work in
)


class Warm:
    """A loaded model. Its pipeline is never called: every image calls a copy with a scheduler of its own."""

    def __init__(self, folder: ModelFolder, pipe: Any, files: dict[str, str]) -> None:
        self.folder = folder
        self.pipe = pipe
        self.files = files
        self.users = 0
        self.bytes = _weights(folder)
        self._others: dict[str, Any] = {}
        adapter = ADAPTERS.get(type(pipe).__name__)
        self.core = None if adapter is None else Core(adapter, getattr(pipe, adapter.core))
        self._layers = layers_of(pipe)
        self._dressed: OrderedDict[Set, Dressed] = OrderedDict()
        self._encode: Any = getattr(pipe, "encode_prompt", None)
        if self._encode is not None:
            pipe.encode_prompt = Prompts().remembering(self._encode)

    def hold_back(self, take: Callable[..., Any]) -> None:
        """From now on `take` answers the calls of the model's core, with its arguments."""
        if self.core is not None:
            getattr(self.pipe, self.core.adapter.core).forward = take

    def dressed(self, loras: Set) -> "Dressed | None":
        """The model with these LoRAs on; None without any."""
        if not loras or self.core is None:
            return None
        if loras not in self._dressed:
            self._dressed[loras] = Dressed(self.core, self._encode, Fused(self.pipe, self._layers, loras))
            if len(self._dressed) > SETS:
                self._dressed.popitem(last=False)
        self._dressed.move_to_end(loras)
        return self._dressed[loras]

    def copy(self, scheduler: Any, *, of: str | None = None, dressed: "Dressed | None" = None) -> Any:
        """A pipeline for one image: its own state and scheduler, the shared weights and remembered prompts.

        `of`: the class of diffusers that is to run it, where it is not the model's own.
        """
        if of is not None and of not in self._others:
            self._others[of] = getattr(diffusers, of).from_pipe(self.pipe, dtype=self.pipe.dtype)
            self._others[of].set_progress_bar_config(disable=True)
            self._others[of].encode_prompt = self.pipe.encode_prompt
        pipe = copy.copy(self.pipe if of is None else self._others[of])
        pipe.scheduler = scheduler
        if self.core is None:
            _set_apart(pipe)
        if dressed is not None:
            pipe.encode_prompt = dressed.encode
        return pipe


class Dressed:
    """A model's core and encoders with one set of LoRAs on, and what these encoders made of prompts."""

    def __init__(self, core: Core, encode: Callable[..., Any], fused: Fused) -> None:
        self.core = core.within(lambda: fused.over(core.adapter.core))
        self.said = fused.said

        def encoded(*args: Any, **kwargs: Any) -> Any:
            with fused.over("text_encoder", "text_encoder_2"):
                return encode(*args, **kwargs)

        self.encode = Prompts().remembering(encoded)


class Models:
    def __init__(
        self,
        models: Path,
        *,
        device: torch.device,
        dtype: torch.dtype,
        budget: int,
        on_load: Callable[[str, float], None],
    ) -> None:
        """`budget`: bytes of weights that may stay beside those in use."""
        self._models = models
        self._device = device
        self._dtype = dtype
        self._budget = budget
        self._on_load = on_load
        self._warm: OrderedDict[ModelFolder, Warm] = OrderedDict()
        self._known = threading.Lock()  # held for a moment: who waits for it waits for no load
        self._loading = threading.Lock()  # two loads at once would need the memory of both
        isolate()

    @contextmanager
    def held(self, name: str, take: Callable[..., Any], *, before_load: Callable[[], None]) -> Iterator[Warm]:
        """The model, loaded if it is not warm or its files have changed; not dropped before the end.

        `before_load` may raise where nobody wants it any more: others' loads may have taken long.
        """
        folder = find(self._models, name)
        warm = self._taken(folder) or self._loaded(folder, take, before_load)
        try:
            yield warm
        finally:
            with self._known:
                warm.users -= 1

    def free(self) -> bool:
        """Gives back whatever memory is not in use; whether a model was dropped."""
        return self._make_room(self._budget)

    def _taken(self, folder: ModelFolder) -> Warm | None:
        with self._known:
            warm = self._warm.get(folder)
            if warm is not None:
                self._warm.move_to_end(folder)
                warm.users += 1
            return warm

    def _loaded(self, folder: ModelFolder, take: Callable[..., Any], before_load: Callable[[], None]) -> Warm:
        with self._loading:
            if (warm := self._taken(folder)) is not None:
                return warm  # by whoever was here before
            before_load()
            self._make_room(_weights(folder))
            began = time.monotonic()
            warm = self._load(folder)
            warm.hold_back(take)
            warm.users = 1
            with self._known:
                self._warm[folder] = warm
            self._on_load(folder.name, time.monotonic() - began)
            return warm

    def _make_room(self, wanted: int) -> bool:
        """Drops what was used longest ago until `wanted` bytes fit into the budget beside what is idle."""
        with self._known:
            idle = [folder for folder, warm in self._warm.items() if not warm.users]
            before, kept = len(self._warm), sum(self._warm[folder].bytes for folder in idle) + wanted
            for folder in idle:
                if kept > self._budget:
                    kept -= self._warm.pop(folder).bytes
            dropped = len(self._warm) < before
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif sys.platform == "linux":
            _give_back()
        return dropped

    def _load(self, folder: ModelFolder) -> Warm:
        try:
            with Loading():
                pipe = diffusers.DiffusionPipeline.from_pretrained(
                    folder.path,
                    local_files_only=True,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=self._dtype,
                    **dict.fromkeys(folder.absent),
                )
            pipe = pipe.to(self._device)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise Unloadable(f"{folder.name} cannot be loaded: {_first_line(error)}") from error
        pipe.set_progress_bar_config(disable=True)
        return Warm(folder, pipe, hashes(folder))


def _set_apart(pipe: Any) -> None:
    """Gives it modules of its own around the shared weights.

    A pipeline that runs whole may change its model while it runs, other attention for one, and where it is cancelled
    it changes nothing back: that must be nobody else's.
    """
    modules = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    shared = {id(tensor): tensor for part in modules.values() for tensor in (*part.parameters(), *part.buffers())}
    for name, part in modules.items():
        setattr(pipe, name, copy.deepcopy(part, shared))


def is_out_of_memory(error: BaseException | None) -> bool:
    """torch says it in many ways, most of them only in a RuntimeError's text; a loader has it as its error's cause."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def _give_back() -> None:
    """glibc keeps what is freed for the next image (see `KEEPING`); a dropped model's pages are the machine's again."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _weights(folder: ModelFolder) -> int:
    return sum(size for part, size, _ in folder.signature if part.endswith(".safetensors"))


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
