"""What a part of a service does again and again, whatever became of the last time."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.errors import Unavailable

log = structlog.get_logger()


class Rounds:
    """A round every so many seconds from `start` to `stop`; an outage is waited out, a bug is told, neither ends it."""

    def __init__(self, name: str, go: Callable[[], Awaitable[object]], *, every: float) -> None:
        self._name = name
        self._go = go
        self._every = every
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._go_on(), name=self._name)

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _go_on(self) -> None:
        waits = False
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._go()
                waits = False
            except Unavailable as error:
                if not waits:  # once for an outage
                    log.warning("round.waits", of=self._name, cause=str(error))
                waits = True
            except Exception:
                log.exception("round.failed", of=self._name)
