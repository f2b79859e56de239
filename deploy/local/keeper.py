"""Keeps one program running: starts it, learns when it is ready, starts it again when it ends unasked."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from deploy.local.data import write_json
from deploy.local.errors import CannotStart
from deploy.local.processes import Child, Program, last_lines

State = Literal["starting", "ready", "restarting", "stopping"]

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# One that ran this long before it ended failed for a new reason: its pauses begin short again.
STEADY_AFTER = 60.0
# Ends before the first readiness that make a start hopeless: settings and code do not mend themselves.
HOPELESS_AFTER = 3


class Keeper:
    """One kept program, and its entry in the run folder."""

    def __init__(
        self,
        program: Callable[[], Program],
        *,
        run: Path,
        ready: Callable[[int], Awaitable[bool]],
        ended: Callable[[int], None] = lambda _status: None,
        address: str,
    ) -> None:
        self._program = program
        self._ready = ready
        self._ended = ended
        self._address = address
        self.name = program().name
        self.log = program().log
        self._record = run / f"{self.name}.json"
        self._child: Child | None = None
        self._loop: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._was_ready = asyncio.Event()
        self._gave_up: CannotStart | None = None
        self.state: State = "starting"
        self.restarts = 0

    async def start(self, *, seconds: float = 180.0) -> None:
        """Return when it is ready for the first time."""
        self._loop = asyncio.create_task(self._keep())
        first = asyncio.create_task(self._was_ready.wait())
        try:
            await asyncio.wait({first, self._loop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            first.cancel()
        if self._loop.done():
            self._loop.result()
        if self._gave_up is not None:
            raise self._gave_up
        if not self._was_ready.is_set():
            raise CannotStart(
                f"{self.name} was not ready within {seconds:.0f} s: {last_lines(self.log)}",
                remedy=f"Its log is {self.log}.",
            )

    async def stop(self) -> None:
        """End it for good."""
        self._stopping.set()
        if self._child is not None and self._child.running:
            self._write("stopping")
            await self._child.stop()
        if self._loop is not None:
            await asyncio.wait({self._loop})
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, and do not start it again."""
        self._stopping.set()
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def _keep(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            end = await self._run_once()
            if self._stopping.is_set():
                return
            failures = 1 if time.monotonic() - began > STEADY_AFTER else failures + 1
            if failures >= HOPELESS_AFTER and not self._was_ready.is_set():
                self._gave_up = CannotStart(
                    f"{self.name} {end}, {failures} times before it was ready: {last_lines(self.log)}",
                    remedy=f"Its log is {self.log}.",
                )
                return
            self.restarts += 1
            # Jitter, so that six services which lost the same server do not come back in step.
            pause = random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**failures)  # noqa: S311 not a secret
            self._write("restarting", detail=f"{end}, starts again in {pause:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return

    async def _run_once(self) -> str:
        """Run it to its end and return how that came."""
        try:
            self._child = child = await Child.start(self._program())
        except OSError as error:
            return f"could not be executed ({error})"
        if self._stopping.is_set():  # said while it started
            await child.stop()
        self._write("starting")
        probe = asyncio.create_task(self._probe(child.identity.pid))
        try:
            status = await child.wait()
        finally:
            probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probe
        self._ended(status)
        return f"ended with status {status}"

    async def _probe(self, pid: int) -> None:
        pause = 0.02
        while not await self._ready(pid):
            await asyncio.sleep(pause)
            pause = min(0.2, pause * 1.5)
        self._write("ready")
        self._was_ready.set()

    def _write(self, state: State, *, detail: str = "") -> None:
        self.state = state
        document: dict[str, Any] = {
            "name": self.name,
            "state": state,
            "detail": detail,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "restarts": self.restarts,
            "address": self._address,
            "log": str(self.log),
        }
        if self._child is not None:
            program = self._child.program
            document |= self._child.identity.document()
            document |= {"stop_signal": int(program.stop_signal), "stop_seconds": program.stop_seconds}
        write_json(self._record, document)
