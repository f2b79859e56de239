"""Backend `diffusion`: any local `diffusers` folder, run in a process of its own that many images share.

The model process holds torch, the weights and the GIL; leases and heartbeats stay here. It dies, runs out of memory or
hangs without taking the worker along, and is started again for the next image. Where it died with several images in it,
nobody knows which of them it was: each is `shared`, and made alone the next time.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.diffusion import wire
from services.inference.backends.diffusion.meter import Meter
from services.inference.domain import SHARES
from shared.events import FailureReason

log = structlog.get_logger()

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
# glibc's: memory that one thread gave back is there for the next, instead of staying in an arena of its own.
CAREFUL |= {"MALLOC_ARENA_MAX": "1"}
# Where memory is capped, what is given back leaves the process at once. Steps take a fifth to two thirds longer, but
# the next image would find it used up by holes. Without a cap pages are kept: glibc maps every block of 32 MB anew, and
# eight images at 128 px faulted 65,000 times a step, a tenth of its time.
CAPPED = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**40), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
ROOT = Path(__file__).resolve().parents[4]
# Importing torch and diffusers took 22 s of CPU without bytecode; a busy machine takes several times that.
START_SECONDS = 180.0
LOOK_SECONDS = 0.25  # between looks whether an image that nothing is said of is still wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionOptions:
    """How models are run.

    `images` are made at once, and share their steps as their lanes' `shares` let them. `warm` is how many
    bytes of weights stay loaded beside those in use. `memory` caps what models and their images may take beyond the
    libraries, in bytes (Linux, CPU memory). `silence` is the longest a model may take to load or to make one step
    before it counts as hung, in seconds. `graphs`: steps on a GPU are recorded, and replayed as CUDA graphs.
    """

    models: Path
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 1
    images: int = 10
    warm: int = 0
    memory: int | None = None
    silence: float = 600.0
    graphs: bool = True
    shares: Mapping[str, int] = field(default_factory=lambda: dict(SHARES))


class DiffusionBackend:
    """As many images at once as its options say; more wait in the model process for their turn."""

    name = "diffusion"

    def __init__(self, options: DiffusionOptions) -> None:
        self._options = options
        self._starting: asyncio.Task[ModelProcess] | None = None
        self._model: ModelProcess | None = None
        self._inside = Occupancy()
        self._meter = Meter()

    @property
    def process(self) -> int | None:
        """The id of the model process, where there is one."""
        return None if self._model is None else self._model.process

    def tell_idle(self) -> None:
        """For the metrics: up to now."""
        self._meter.tell_idle()

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        async with self._inside.entered(alone=work.alone):
            if cancelled():
                raise GenerationCancelled(billed=False)
            progress(0, work.steps)
            model = await self._running()
            return await model.generate(work, progress=progress, cancelled=cancelled)

    async def close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._model is not None:
            await self._model.close()

    async def _running(self) -> "ModelProcess":
        """One start for all who wait for it: where it fails, it fails for each of them."""
        if self._model is not None and self._model.alive:
            return self._model
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    async def _start(self) -> "ModelProcess":
        if self._model is not None:
            await self._model.close()
        self._model = await ModelProcess.start(self._options, self._meter)
        return self._model

    def _started(self, task: "asyncio.Task[ModelProcess]") -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # who waited for it has heard; with nobody waiting it is no news


class Occupancy:
    """Who is in the model process: any number together, or one alone."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._many = 0
        self._alone = 0  # inside, or waiting for the others to leave: nobody else enters meanwhile

    @asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[None]:
        async with self._changed:
            if alone:
                await self._changed.wait_for(lambda: not self._alone)
                self._alone = 1
                try:
                    await self._changed.wait_for(lambda: not self._many)
                except BaseException:
                    self._alone = 0
                    self._changed.notify_all()
                    raise
            else:
                await self._changed.wait_for(lambda: not self._alone)
                self._many += 1
        try:
            yield
        finally:
            await asyncio.shield(self._leave(alone=alone))

    async def _leave(self, *, alone: bool) -> None:
        async with self._changed:
            if alone:
                self._alone = 0
            else:
                self._many -= 1
            self._changed.notify_all()


class ModelProcess:
    """The worker's end of one model process."""

    def __init__(
        self,
        process: Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silence: float,
        meter: Meter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._silence = silence
        self._meter = meter
        self._last_words = b""
        self._listening = asyncio.create_task(self._listen())
        self._receiving: asyncio.Task[None] | None = None
        self._killed = False
        self._images = 0
        self._inside: dict[int, asyncio.Queue[wire.Frame | BackendFailure]] = {}
        self._heard = 0.0  # when, by this host's clock, it last said something or had nothing to do

    @classmethod
    async def start(cls, options: DiffusionOptions, meter: Meter) -> "ModelProcess":
        """Raises `BackendFailure` where the process does not come up: torch missing, no memory, no device."""
        ours, theirs = socket.socketpair()
        with theirs:
            settings = asdict(options) | {"models": str(options.models), "fd": theirs.fileno()}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.inference.backends.diffusion.child", json.dumps(settings)),
                pass_fds=(theirs.fileno(),),
                env=environment(options),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is the worker's to answer
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        model = cls(process, reader, writer, options.silence, meter)
        try:
            meter.begins(await model._first(START_SECONDS))
        except BaseException:
            await model.close()
            raise
        model._receiving = asyncio.create_task(model._receive())
        return model

    @property
    def process(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._killed and self._process.returncode is None and not self._reader.at_eof()

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        self._images += 1
        image = self._images
        if not self._inside:
            self._heard = time.monotonic()
            self._meter.works()
        said = self._inside[image] = asyncio.Queue()
        try:
            pictures = b"".join(source.data for source in work.sources)
            self._send(_request(work) | {"do": "generate", "id": image}, pictures)
            return await self._ended(image, work, said, progress=progress, cancelled=cancelled)
        except asyncio.CancelledError:
            self._send({"do": "cancel", "id": image})  # nobody waits for this image; the others go on
            raise
        finally:
            del self._inside[image]
            if not self._inside and self.alive:
                self._meter.rests()

    async def _ended(
        self,
        image: int,
        work: Generation,
        said: "asyncio.Queue[wire.Frame | BackendFailure]",
        *,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> Generated:
        told, used = False, 0.0
        while True:
            if not told and cancelled():
                self._send({"do": "cancel", "id": image})
                told = True
            try:
                heard = await asyncio.wait_for(said.get(), LOOK_SECONDS)
            except TimeoutError:
                self._watch()
                continue
            if isinstance(heard, BackendFailure):
                heard.device_seconds = used or None  # it died in a step that nobody has timed
                raise heard
            head, body = heard
            if head["is"] == "sketch":
                if work.preview is not None:
                    work.preview(head["step"], body)
                continue
            self._meter.stepped(work.model, head["device_seconds"] - used)
            used = head["device_seconds"]
            if head["is"] == "step":
                progress(head["step"], head["steps"])
            elif head["is"] == "cancelled":
                raise GenerationCancelled(device_seconds=used)
            elif head["is"] == "failed":
                failure = BackendFailure(
                    FailureReason(head["reason"]), head["detail"], retriable=head["retriable"], shared=head["shared"]
                )
                failure.device_seconds = used
                raise failure
            else:
                return Generated(
                    image=body,
                    width=work.width,
                    height=work.height,
                    manifest=head["manifest"],
                    device_seconds=used,
                )

    def kill(self) -> None:
        self._killed = True
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """The process leaves at the end of its stream; one that does not is ended."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), 2.0)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listening
        if self._receiving is not None:
            await self._receiving
        with suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, head: dict[str, Any], body: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(wire.pack(head, body))

    async def _first(self, seconds: float) -> str:
        """The name of its device."""
        try:
            head, _ = await asyncio.wait_for(wire.receive(self._reader), seconds)
            return str(head["device"])
        except TimeoutError:
            self.kill()
            detail = f"the model process was silent for {seconds:.0f} s and was ended"
            raise BackendFailure(FailureReason.MODEL_TIMEOUT, detail, retriable=True) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            detail = await self._obituary()
            raise BackendFailure(FailureReason.BACKEND_UNAVAILABLE, detail, retriable=True) from None

    async def _receive(self) -> None:
        """Hands every image what is said of it, until the process ends."""
        try:
            while True:
                head, body = await wire.receive(self._reader)
                self._heard = time.monotonic()
                if head["is"] == "loaded":
                    self._meter.loaded(head["model"], head["seconds"])
                elif head["is"] == "unrecorded":
                    log.warning("steps_not_recorded", why=head["why"], effect="steps on this GPU take longer")
                elif (said := self._inside.get(head["id"])) is not None:
                    said.put_nowait((head, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._died(FailureReason.BACKEND_UNAVAILABLE, await self._obituary())

    def _watch(self) -> None:
        """A step of any image is a sign of life."""
        if not self._killed and time.monotonic() - self._heard > self._silence:
            self.kill()
            detail = f"the model process was silent for {self._silence:.0f} s and was ended"
            self._died(FailureReason.MODEL_TIMEOUT, detail)

    def _died(self, reason: FailureReason, detail: str) -> None:
        shared = len(self._inside) > 1
        for said in self._inside.values():
            said.put_nowait(BackendFailure(reason, detail, retriable=True, shared=shared))

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
    sources = [{"role": source.role, "bytes": len(source.data)} for source in work.sources]
    return {name: getattr(work, name) for name in (*names, "strength", "shapes", "places")} | {
        "lane": work.lane.value,
        "sources": sources,
        "preview": work.preview is not None,
        "loras": [{"name": lora.name, "weight": lora.weight} for lora in work.loras],
    }


def environment(options: DiffusionOptions) -> dict[str, str]:
    """All that a model process is started with; a benchmark's other arms too, for malloc alone is worth a tenth."""
    kept = {
        name: value for name, value in os.environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    own = OFFLINE | CAREFUL | (KEEPING if options.memory is None else CAPPED)
    return kept | own | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
