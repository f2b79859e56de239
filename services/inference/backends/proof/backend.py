"""Backend `proof`: comps drawn in child processes, so that neither the loop nor a lease waits for a picture."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.proof.child import LENGTH
from shared.events import FailureReason
from shared.processes import start_module

# A step at 4096 px on a busy machine takes a fraction of this; a child that is silent for longer hangs.
SILENCE_SECONDS = 120.0
# A child that nobody asked for this long gives its memory (100–400 MB) back.
IDLE_SECONDS = 30.0


class ProofBackend:
    """Draws up to `children` comps at once; further calls wait. A child starts when needed and leaves when idle."""

    name = "proof"

    def __init__(self, *, children: int = 1, idle_seconds: float = IDLE_SECONDS) -> None:
        self._places = asyncio.Semaphore(children)
        self._idle: list[Child] = []
        self._idle_seconds = idle_seconds

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        async with self._places:
            while not cancelled():
                child = await self._wake()
                try:
                    return await child.draw(work, progress=progress, cancelled=cancelled)
                except BackendFailure:
                    if not child.died_idle:
                        raise
                except GenerationCancelled:
                    raise
                except BaseException:
                    child.kill()  # it stands in the middle of a comp that nobody waits for
                    raise
                finally:
                    self._rest(child)
            raise GenerationCancelled(billed=False)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.close() for child in idle))

    async def _wake(self) -> "Child":
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                child.stay()
                return child
        return await Child.start()

    def _rest(self, child: "Child") -> None:
        if child.alive:
            child.leave_after(self._idle_seconds)
            self._idle.append(child)


class Child:
    """The worker's end of one drawing process."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._asked, self._told = process.stdin, process.stdout
        self._killed = False
        self._rested = False
        self.died_idle = False  # or before it said a word: that is no comp's failure, another child draws it
        self._leaving: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls) -> "Child":
        return cls(await start_module(f"{__package__}.child"))

    @property
    def alive(self) -> bool:
        return not self._killed and self._process.returncode is None

    async def draw(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        scene = {"template": work.label, **work.scene}
        await self._send({"scene": scene, "seed": work.seed, "width": work.width, "height": work.height})
        while True:
            head, bodies = await self._receive()
            self._rested = False
            if head["is"] == "step":
                progress(head["step"], head["steps"])
                await self._send({"go": not cancelled()})
            elif head["is"] == "stopped":
                raise GenerationCancelled
            elif head["is"] == "failed":
                reason = FailureReason.OUT_OF_MEMORY if head["memory"] else FailureReason.INTERNAL
                raise BackendFailure(reason, f"the proof renderer: {head['detail']}", retriable=head["memory"])
            else:
                return _generated(work, head, bodies)

    def leave_after(self, seconds: float) -> None:
        self._rested = True
        self._leaving = asyncio.get_running_loop().call_later(seconds, self.kill)

    def stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()

    def kill(self) -> None:
        self._killed = True
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """It leaves at the end of its input; one that is busy is ended."""
        self.stay()
        self._asked.close()
        try:
            await asyncio.wait_for(self._process.wait(), 1.0)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    async def _send(self, head: dict[str, Any]) -> None:
        encoded = json.dumps(head).encode()
        try:
            self._asked.write(LENGTH.pack(len(encoded)) + encoded)
            await self._asked.drain()
        except ConnectionError:
            raise await self._gone() from None

    async def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                (length,) = LENGTH.unpack(await self._told.readexactly(LENGTH.size))
                head = json.loads(await self._told.readexactly(length))
                return head, [await self._told.readexactly(size) for size in head["bytes"]]
        except TimeoutError:
            self.kill()
            detail = f"the proof renderer was silent for {SILENCE_SECONDS:.0f} s and was ended"
            raise BackendFailure(FailureReason.MODEL_TIMEOUT, detail, retriable=True) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._gone() from None

    async def _gone(self) -> BackendFailure:
        self.kill()
        self.died_idle = self._rested
        code = await self._process.wait()
        detail = f"the drawing process ended with {code} in the middle of a comp"
        return BackendFailure(FailureReason.BACKEND_UNAVAILABLE, detail, retriable=True)


def _generated(work: Generation, head: dict[str, Any], bodies: list[bytes]) -> Generated:
    image, mask = bodies
    left, top, right, bottom = head["live_area"]
    x, y = head["focal"]
    return Generated(
        image=image,
        width=work.width,
        height=work.height,
        manifest=head["manifest"],
        mask=mask,
        focal=(x, y),
        live_area=(left, top, right, bottom),
        cost=Decimal(0),
    )
