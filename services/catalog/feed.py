"""What listeners of `/v1/events` hear, and what they missed meanwhile.

Ids are taken under a lock that is held to the commit, so rows appear in the order of their ids and no reader's cursor
can pass one that commits late. A row holds all of one transaction's news for one workspace and kind.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from services.catalog.sql import queries
from shared.outbox import Transaction
from shared.postgres import Pool, transaction
from shared.rounds import Rounds

POLL_SECONDS = 0.5  # news of other processes; this one's own wake listeners at once
KEPT_SECONDS = 600.0
PRUNE_SECONDS = 60


class News(NamedTuple):
    """One thing that changed: `kind` is the type of the server-sent event, `what` its data."""

    workspace: UUID
    kind: str
    what: dict[str, Any]


class Feed:
    """One per process. Runs only while somebody listens, except for throwing away what is old."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._moved = asyncio.Condition()
        self._newest = 0
        self._listeners = 0
        self._telling: set[asyncio.Task[None]] = set()
        self._rounds = (
            Rounds("feed", self._look, every=POLL_SECONDS),
            Rounds("feed-prune", self._prune, every=PRUNE_SECONDS),
        )
        self.closed = asyncio.Event()

    async def start(self) -> None:
        for rounds in self._rounds:
            await rounds.start()

    async def stop(self) -> None:
        self.closed.set()
        await self._notify()
        for rounds in self._rounds:
            await rounds.stop()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def tell(self, running: Transaction, news: Sequence[News]) -> None:
        """Writes the news; call it last in a transaction, for its lock holds up every other teller until the commit."""
        if not news:
            return
        rows: dict[tuple[UUID, str], list[dict[str, Any]]] = {}
        for workspace, kind, what in news:
            rows.setdefault((workspace, kind), []).append(what)
        newest = await queries.tell(
            running.connection,
            workspaces=[workspace for workspace, _ in rows],
            kinds=[kind for _, kind in rows],
            bodies=[orjson.dumps(what, default=str).decode() for what in rows.values()],
        )
        running.after_commit(lambda: self._wake(newest))

    @property
    def seen(self) -> int:
        """The newest id this process has heard of, while somebody listens."""
        return self._newest

    async def newest(self) -> int:
        """The id of the newest row: where a listener begins that has just read everything."""
        async with transaction(self._pool) as connection:
            return int(await queries.newest_news(connection))

    async def has_forgotten(self, after: int) -> bool:
        """Whether rows newer than `after` may have been thrown away already."""
        async with transaction(self._pool) as connection:
            oldest = await queries.oldest_news(connection)
        return oldest is not None and oldest > after + 1

    async def moved(self, after: int, *, within: float) -> bool:
        """Waits until there is something newer than `after`; False when the time was up first."""
        self._listeners += 1
        try:
            async with self._moved:
                await asyncio.wait_for(
                    self._moved.wait_for(lambda: self._newest > after or self.closed.is_set()), within
                )
        except TimeoutError:
            return False
        finally:
            self._listeners -= 1
        return True

    def _wake(self, newest: int) -> None:
        if self._listeners and newest > self._newest:
            self._newest = newest
            task = asyncio.create_task(self._notify())
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _notify(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _look(self) -> None:
        """For what another process told."""
        if not self._listeners:
            return
        newest = await self.newest()
        if newest != self._newest:
            self._newest = newest
            await self._notify()

    async def _prune(self) -> None:
        async with transaction(self._pool) as connection:
            await queries.forget_news(connection, seconds=KEPT_SECONDS)
            await queries.forget_pace(connection)
