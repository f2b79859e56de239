"""The outbox: an event is written in the transaction that makes it true, and leaves after the commit.

The process that committed sends its rows from memory and deletes them by id inside its next transaction (or after a
second without one). The sweeper is recovery only: it sends what is older than five seconds, so a row whose owner died
between commit and send leaves too. Sending twice is possible and harmless; not sending is neither. A single broker
acknowledges what it has not flushed yet, and a power cut takes that back: there rows stay for some seconds more.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import aiosql
import asyncpg
import structlog

from shared.crash import crash_point
from shared.errors import Unavailable
from shared.events import MAX_EVENT_BYTES, Event
from shared.kafka import Producer, Record, headers_text, record_of, stored_record
from shared.newest import keep_newest, send_newer
from shared.postgres import KEEPALIVES, Connection, Pool, transaction, unavailable_when_away, workspace_transaction
from shared.retry import Backoff

log = structlog.get_logger()
queries = aiosql.from_path(Path(__file__).parent / "sql/outbox.sql", "asyncpg")

SWEEP_AGE = 5.0  # seconds; younger rows still belong to the process that wrote them
SWEEP_EVERY = 1.0
SWEEP_ROWS = 500
HELD_ROWS = 20_000  # some 50 MB: an outage of Kafka must not become one of memory
IDLE_DELETE = 1.0  # seconds without a transaction to ride on, then a delete of its own


class EventTooLarge(ValueError):
    """An event is larger than 256 KiB: bytes belong in the object store, events carry references."""


@dataclass(slots=True)
class Transaction:
    """One transaction of a stage: state through `connection`, facts through `emit`."""

    connection: Connection
    events: list[Event] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)

    def emit(self, *events: Event) -> None:
        self.events.extend(events)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Called once what this transaction wrote is true, and never if it is rolled back."""
        self.after.append(call)


class Outbox:
    """One per process; `start` before use, `stop` sends what it still holds."""

    def __init__(
        self,
        pool: Pool,
        producer: Producer,
        *,
        prefix: str = "",
        direct_url: str | None = None,
        keep_seconds: float = 0.0,
    ) -> None:
        """`keep_seconds`: how long a row outlives its acknowledgement, where a broker flushes later than it answers."""
        self._keep_seconds = keep_seconds
        self._pool = pool
        self._producer = producer
        self._prefix = prefix
        self._direct_url = direct_url
        self._unsent: list[tuple[int, Record]] = []
        self._acknowledged: deque[tuple[float, int]] = deque()  # when it may be deleted, by this host's clock
        self._owned: set[int] = set()  # committed here and not yet deleted: not the sweeper's
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.refused = 0

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._send_forever(), name="outbox-sender"),
            asyncio.create_task(self._sweep_forever(), name="outbox-sweeper"),
        ]

    async def stop(self, *, within: float = 5.0) -> None:
        """Sends and deletes what is left; what does not leave in time is the next sweeper's."""
        if not self._tasks:
            return  # it never started
        self._stopping = True
        self._wake.set()
        sender, sweeper = self._tasks
        sweeper.cancel()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(sender, within)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """State and facts together, or neither; facts leave after the commit.

        Raises:
            Unavailable: Postgres is away; nothing was written.
            EventTooLarge: nothing was written.
        """
        done = self._take_due()
        try:
            async with transaction(self._pool) as connection:
                if done:
                    await queries.remove_rows(connection, ids=done)
                running = Transaction(connection)
                yield running
                rows = await self.add(connection, running.events)
                crash_point("commit.before")
        except BaseException:
            self._acknowledged.extendleft((0.0, row_id) for row_id in done)
            raise
        crash_point("commit.after")
        self._owned.difference_update(done)
        self.hand_over(rows)
        for call in running.after:
            call()

    async def add(self, connection: Connection, events: Sequence[Event]) -> list[tuple[int, Record]]:
        """Inserts the events' rows; give what it returns to `hand_over` after the commit."""
        if not events:
            return []
        records = [record_of(event, prefix=self._prefix) for event in events]
        for record in records:
            if len(record.body or b"") > MAX_EVENT_BYTES:
                raise EventTooLarge(f"an event for {record.topic} has {len(record.body or b''):,} bytes")
        rows = queries.add_rows(
            connection,
            topics=[r.topic for r in records],
            keys=[r.key for r in records],
            headers=[headers_text(record) for record in records],
            bodies=[(r.body or b"").decode() for r in records],
        )
        inserted = [(row["id"], record) async for row, record in _zip(rows, records)]
        await keep_newest(connection, events, prefix=self._prefix)
        return inserted

    def hand_over(self, rows: Sequence[tuple[int, Record]]) -> None:
        """Gives committed rows to the sender; wakes it in process, no NOTIFY on the way.

        While Kafka is away only so many are held in memory; the rest stand in the table, for the sweeper.
        """
        if rows and len(self._unsent) < HELD_ROWS:
            self._owned.update(row_id for row_id, _ in rows)
            self._unsent.extend(rows)
            self._wake.set()

    async def _send_forever(self) -> None:
        backoff = Backoff()
        while True:
            if not self._unsent:
                self._wake.clear()
                if self._stopping:
                    await self._delete_acknowledged()
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE_DELETE)
                if not self._unsent:
                    await self._delete_acknowledged()
                    continue
            rows, self._unsent = self._unsent, []
            crash_point("outbox.before_send")
            try:
                sent = await self._send(rows)  # first the await: a transaction may take the list meanwhile
                crash_point("outbox.after_send")
                self._is_acknowledged(sent)
                backoff.reset()
            except Unavailable as error:
                self._unsent = rows + self._unsent
                log.warning("outbox.waits", rows=len(self._unsent), cause=str(error))
                if self._stopping:
                    return
                await backoff.wait()
            except Exception:
                # A bug must not end the sender: the rows stay in the table, and the sweeper sends them.
                log.exception("outbox.sender_failed", rows=len(rows))
                self._owned.difference_update(row_id for row_id, _ in rows)
                await backoff.wait()

    async def _send(self, rows: Sequence[tuple[int, Record]]) -> list[int]:
        refused = await self._producer.deliver([record for _, record in rows])
        for place, reason in refused.items():
            row_id, record = rows[place]
            self.refused += 1
            log.error("outbox.refused", row=row_id, topic=record.topic, reason=repr(reason))
            async with unavailable_when_away():
                await queries.set_aside(self._pool, id=row_id, reason=repr(reason))
            self._owned.discard(row_id)
        await send_newer(self._pool, self._producer, [record for _, record in rows], prefix=self._prefix)
        return [row_id for place, (row_id, _) in enumerate(rows) if place not in refused]

    def _is_acknowledged(self, rows: Sequence[int]) -> None:
        due = time.monotonic() + self._keep_seconds
        self._acknowledged.extend((due, row_id) for row_id in rows)

    def _take_due(self) -> list[int]:
        now, due = time.monotonic(), []
        while self._acknowledged and (self._acknowledged[0][0] <= now or self._stopping):
            due.append(self._acknowledged.popleft()[1])
        return due

    async def _delete_acknowledged(self) -> None:
        done = self._take_due()
        if not done:
            return
        try:
            async with unavailable_when_away():
                await queries.remove_rows(self._pool, ids=done)
            crash_point("outbox.after_delete")
            self._owned.difference_update(done)
        except Unavailable:
            self._acknowledged.extendleft((0.0, row_id) for row_id in done)

    async def _sweep_forever(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._sweep(backoff)
            except (Unavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("outbox.sweeper_waits", cause=str(error))
            except Exception:
                log.exception("outbox.sweeper_failed")
            if self._stopping:
                return  # cancelled, and a connection lost in the same moment had its error said instead
            await backoff.wait()

    async def _sweep(self, backoff: Backoff) -> None:
        """Sweeps while this process holds the stage's lock; looks again for the lock when it does not."""
        async with contextlib.AsyncExitStack() as stack:
            if self._direct_url:
                connection: Connection = await self._connect(self._direct_url)
                stack.push_async_callback(connection.close)
            else:
                connection = await stack.enter_async_context(self._pool.acquire())  # type: ignore[arg-type]
            while not await queries.try_sweeper_lock(connection):
                await asyncio.sleep(SWEEP_AGE)
            while True:
                found = queries.left_behind(connection, age=SWEEP_AGE, many=SWEEP_ROWS, mine=list(self._owned))
                rows = [(row["id"], stored_record(row)) async for row in found]
                backoff.reset()
                if rows:
                    log.warning("outbox.swept", rows=len(rows))
                    crash_point("sweep.before_send")
                    sent = await self._send(rows)
                    crash_point("sweep.after_send")
                    self._owned.update(sent)
                    self._is_acknowledged(sent)
                if len(rows) < SWEEP_ROWS:
                    await asyncio.sleep(SWEEP_EVERY)

    async def _connect(self, url: str) -> Connection:
        """Past the pooler, as the same role in the same schema as the pool."""
        async with self._pool.acquire() as lent:
            role, schema = await lent.fetchrow("select current_user, current_schema()")  # type: ignore[misc]
        settings = {"role": role, "search_path": schema, "application_name": f"calotype-{schema}-sweeper", **KEEPALIVES}
        return await asyncpg.connect(url, timeout=10, command_timeout=60, server_settings=settings)


async def _zip(
    rows: AsyncIterator[asyncpg.Record], records: Sequence[Record]
) -> AsyncIterator[tuple[asyncpg.Record, Record]]:
    place = 0
    async for row in rows:
        yield row, records[place]
        place += 1


@contextlib.asynccontextmanager
async def caller_transaction(outbox: Outbox, pool: Pool, *, stage: str, workspace: UUID) -> AsyncIterator[Transaction]:
    """As `Outbox.transaction`, for one caller: rows of other workspaces do not exist in it."""
    async with workspace_transaction(pool, stage=stage, workspace=workspace) as connection:
        running = Transaction(connection)
        yield running
        rows = await outbox.add(connection, running.events)
        crash_point("commit.before")
    crash_point("commit.after")
    outbox.hand_over(rows)
    for call in running.after:
        call()
