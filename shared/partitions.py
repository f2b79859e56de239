"""Pruning: what is finished and older than it has to be known goes by whole partitions, never row by row.

A stage makes its partitions a week ahead and drops those that nothing needs any more: not before a repeated fact can no
longer arrive (the longest retention it reads, and a day), and never one that holds unfinished work. It holds an
advisory lock while it does so and gives way to whoever is at work. What belongs to no partition, because its time is
unknown or a stage was down for weeks, stands in a table of its own and is pruned there in small parts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiosql
import asyncpg
import structlog

from shared.decoding import MARGIN
from shared.errors import Unavailable
from shared.observability import PARTITIONS_DROPPED, PARTITIONS_KEPT
from shared.postgres import Connection, Pool, transaction
from shared.topics import DEAD_LETTER_RETENTION, TOPICS

log = structlog.get_logger()
queries = aiosql.from_path(Path(__file__).parent / "sql/partitions.sql", "asyncpg")

AHEAD = timedelta(days=7)
LOOK_EVERY = 3600.0  # seconds
AGAIN_AFTER = 30.0  # when somebody was at work
PART_ROWS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A partitioned table and how long it is kept.

    `moment`: the partition's column. `needed`: of which rows a partition is not dropped, as SQL. `ended`: when a row's
    time was over, for those that stand in no partition, as SQL. `kept` None: for ever.
    """

    table: str
    moment: str = "asked_at"
    kept: timedelta | None
    width: timedelta = timedelta(days=7)
    needed: str = "false"
    ended: str


def work_history(kept: timedelta) -> tuple[History, ...]:
    """What every stage with a database has."""
    return (
        History(table="work", kept=kept, needed="ready_at is not null", ended="finished_at"),
        History(table="tombstones", kept=kept, ended="created_at"),
    )


def remembered(stage: str) -> timedelta:
    """How long a stage has to know what it did: until nothing that it reads can come again."""
    retentions = [topic.retention for topic in TOPICS if stage in topic.consumers and topic.retention is not None]
    return max([DEAD_LETTER_RETENTION, *retentions]) + MARGIN


@dataclass(eq=False)
class Partitions:
    """Keeps one stage's histories: ahead of time at one end, pruned at the other."""

    pool: Pool
    stage: str
    histories: Sequence[History]
    _loop: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Looks at once: after weeks of standing still this week's partition may be missing."""
        done = await self._look_once()
        self._loop = asyncio.create_task(self._look_forever(done=done), name=f"{self.stage}-partitions")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _look_forever(self, *, done: bool) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY if done else AGAIN_AFTER)
            done = await self._look_once()

    async def _look_once(self) -> bool:
        try:
            await self.look()
        except asyncpg.LockNotAvailableError:
            return False
        except Unavailable as error:
            log.warning("partitions.waits", cause=str(error))
            return False
        except Exception:
            log.exception("partitions.failed")
        return True

    async def look(self) -> None:
        """One round over all histories.

        Raises:
            LockNotAvailableError: somebody is at work on the table; what was done stays done.
        """
        for history in self.histories:
            await self._make(history)
            if history.kept is not None:
                await self._drop(history, history.kept)
                await self._prune(history, history.kept)

    async def _make(self, history: History) -> None:
        async with transaction(self.pool) as connection:
            if not await _hold(connection):
                return
            at = await queries.current_week(connection)
            ends = [row["until"] async for row in queries.partitions(connection, parent=history.table)]
            since = max([at["week"], *ends])
            while since < at["now"] + AHEAD:
                until = since + history.width
                name = await queries.make_partition(
                    connection, parent=history.table, moment=history.moment, since=since, until=until
                )
                log.info("partition.made", stage=self.stage, partition=name, until=until)
                since = until

    async def _drop(self, history: History, kept: timedelta) -> None:
        async with transaction(self.pool) as connection:
            now: datetime = (await queries.current_week(connection))["now"]
            old = [
                dict(row)
                async for row in queries.partitions(connection, parent=history.table)
                if row["until"] < now - kept
            ]
        held = 0
        for partition in old:
            async with transaction(self.pool) as connection:
                if not await _hold(connection):
                    return
                if await self._is_needed(connection, history, partition["name"]):
                    held += 1
                    continue
                # From here on nobody adds to it; asked again, as somebody may have while it was waited for.
                await connection.execute(f'lock table "{history.table}" in access exclusive mode')
                if not await self._is_needed(connection, history, partition["name"]):
                    await connection.execute(f'drop table "{partition["name"]}"')
            PARTITIONS_DROPPED.labels(self.stage, history.table).inc()
            log.info("partition.dropped", stage=self.stage, partition=partition["name"],
                     until=partition["until"], rows=partition["rows"], bytes=partition["bytes"])  # fmt: skip
        PARTITIONS_KEPT.labels(self.stage, history.table).set(held)
        if held:
            log.warning("partition.needed", stage=self.stage, table=history.table, partitions=held, why=history.needed)

    async def _is_needed(self, connection: Connection, history: History, partition: str) -> Any:
        return await connection.fetchval(f'select exists (select from "{partition}" where {history.needed})')  # noqa: S608

    async def _prune(self, history: History, kept: timedelta) -> None:
        """What stands in no partition: little, so row by row, in parts."""
        table = f"{history.table}_elsewhen"
        gone = PART_ROWS
        while gone == PART_ROWS:
            async with transaction(self.pool) as connection:
                done = await connection.execute(
                    f'delete from "{table}" where ctid = any (array('  # noqa: S608
                    f'select ctid from "{table}" where {history.moment} < clock_timestamp() - $1::interval '
                    f"and {history.ended} < clock_timestamp() - $1::interval and not ({history.needed}) limit $2))",
                    kept,
                    PART_ROWS,
                )
            gone = int(done.removeprefix("DELETE "))
            if gone:
                log.info("history.pruned", stage=self.stage, table=table, rows=gone)


async def _hold(connection: Connection) -> bool:
    await queries.be_brief(connection)
    return bool(await queries.hold_partitions(connection))
