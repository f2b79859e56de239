"""Backend `diffusion`: any local `diffusers` folder, run in a process of its own.

The model process holds torch, the weights and the GIL; leases and heartbeats stay here. It dies, runs out of memory or
hangs without taking the worker along, and is started again for the next image.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.diffusion import wire
from shared.events import FailureReason

# All the model process inherits: how to find programs, drivers and devices. No secret of the service is among them.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
INHERITED_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "HSA_", "ROCR_", "HIP_")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
# torch's own: pickles may not run code; cuBLAS repeats its sums in the same order; OpenMP threads do not spin.
CAREFUL = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_WAIT_POLICY": "PASSIVE"}
ROOT = Path(__file__).resolve().parents[4]
# Importing torch and diffusers took 22 s of CPU without bytecode; a busy machine takes several times that.
START_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionOptions:
    """How models are run.

    `memory` caps what models and their images may take beyond the libraries, in bytes (Linux, CPU memory). `silence` is
    the longest a model may take to load or to make one step before it counts as hung, in seconds.
    """

    models: Path
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 1
    memory: int | None = None
    silence: float = 600.0


class DiffusionBackend:
    """One image at a time; a second call waits for the first."""

    name = "diffusion"

    def __init__(self, options: DiffusionOptions) -> None:
        self._options = options
        self._one_at_a_time = asyncio.Lock()
        self._model: ModelProcess | None = None

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        async with self._one_at_a_time:
            if cancelled():
                raise GenerationCancelled
            progress(0, work.steps)
            model = await self._running()
            try:
                return await model.generate(work, progress=progress, cancelled=cancelled)
            except asyncio.CancelledError:
                model.kill()  # nobody waits for this image, and a process in the middle of one cannot be reused
                raise

    async def close(self) -> None:
        if self._model is not None:
            await self._model.close()

    async def _running(self) -> "ModelProcess":
        if self._model is None or not self._model.alive:
            if self._model is not None:
                await self._model.close()
            self._model = await ModelProcess.start(self._options)
        return self._model


class ModelProcess:
    """The worker's end of one model process."""

    def __init__(
        self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: float
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._silence = silence
        self._last_words = b""
        self._listening = asyncio.create_task(self._listen())
        self._killed = False
        self._images = 0

    @classmethod
    async def start(cls, options: DiffusionOptions) -> "ModelProcess":
        """Raises `BackendFailure` where the process does not come up: torch missing, no memory, no device."""
        ours, theirs = socket.socketpair()
        with theirs:
            settings = asdict(options) | {"models": str(options.models), "fd": theirs.fileno()}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.inference.backends.diffusion.child", json.dumps(settings)),
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is the worker's to answer
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        model = cls(process, reader, writer, options.silence)
        try:
            await model._receive(START_SECONDS)
        except BaseException:
            await model.close()
            raise
        return model

    @property
    def alive(self) -> bool:
        return not self._killed and self._process.returncode is None and not self._reader.at_eof()

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        self._images += 1
        self._send(_request(work) | {"do": "generate", "id": self._images})
        told = False
        while True:
            head, body = await self._receive(self._silence)
            if head["is"] == "step":
                progress(head["step"], head["steps"])
            if head["is"] in ("step", "loaded"):
                if not told and cancelled():
                    self._send({"do": "cancel", "id": self._images})
                    told = True
            elif head["is"] == "cancelled":
                raise GenerationCancelled
            elif head["is"] == "failed":
                raise BackendFailure(FailureReason(head["reason"]), head["detail"], retriable=head["retriable"])
            else:
                return Generated(image=body, width=work.width, height=work.height, manifest=head["manifest"])

    def kill(self) -> None:
        self._killed = True
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """The process leaves at the end of its stream; one that is busy is ended."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), 2.0)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listening
        with suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, head: dict[str, Any]) -> None:
        self._writer.write(wire.pack(head))

    async def _receive(self, seconds: float) -> wire.Frame:
        try:
            return await asyncio.wait_for(wire.receive(self._reader), seconds)
        except TimeoutError:
            self.kill()
            detail = f"the model process was silent for {seconds:.0f} s and was ended"
            raise BackendFailure(FailureReason.MODEL_TIMEOUT, detail, retriable=True) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            detail = await self._obituary()
            raise BackendFailure(FailureReason.BACKEND_UNAVAILABLE, detail, retriable=True) from None

    async def _obituary(self) -> str:
        self._writer.close()
        code = await self._process.wait()
        await self._listening
        if code < 0:
            hint = ", most often by the kernel for want of memory" if code == -signal.SIGKILL else ""
            return f"the model process was ended by {signal.Signals(-code).name}{hint}"
        said = self._last_words.decode(errors="replace").strip().splitlines() or ["without a word"]
        return f"the model process ended with {code}: {said[-1][:300]}"

    async def _listen(self) -> None:
        """Libraries print what they like; the end of it is kept for an obituary."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(4096):
            self._last_words = (self._last_words + chunk)[-2000:]


def _request(work: Generation) -> dict[str, Any]:
    names = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "scheduler", "seed", "model")
    return {name: getattr(work, name) for name in names}


def _environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    return kept | OFFLINE | CAREFUL | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
