"""The work edge: slow work is a leased row, never a Kafka handler.

Claimed in batches with `FOR UPDATE SKIP LOCKED` on the database's clock; one heartbeat for all leases of a worker; an
epoch fences a zombie's late settlement; settlements are grouped (64 rows or 5 ms) into one transaction with whatever
the stage records and the outbox. Failures (the work's own) and losses (the lease ran out) are counted apart; out of
either, the stage says what the end is. SIGTERM: stop claiming, finish what ends in time, give the rest back at no cost.
"""

import asyncio
import contextlib
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import aiosql
import structlog

from shared.brakes import Brake, brake, brakes_in_force, release_brake
from shared.crash import crash_point
from shared.errors import Unavailable
from shared.events import Event
from shared.observability import WORK_CLAIMED, WORK_LOST, WORK_SETTLED
from shared.outbox import Outbox, Transaction
from shared.postgres import Connection, Pool, transaction
from shared.retry import Backoff

__all__ = [
    "Brake",
    "Leased",
    "NewWork",
    "Outcome",
    "Worker",
    "brake",
    "brakes_in_force",
    "buried",
    "bury",
    "drop_waiting",
    "enqueue",
    "release_brake",
]

log = structlog.get_logger()
queries = aiosql.from_path(Path(__file__).parent / "sql/leases.sql", "asyncpg")

MAX_FAILURES = 3
MAX_LOSSES = 8
POLL_SECONDS = 0.5  # other instances' rows; this process's own front wakes the worker directly
LOOK_BACK_SECONDS = 1.0
NEVER_ASKED = datetime(2000, 1, 1, tzinfo=UTC)  # of work that no fact asks for
GROUP_ROWS = 64
GROUP_SECONDS = 0.005
SETTLE_SECONDS = 2.0  # more, for the settlement of what was finished last
STUCK_SECONDS = 300.0  # between looks at a row whose end the stage cannot say
FINISH_SECONDS = 11.0  # what ends within this after SIGTERM is finished, the rest released


# A plan for a queue must not be one that reads it whole and sorts it, which is what the planner likes best of a queue
# that has grown since statistics were last gathered.
IN_ORDER = "; ".join(
    f"set local enable_{way} = off" for way in ("seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin")
)


Queue = TypeVar("Queue", bound=Hashable)


class Heads(Generic[Queue]):
    """Where queues begin, so that a claim does not walk over all that was claimed before it.

    Every row that moved on leaves an entry in the index until the next vacuum. So a claim starts at the oldest row of
    the one before. What came in behind that place, committed late or let go by a brake, is found by a look from the
    very beginning: every second, and whenever fewer rows come back than were asked for.
    """

    def __init__(self) -> None:
        self._places: dict[Queue, datetime] = {}
        self._looked = 0.0

    def places(self) -> dict[Queue, datetime]:
        """Queue → where to start; nothing of those to be looked at from the beginning."""
        if time.monotonic() - self._looked > LOOK_BACK_SECONDS:
            self._places = {}
        if not self._places:
            self._looked = time.monotonic()
        return dict(self._places)

    def moved(self, claimed: Sequence[tuple[Queue, datetime | None]]) -> None:
        """Notes which queue each row came from and since when it was ready; none: there was nothing more."""
        if not claimed:
            self._places = {}
        for queue in {queue for queue, _ in claimed}:
            self._places[queue] = min(at for of, at in claimed if of == queue and at is not None)


def holder_name(stage: str) -> str:
    """Who holds a lease: unique per process start, readable for the person who looks at the queue."""
    return f"{stage}@{socket.gethostname()}:{secrets.token_hex(4)}"


class OfJob(Protocol):
    """What belongs to a job."""

    @property
    def request_id(self) -> UUID | None: ...
    @property
    def job_id(self) -> UUID | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWork:
    """A piece of work to enqueue; `priority` higher first, `delay` in seconds from now.

    `asked_at` is when the fact was first written that asks for it: with the work's id the key by which the same fact,
    heard again, finds its row. `subject` is whom the work is for, the backend or the target: what a brake of that name
    holds up.
    """

    work_id: UUID
    asked_at: datetime = NEVER_ASKED
    kind: str
    workspace: UUID
    payload: str
    request_id: UUID | None = None
    job_id: UUID | None = None
    run: int = 1
    lane: str = "standard"
    subject: str | None = None
    priority: int = 0
    delay: float = 0.0
    deadline: datetime | None = None
    traceparent: str | None = None


Fence = tuple[UUID, datetime, int]
"""One lease of one piece of work: its key and the epoch. One worker may hold two of them, the first of them lost."""


@dataclass(slots=True, kw_only=True, eq=False)
class Leased:
    """A lease held by this process. `lost` turns True when another took it over: then stop, quietly."""

    work_id: UUID
    kind: str
    workspace: UUID
    payload: str
    epoch: int
    asked_at: datetime = NEVER_ASKED
    ready_at: datetime | None = None
    request_id: UUID | None = None
    job_id: UUID | None = None
    run: int = 1
    lane: str = "standard"
    subject: str | None = None
    priority: int = 0
    failures: int = 0
    losses: int = 0
    deadline: datetime | None = None
    expired: bool = False
    traceparent: str | None = None
    created_at: datetime | None = None
    lost: bool = False
    good_until: float = float("inf")  # by this host's monotonic clock: before then nobody else can hold it
    occupies: bool = True
    on_free: Callable[[], None] | None = None

    @property
    def fence(self) -> Fence:
        return self.work_id, self.asked_at, self.epoch

    @property
    def may_be_anothers(self) -> bool:
        """Whether this process stood still for so long that somebody else may hold it by now."""
        return time.monotonic() >= self.good_until

    def free(self) -> None:
        """What takes the slot is done, and only what comes of it is to be kept: the next may begin beside that."""
        self.occupies = False
        if self.on_free is not None:
            self.on_free()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a piece of work: `delay` None is the end of it, else it is ready again after so many seconds.

    `events` leave in the settlement's transaction; `record` is whatever the stage's `record` function wants to write
    beside it. `failed` counts against MAX_FAILURES.
    """

    name: str
    events: Sequence[Event] = ()
    record: Any = None
    detail: str | None = None
    delay: float | None = None
    failed: bool = False

    @classmethod
    def again(cls, why: str, *, delay: float, failed: bool = False, record: Any = None) -> "Outcome":
        return cls(name="again", detail=why, delay=delay, failed=failed, record=record)


Run = Callable[[Leased], Awaitable[Outcome]]
RunMany = Callable[[Sequence[Leased]], Awaitable[Sequence[Outcome]]]
Claim = Callable[[Connection, int], Awaitable[list[Leased]]]
RecordSettled = Callable[[Transaction, Sequence[tuple[Leased, Outcome]]], Awaitable[None]]


async def enqueue(
    connection: Connection, rows: Sequence[NewWork], *, holder: str | None = None, lease: float = 0.0
) -> set[UUID]:
    """Inserts what is new and says which were.

    With a holder the rows arrive already claimed; those that do not, as they stand behind a brake, are not said.
    """
    if not rows:
        return set()
    found = queries.enqueue(
        connection,
        ids=[r.work_id for r in rows],
        asked=[r.asked_at for r in rows],
        kinds=[r.kind for r in rows],
        workspaces=[r.workspace for r in rows],
        requests=[r.request_id for r in rows],
        jobs=[r.job_id for r in rows],
        runs=[r.run for r in rows],
        lanes=[r.lane for r in rows],
        subjects=[r.subject for r in rows],
        priorities=[r.priority for r in rows],
        delays=[r.delay for r in rows],
        deadlines=[r.deadline for r in rows],
        traceparents=[r.traceparent for r in rows],
        payloads=[r.payload for r in rows],
        holder=holder,
        lease=lease,
    )
    return {row["work_id"] async for row in found if holder is None or not row["parked"]}


async def bury(connection: Connection, cancels: Sequence[Any]) -> None:
    """Keeps CancelRequested events as tombstones."""
    if not cancels:
        return
    await queries.bury(
        connection,
        requests=[c.request_id for c in cancels],
        jobs=[c.job_id for c in cancels],
        asked=[c.occurred_at for c in cancels],
        workspaces=[c.workspace for c in cancels],
        by=[c.by for c in cancels],
        reasons=[c.reason for c in cancels],
    )


async def drop_waiting(connection: Connection, cancels: Sequence[Any]) -> list[dict[str, Any]]:
    """Ends what these cancels name and nobody works on, behind a brake or not; what is held ends at its next step.

    Of each: work_id, asked_at, run, job_id, epoch, payload, traceparent, cancelled_by.
    """
    rows = queries.drop_waiting(
        connection,
        requests=[c.request_id for c in cancels],
        jobs=[c.job_id for c in cancels],
        by=[c.by for c in cancels],
    )
    return [dict(row) async for row in rows]


async def buried(connection: Connection | Pool, work: Sequence[OfJob]) -> dict[UUID, str]:
    """Job id → who cancelled it, of whatever belongs to jobs: leases, rows to enqueue, events."""
    asked = [w for w in work if w.request_id and w.job_id]
    rows = queries.buried(connection, requests=[w.request_id for w in asked], jobs=[w.job_id for w in asked])
    return {row["job_id"]: row["cancelled_by"] async for row in rows}


@dataclass(eq=False)
class Worker:
    """Claims, runs and settles one stage's work.

    Give either `run` (one piece, up to `concurrency` at once) or `run_many` (everything claimed together).
    `exhausted` says how work ends that failed or was lost too often, or whose deadline passed. `claim` takes the place
    of the plain order (priority, then age) where a stage shares its workers out otherwise; `on_wake` hears of rows that
    this process has queued. `fenced` is told what came too late to be settled: nothing of it counts, but it may be the
    only one who knows what something cost.
    """

    stage: str
    outbox: Outbox
    pool: Pool
    kinds: Sequence[str]
    exhausted: Callable[[Leased, str], Outcome]
    run: Run | None = None
    run_many: RunMany | None = None
    record: RecordSettled | None = None
    fenced: RecordSettled | None = None
    claim: Claim | None = None
    on_wake: Callable[[], None] | None = None
    concurrency: int = 4
    kept: int = 0  # of these slots, for work that is not to find them all taken
    lease_seconds: float = 30.0
    holder: str = ""
    held: dict[UUID, Leased] = field(default_factory=dict)
    backlog: bool = True  # whether rows of others may wait: then the front must not overtake them
    waiting_for: str | None = None

    def __post_init__(self) -> None:
        self.holder = self.holder or holder_name(self.stage)
        self._heads: Heads[str] = Heads()
        self._wake = asyncio.Event()
        self._stopping = False
        self._running: set[asyncio.Task[None]] = set()
        self._settling: asyncio.Queue[tuple[Leased, Outcome]] = asyncio.Queue()
        self._loops: list[asyncio.Task[None]] = []
        self._renewed = 0.0  # when, by this host's clock, all that is held was surely ours

    # -- the front

    def room(self) -> int:
        """How many rows a front may insert already claimed: none while anything older waits or the worker ends."""
        if self.backlog or self._stopping or not self._loops:
            return 0
        return max(0, self._free_slots())

    def _free_slots(self) -> int:
        """What is made and not kept yet takes no slot; more of it than there are slots would only fill the memory."""
        occupied = sum(lease.occupies for lease in self.held.values())
        return min(self._capacity() - occupied, 2 * self._capacity() - len(self.held))

    def offer(self, rows: Sequence[NewWork], *, since: float | None = None) -> None:
        """Takes rows that the front has just committed as claimed by this worker's `holder` (epoch 1).

        `since`: a moment of the monotonic clock before they were inserted, from which their leases surely run.
        """
        self._begin(
            [
                Leased(
                    work_id=r.work_id,
                    kind=r.kind,
                    workspace=r.workspace,
                    payload=r.payload,
                    epoch=1,
                    asked_at=r.asked_at,
                    request_id=r.request_id,
                    job_id=r.job_id,
                    run=r.run,
                    lane=r.lane,
                    subject=r.subject,
                    priority=r.priority,
                    deadline=r.deadline,
                    traceparent=r.traceparent,
                    good_until=(time.monotonic() if since is None else since) + self.lease_seconds,
                )
                for r in rows
            ]
        )

    def wake(self) -> None:
        """Rows were committed that anybody may claim."""
        self.backlog = True
        if self.on_wake is not None:
            self.on_wake()
        self._wake.set()

    # -- life

    async def start(self) -> None:
        self._renewed = time.monotonic()
        self._loops = [
            asyncio.create_task(self._claim_forever(), name=f"{self.stage}-claim"),
            asyncio.create_task(self._heartbeat_forever(), name=f"{self.stage}-heartbeat"),
            asyncio.create_task(self._settle_forever(), name=f"{self.stage}-settle"),
        ]

    def claim_no_more(self) -> None:
        """What is held goes on."""
        self._stopping = True
        self._wake.set()

    async def stop(self, *, within: float = FINISH_SECONDS) -> None:
        """Stops claiming, waits for what ends in time, gives the rest back without counting it as lost."""
        self.claim_no_more()
        deadline = time.monotonic() + within
        if self._loops:
            # A claim under way may be committed: cut off, its rows would wait for their leases and count as lost.
            await asyncio.wait(self._loops[:1], timeout=within)
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, deadline - time.monotonic()))
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settling.join(), max(0.0, deadline - time.monotonic()) + SETTLE_SECONDS)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self.held:
            await self._release(list(self.held.values()))

    async def _release(self, leases: Sequence[Leased]) -> None:
        with contextlib.suppress(Unavailable):
            async with transaction(self.pool) as connection:
                await _drain(
                    queries.settle(
                        connection,
                        ids=[w.work_id for w in leases],
                        asked=[w.asked_at for w in leases],
                        epochs=[w.epoch for w in leases],
                        holder=self.holder,
                        outcomes=["released"] * len(leases),
                        details=[None] * len(leases),
                        delays=[0.0] * len(leases),
                        failed=[0] * len(leases),
                    )
                )
            log.info("work.released", stage=self.stage, rows=len(leases))

    # -- claiming

    def _capacity(self) -> int:
        return self.concurrency if self.run is not None else max(self.concurrency, 4 * GROUP_ROWS)

    async def _claim_forever(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            room = self._free_slots()
            if room <= 0 or (self.run_many is not None and room < GROUP_ROWS):
                await self._pause()
                continue
            try:
                self._wake.clear()
                if time.monotonic() - self._renewed > self.lease_seconds / 2:
                    # Postgres was away, or this process stood still: without this it would claim its own running work.
                    await self._renew()
                began = time.monotonic()
                claimed = await self._claim(room)
                for lease in claimed:
                    lease.good_until = began + self.lease_seconds
                if claimed:
                    crash_point("claim.after")
                backoff.reset()
                self.waiting_for = None
            except Unavailable as error:
                self.waiting_for = error.dependency
                await self._pause(backoff.next())
                continue
            except Exception:
                log.exception("work.claim_failed", stage=self.stage)
                await self._pause(backoff.next())
                continue
            self._begin(claimed)
            self.backlog = len(claimed) >= room
            if not self.backlog:
                await self._pause()

    async def _pause(self, seconds: float = POLL_SECONDS) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _claim(self, many: int) -> list[Leased]:
        async with transaction(self.pool) as connection:
            await connection.execute(IN_ORDER)
            if self.claim is not None:
                return await self.claim(connection, many)
            heads = self._heads.places()
            claimed = await self._look(connection, many, after=heads.get(self.stage))
            if heads and len(claimed) < many:
                claimed += await self._look(connection, many - len(claimed), after=None)
            self._heads.moved([(self.stage, lease.ready_at) for lease in claimed] if len(claimed) == many else [])
            return claimed

    async def _look(self, connection: Connection, many: int, *, after: datetime | None) -> list[Leased]:
        rows = queries.claim(
            connection, kinds=list(self.kinds), after=after, many=many, holder=self.holder, lease=self.lease_seconds
        )
        return [Leased(**dict(row)) async for row in rows]

    def _begin(self, leases: Sequence[Leased]) -> None:
        if not leases:
            return
        for kind, many in Counter(lease.kind for lease in leases).items():
            WORK_CLAIMED.labels(self.stage, kind).inc(many)
        ready = []
        for lease in leases:
            if (before := self.held.get(lease.work_id)) is not None:
                before.lost = True
            self.held[lease.work_id] = lease
            why = _exhaustion(lease)
            if why is None:
                ready.append(lease)
            else:
                self._settling.put_nowait((lease, self._end_of(lease, why)))
        if self.run_many is not None and ready:
            self._spawn(self._run_together(ready))
        elif self.run is not None:
            for lease in ready:
                self._spawn(self._run_alone(lease))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run_alone(self, lease: Leased) -> None:
        assert self.run is not None
        lease.on_free = self._wake.set
        try:
            outcome = await self.run(lease)
        except asyncio.CancelledError as error:
            if _is_told_to_end():
                raise
            outcome = self._outcome_of(lease, error)  # something it waited for was cancelled, not the work
        except Exception as error:  # noqa: BLE001  # whatever it was, the lease must be settled
            outcome = self._outcome_of(lease, error)
        self._settling.put_nowait((lease, outcome))

    async def _run_together(self, leases: Sequence[Leased]) -> None:
        assert self.run_many is not None
        try:
            outcomes = await self.run_many(leases)
            if len(outcomes) != len(leases):
                raise ValueError(f"{len(outcomes)} outcomes of {len(leases)} pieces of work")  # noqa: TRY301
        except asyncio.CancelledError as error:
            if _is_told_to_end():
                raise
            outcomes = [self._outcome_of(lease, error) for lease in leases]
        except Exception as error:  # noqa: BLE001
            outcomes = [self._outcome_of(lease, error) for lease in leases]
        for pair in zip(leases, outcomes, strict=True):
            self._settling.put_nowait(pair)

    def _outcome_of(self, lease: Leased, error: BaseException) -> Outcome:
        """A dependency that is away costs the work nothing; anything else is a failure of its own."""
        if isinstance(error, Unavailable):
            self.waiting_for = error.dependency
            return Outcome.again(str(error), delay=random.uniform(0.5, 5.0))  # noqa: S311  # jitter is no secret
        log.error(
            "work.failed", stage=self.stage, work=str(lease.work_id), kind=lease.kind, error=repr(error), exc_info=error
        )
        if lease.failures + 1 >= MAX_FAILURES:
            return self._end_of(lease, f"failed {MAX_FAILURES} times, last: {error!r}")
        return Outcome.again(repr(error), delay=2.0**lease.failures, failed=True)

    def _end_of(self, lease: Leased, why: str) -> Outcome:
        """How the stage says it ends; what it cannot say of this row waits, loudly, and holds up no other."""
        try:
            return self.exhausted(lease, why)
        except Exception as error:
            log.critical("work.stuck", stage=self.stage, work=str(lease.work_id), why=why, exc_info=error)
            return Outcome.again(f"{why}; and its end cannot be told: {error!r}", delay=STUCK_SECONDS)

    # -- heartbeat

    async def _heartbeat_forever(self) -> None:
        while True:
            await asyncio.sleep(self.lease_seconds / 3)
            try:
                await self._renew()
            except Unavailable as error:
                log.warning("lease.not_renewed", stage=self.stage, cause=str(error))
            except Exception:  # without a heartbeat every lease would be lost, and all work done again
                log.exception("lease.not_renewed", stage=self.stage)

    async def _renew(self) -> None:
        leases, began = list(self.held.values()), time.monotonic()
        if leases:
            crash_point("renew.before")
            async with transaction(self.pool) as connection:
                rows = queries.renew(
                    connection,
                    ids=[w.work_id for w in leases],
                    asked=[w.asked_at for w in leases],
                    epochs=[w.epoch for w in leases],
                    holder=self.holder,
                    lease=self.lease_seconds,
                )
                kept = {row["work_id"] async for row in rows}
            crash_point("renew.after")
            for lease in leases:
                if lease.work_id in kept:
                    lease.good_until = began + self.lease_seconds
                elif self.held.get(lease.work_id) is lease and not lease.lost:
                    lease.lost = True
                    WORK_LOST.labels(self.stage, lease.kind).inc()
        self._renewed = began

    # -- settling

    async def _settle_forever(self) -> None:
        while True:
            group = [await self._settling.get()]
            deadline = time.monotonic() + GROUP_SECONDS
            while len(group) < self._group_rows() and (left := deadline - time.monotonic()) > 0:
                if not self._settling.empty():
                    group.append(self._settling.get_nowait())  # a wait_for makes a task, which costs more than the row
                    continue
                try:
                    group.append(await asyncio.wait_for(self._settling.get(), left))
                except TimeoutError:
                    break
            task = asyncio.create_task(self._settle_group(group), name=f"{self.stage}-settling")
            await asyncio.shield(task)

    def _group_rows(self) -> int:
        return GROUP_ROWS if self.run is not None else self._capacity()

    async def _settle_group(self, group: Sequence[tuple[Leased, Outcome]]) -> None:
        try:
            await self._settle(group)
        finally:
            for _ in group:
                self._settling.task_done()

    async def _settle(self, group: Sequence[tuple[Leased, Outcome]]) -> None:
        backoff = Backoff()
        while True:
            try:
                crash_point("settle.before")
                settled = await self._settle_once(group)
                crash_point("settle.after")
                break
            except Unavailable as error:
                # The work is done; only its settlement waits. The lease may be lost meanwhile: then it is fenced.
                log.warning("settlement.waits", stage=self.stage, rows=len(group), cause=str(error))
                if self.pool.is_closing():
                    return  # the process ends; whoever takes the work over settles it
                await backoff.wait()
            except Exception:
                if len(group) > 1:  # find the one at fault, so that its neighbours settle
                    for pair in group:
                        await self._settle([pair])
                    return
                lease, _ = group[0]
                log.exception("settlement.failed", stage=self.stage, work=str(lease.work_id))
                if lease.failures + 1 >= MAX_FAILURES + 1:
                    self._let_go(lease)  # left to its lease: the next claim counts a loss
                    return
                lease.failures += 1
                group = [(lease, self._end_of(lease, "its settlement was refused; see the log"))]
        self._ended(group, settled)

    def _ended(self, group: Sequence[tuple[Leased, Outcome]], settled: set[Fence]) -> None:
        for lease, _ in group:
            self._let_go(lease)
            if lease.fence not in settled:
                log.warning("settlement.fenced", stage=self.stage, work=str(lease.work_id), epoch=lease.epoch)
        ended = Counter((lease.kind, outcome.name) for lease, outcome in group if lease.fence in settled)
        for (kind, name), many in ended.items():
            WORK_SETTLED.labels(self.stage, kind, name).inc(many)
        self._wake.set()

    def _let_go(self, lease: Leased) -> None:
        if self.held.get(lease.work_id) is lease:  # else it was claimed anew meanwhile
            del self.held[lease.work_id]

    async def _settle_once(self, group: Sequence[tuple[Leased, Outcome]]) -> set[Fence]:
        async with self.outbox.transaction() as running:
            rows = queries.settle(
                running.connection,
                ids=[lease.work_id for lease, _ in group],
                asked=[lease.asked_at for lease, _ in group],
                epochs=[lease.epoch for lease, _ in group],
                holder=self.holder,
                outcomes=[outcome.name for _, outcome in group],
                details=[outcome.detail for _, outcome in group],
                delays=[outcome.delay for _, outcome in group],
                failed=[int(outcome.failed) for _, outcome in group],
            )
            settled: set[Fence] = {(row["work_id"], row["asked_at"], row["epoch"]) async for row in rows}
            kept = [(lease, outcome) for lease, outcome in group if lease.fence in settled]
            if self.record is not None and kept:
                await self.record(running, kept)
            if self.fenced is not None and len(kept) < len(group):
                await self.fenced(running, [pair for pair in group if pair[0].fence not in settled])
            for _, outcome in kept:
                running.emit(*outcome.events)
        return settled


def _exhaustion(lease: Leased) -> str | None:
    if lease.expired:
        return "expired"
    if lease.losses >= MAX_LOSSES:
        return f"its lease was lost {lease.losses} times"
    if lease.failures >= MAX_FAILURES:
        return f"failed {lease.failures} times"
    return None


def _is_told_to_end() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _drain(rows: Any) -> None:
    async for _ in rows:
        pass
