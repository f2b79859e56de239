"""What a stage's tables say of its health, as Prometheus gauges: read when somebody asks, and never often.

A scrape waits a second for the numbers and else answers with the last ones; the statements rest twenty times as long as
they took, so that a backlog of a million rows is counted now and then and costs nobody anything.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiosql
import structlog

from shared.errors import Unavailable
from shared.observability import (
    BRAKES,
    OUTBOX_OLDEST,
    OUTBOX_REFUSED,
    OUTBOX_ROWS,
    QUEUE_OLDEST,
    QUEUE_WORK,
)
from shared.postgres import Connection, Pool, transaction

log = structlog.get_logger()
queries = aiosql.from_path(Path(__file__).parent / "sql/gauges.sql", "asyncpg")

AT_MOST_EVERY = 3.0  # seconds
RESTS = 20  # times as long as the reading took
PATIENCE = 1.0  # seconds that a scrape waits
STATES = ("running", "lost", "waiting", "delayed", "held")

Count = Callable[[Connection], Awaitable[None]]


class Gauges:
    """One per process; `add` what only this stage counts."""

    def __init__(self, stage: str, pool: Pool) -> None:
        self._stage = stage
        self._pool = pool
        self._counts: list[Count] = [self._outbox, self._work, self._brakes]
        self._reading: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def add(self, count: Count) -> None:
        self._counts.append(count)

    async def refresh(self) -> None:
        """Brings the gauges up to date if that is due, and waits a moment for it. Never raises."""
        if self._reading is None and time.monotonic() >= self._not_before:
            self._reading = asyncio.create_task(self._read(), name="gauges")
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE)

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            async with transaction(self._pool) as connection:
                for count in self._counts:
                    await count(connection)
        except Unavailable as error:
            log.warning("gauges.wait", cause=str(error))
        except Exception:
            log.exception("gauges.failed")
        finally:
            took = time.monotonic() - began
            self._not_before = time.monotonic() + max(AT_MOST_EVERY, RESTS * took)
            self._reading = None

    async def _outbox(self, connection: Connection) -> None:
        row = await queries.outbox(connection)
        OUTBOX_ROWS.labels(self._stage).set(row["waiting"])
        OUTBOX_REFUSED.labels(self._stage).set(row["refused"])
        OUTBOX_OLDEST.labels(self._stage).set(row["oldest"])

    async def _work(self, connection: Connection) -> None:
        rows = [row async for row in queries.work(connection)]
        QUEUE_WORK.clear()  # what is not there any more is no number of long ago
        QUEUE_OLDEST.clear()
        for row in rows:
            for state in STATES:
                QUEUE_WORK.labels(self._stage, row["lane"], row["kind"], state).set(row[state])
            QUEUE_OLDEST.labels(self._stage, row["lane"], row["kind"]).set(row["oldest"])

    async def _brakes(self, connection: Connection) -> None:
        rows = [row async for row in queries.brakes(connection)]
        BRAKES.clear()
        for row in rows:
            BRAKES.labels(self._stage, row["kind"], row["mode"]).set(row["brakes"])
