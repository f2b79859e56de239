"""The service processes: each is started, watched, and started again however it ended, until the world ends."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from deploy.local.processes import Child, Program
from tests.faults.nursery import NEEDS_A_NEW_INTERPRETER, Forked, Nursery, own_environment

READY_WITHIN = 180.0  # seconds, on a machine that does much else
PAUSE = 0.2  # seconds between an end nobody asked for and the next start
PATIENCE = 20.0  # seconds that SIGTERM may take: a supervisor kills after them


class Member:
    """One process of a stage. `starts` counts, so that each start draws settings of its own."""

    def __init__(
        self,
        name: str,
        *,
        stage: str,
        url: str,
        log: Path,
        folder: Path,
        nursery: Nursery,
        environment: Callable[["Member"], Mapping[str, str]],
    ) -> None:
        self.name = name
        self.stage = stage
        self.url = url
        self.starts = 0
        self.extra: dict[str, dict[str, str]] = {}  # environment that faults lay above the usual, by fault
        self.child: Child | Forked | None = None
        self.ends: list[tuple[float, int]] = []  # when and with which status
        self._log = log
        self._folder = folder
        self._nursery = nursery
        self._environment = environment
        self._wanted = asyncio.Event()  # whether it should run
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    # -- life

    def keep(self) -> None:
        """Starts it, and starts it again whenever it ends, until `rest`."""
        self._wanted.set()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"member-{self.name}")

    async def ready(self, *, within: float = READY_WITHIN) -> None:
        await asyncio.wait_for(self._ready.wait(), within)

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child is not None and self.child.running else None

    async def kill(self) -> None:
        """kill -9; it comes back by itself."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> float | None:
        """SIGTERM; returns how long the end took, None where it had to be killed after twenty seconds."""
        began = time.monotonic()
        try:
            await asyncio.wait_for(self._end(signal.SIGTERM), PATIENCE)
        except TimeoutError:
            await self._end(signal.SIGKILL)
            return None
        return time.monotonic() - began

    def show_tasks(self) -> None:
        """Has it write into its log what each of its tasks waits for."""
        if self.is_ready and self.child is not None:  # before that the signal would end it
            self.child.signal(signal.SIGUSR1)

    async def rest(self) -> float | None:
        """Ends it by SIGTERM and keeps it away until the next `keep`; returns what `terminate` does."""
        self._wanted.clear()
        return await self.terminate()

    async def close(self) -> None:
        """Ends it for good."""
        self._wanted.clear()
        await self.kill()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _end(self, number: signal.Signals) -> None:
        child = self.child
        if child is None or not child.running:
            return
        child.signal(number)
        if number is signal.SIGKILL:
            child.signal(signal.SIGCONT)  # one that stands still dies too
        await child.wait()

    async def _keep(self) -> None:
        while True:
            await self._wanted.wait()
            self.starts += 1
            self.child = child = await self._start()
            probe = asyncio.create_task(self._probe())
            try:
                status = await child.wait()
            except asyncio.CancelledError:
                child.signal(signal.SIGKILL)
                await child.wait()
                raise
            finally:
                probe.cancel()
                self._ready.clear()
            self.ends.append((time.time(), status))
            await asyncio.sleep(PAUSE)

    async def _start(self) -> Child | Forked:
        program = self._program()
        usual = own_environment()
        if any(program.environment.get(name) != usual.get(name) for name in NEEDS_A_NEW_INTERPRETER):
            return await Child.start(program)
        return await self._nursery.fork(program, self.stage)

    def _program(self) -> Program:
        environment = dict(self._environment(self))
        for extra in self.extra.values():
            environment |= extra
        return Program(
            name=self.name,
            argv=[sys.executable, "-m", "tests.faults.service", self.stage],
            folder=self._folder,
            log=self._log,
            environment=environment,
        )

    async def _probe(self) -> None:
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            while not await _answers(client, f"{self.url}/readyz"):
                await asyncio.sleep(0.1)
        self._ready.set()


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get(url)).status_code == 200
    return False


async def eventually(condition: Callable[[], Awaitable[object]], *, within: float, every: float = 0.2) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + within
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every)
    return True
