"""The queue as one process sees it: what it claims, whose turn it is, and the attempts that begin with a claim.

An attempt is written in the transaction that claims its work, before any backend is called: one whose worker died is
known, and its cost is unknown, not 0.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql

from services.inference import accounts
from services.inference.domain import RESUMABLE, SHARES, Cost, Failed, Job
from services.inference.flows import Limits, Line, NoLimits
from services.inference.turns import SHARED, Flow, Room
from shared import ids
from shared.events import (
    Attempt,
    AttemptState,
    CancelRequested,
    ImageGenerated,
    JobCancelled,
    JobFailed,
    Lane,
    PromptAssembled,
)
from shared.leases import MAX_FAILURES, MAX_LOSSES, POLL_SECONDS, Leased, Worker, buried
from shared.postgres import Connection, Pool, transaction
from shared.rounds import Rounds

queries = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")
limit_queries: Any = aiosql.from_path(Path(__file__).parent / "limits.sql", "asyncpg")

LOOK_EVERY = 1.0  # seconds
REMEMBERED = 2000
AT_ONCE = frozenset({"null"})

OfRun = PromptAssembled | ImageGenerated | JobFailed | JobCancelled


@dataclass(slots=True, eq=False)
class Piece:
    """One attempt in this process: the `number`-th of its job, after `earlier` ones.

    `resumes` is the provider's id of what another worker ordered in this same attempt. `barred`: how it ends, for
    today's table lets it go nowhere. `tried_for`: seconds since its first attempt began, by the database's clock.
    """

    job: Job
    number: int = 1
    earlier: list[Attempt] = field(default_factory=list)
    cancelled_by: str | None = None
    resumes: str | None = None
    barred: Failed | None = None
    tried_for: float = 0.0

    @property
    def attempt_id(self) -> UUID:
        return ids.attempt_id(self.job.event.job_id, self.job.event.run, self.number)

    @property
    def is_doubtful(self) -> bool:
        """An earlier attempt may have made and billed the image: nothing is called again until somebody knows."""
        return any(attempt.state is AttemptState.UNCERTAIN for attempt in self.earlier)

    @property
    def reserves(self) -> Cost | None:
        """What is set aside for it before it begins; what is under way already has it set aside."""
        return self.job.cost if self.resumes is None else None

    def resume(self, number: int, provider_request_id: str) -> None:
        """Goes on with an attempt that is still under way at the provider: this is no other one."""
        self.number, self.resumes = number, provider_request_id


class Desk:
    """What this process holds, by work id, so that a cancel reaches what is being made.

    Beside it lie jobs that were queued here lately: this process will most likely claim them, and reading a row's
    payload is a tenth of the work of a job that takes no time.
    """

    def __init__(self) -> None:
        self._pieces: dict[UUID, Piece] = {}
        self._queued: dict[UUID, Job] = {}

    def put(self, pieces: Mapping[UUID, Piece]) -> None:
        self._pieces.update(pieces)

    def remember(self, jobs: Mapping[UUID, Job]) -> None:
        if len(self._queued) + len(jobs) > REMEMBERED:
            self._queued.clear()
        self._queued.update(jobs)

    def job(self, lease: Leased) -> Job:
        job = self._queued.pop(lease.work_id, None)
        if job is None or job.backend != lease.subject:  # it has been routed anew since
            job = Job.model_validate_json(lease.payload)
        return job

    def take(self, lease: Leased) -> Piece:
        """The piece, which is then no longer on the desk."""
        piece = self._pieces.pop(lease.work_id, None)
        return piece or Piece(self.job(lease), number=max(lease.epoch, 1))

    @contextlib.contextmanager
    def at_work(self, lease: Leased) -> Iterator[Piece]:
        """The piece, on the desk as long as it is worked on."""
        piece = self.take(lease)
        self._pieces[lease.work_id] = piece
        try:
            yield piece
        finally:
            if self._pieces.get(lease.work_id) is piece:
                del self._pieces[lease.work_id]

    def hear(self, cancels: Sequence[CancelRequested]) -> None:
        """Marks what is held and no longer wanted."""
        for cancel in cancels:
            for piece in self._pieces.values():
                event = piece.job.event
                if event.request_id == cancel.request_id and cancel.job_id in (None, event.job_id):
                    piece.cancelled_by = cancel.by

    async def look(self, connection: Connection) -> None:
        """Asks the tombstones: in a cluster another process hears the cancel."""
        if self._pieces:
            by = await buried(connection, [piece.job.event for piece in self._pieces.values()])
            for piece in self._pieces.values():
                piece.cancelled_by = by.get(piece.job.event.job_id, piece.cancelled_by)


class Lookout:
    """Looks for cancels of what this process holds, as often as a person would notice."""

    def __init__(self, desk: Desk, pool: Pool) -> None:
        self._desk = desk
        self._pool = pool
        self._rounds = Rounds("lookout", self._look, every=LOOK_EVERY)

    async def start(self) -> None:
        await self._rounds.start()

    async def stop(self) -> None:
        await self._rounds.stop()

    async def _look(self) -> None:
        """What it does not see for an outage it sees the next time, or the settlement does."""
        async with transaction(self._pool) as connection:
            await self._desk.look(connection)


# Holds what is about to begin to today's table: bars pieces that may go nowhere, and says which went elsewhere.
Recheck = Callable[[Connection, Sequence[tuple[Leased, Piece]]], Awaitable[set[UUID]]]


async def nothing_changed(connection: Connection, running: Sequence[tuple[Leased, Piece]]) -> set[UUID]:  # noqa: ARG001
    """Where there is one table for ever."""
    return set()


class Claims:
    """How one worker of this stage claims: set `worker`, give it `claim`."""

    worker: Worker

    def __init__(
        self,
        desk: Desk,
        *,
        kinds: Sequence[str],
        at_once: bool = False,
        limits: Limits | None = None,
        recheck: Recheck = nothing_changed,
    ) -> None:
        """`at_once`: the work takes no time, so there is no moment in which it could be cancelled or lost."""
        self._recheck = recheck
        self._desk = desk
        self._kinds = list(kinds)
        self._limits = limits or NoLimits()
        self._line = Line(kinds, shares=SHARES, limits=self._limits)
        self._at_once = at_once

    def look_round(self) -> None:
        self._line.look_round()

    async def claim(self, connection: Connection, many: int) -> list[Leased]:
        room = Room(calls=await accounts.rooms(connection, self._kinds))
        if self.worker.kept:
            others = sum(lease.occupies and lease.lane != Lane.DEDICATED for lease in self.worker.held.values())
            room.calls[SHARED] = max(0, self.worker.concurrency - self.worker.kept - others)
        rows = await self._line.take(
            connection, many, holder=self.worker.holder, lease=self.worker.lease_seconds, room=room
        )
        leases = [Leased(**row) for row in rows]
        if leases and not self._at_once:
            leases = await self._begin(connection, leases)
        else:
            await self._limits.called(connection, [flow_of_lease(lease) for lease in leases])
        if (due := self._limits.due_in) is not None and due < POLL_SECONDS:
            asyncio.get_running_loop().call_later(due, self.worker.wake)
        return leases

    async def _begin(self, connection: Connection, leases: Sequence[Leased]) -> list[Leased]:
        """Cancelled meanwhile, tried before, tried now: three statements for the whole claim, which is what comes back.

        What costs something begins within its workspace's cap or waits on; what today's table would not send where it
        was sent goes elsewhere, or only comes back to be ended.
        """
        pieces = {lease.work_id: Piece(self._desk.job(lease), number=lease.epoch) for lease in leases}
        by = await buried(connection, leases)
        runs = {lease.work_id for lease in leases if will_run(lease)}
        resumable = {work_id for work_id in runs if pieces[work_id].job.kind in RESUMABLE}
        earlier = await earlier_attempts(connection, pieces, resumable=resumable)
        for work_id, piece in pieces.items():
            piece.cancelled_by = by.get(piece.job.event.job_id)
            piece.earlier = earlier.get(work_id, [])
        running = [lease for lease in leases if lease.work_id in runs and not pieces[lease.work_id].is_doubtful]
        gone = await self._recheck(connection, [(lease, pieces[lease.work_id]) for lease in running])
        if gone:
            self.worker.wake()  # that it takes fewer than it has room for does not say that no more waits
        running = [each for each in running if each.work_id not in gone and pieces[each.work_id].barred is None]
        costs = [(lease, pieces[lease.work_id].reserves) for lease in running]
        dear = [(lease, cost) for lease, cost in costs if cost is not None]
        gone |= await put_back_unaffordable(connection, dear, self._limits)
        running = [lease for lease in running if lease.work_id not in gone]
        await begin_attempts(connection, [pieces[lease.work_id] for lease in running])
        await self._limits.called(connection, [flow_of_lease(lease) for lease in running])
        self._desk.put({work_id: piece for work_id, piece in pieces.items() if work_id not in gone})
        return [lease for lease in leases if lease.work_id not in gone]


async def put_back_unaffordable(
    connection: Connection, dear: Sequence[tuple[Leased, Cost]], limits: Limits
) -> set[UUID]:
    """Which of these no cap has room for after all: put back, to wait on."""
    if not dear:
        return set()
    purses = await limits.purses(connection, {lease.workspace for lease, _ in dear})
    back = []
    for lease, cost in dear:
        if purses[lease.workspace].affords(cost):
            purses[lease.workspace].pay(cost)
        else:
            back.append(lease)
    if back:
        ids_of, asked = [lease.work_id for lease in back], [lease.asked_at for lease in back]
        await limit_queries.put_back(connection, ids=ids_of, asked=asked)
    return {lease.work_id for lease in back}


async def begin_attempts(connection: Connection, pieces: Sequence[Piece]) -> None:
    if pieces:
        await queries.begin_attempts(
            connection,
            ids=[piece.attempt_id for piece in pieces],
            workspaces=[piece.job.event.workspace for piece in pieces],
            requests=[piece.job.event.request_id for piece in pieces],
            jobs=[piece.job.event.job_id for piece in pieces],
            runs=[piece.job.event.run for piece in pieces],
            numbers=[piece.number for piece in pieces],
            backends=[piece.job.backend for piece in pieces],
            currencies=[piece.job.currency for piece in pieces],
            reserved=[piece.reserves.amount if piece.reserves else None for piece in pieces],
        )


def attempt_columns(attempts: Sequence[tuple[OfRun, Attempt]]) -> dict[str, list[Any]]:
    """Attempts, each with whose run it was, as the arrays that a statement takes."""
    return {
        "ids": [attempt.attempt_id for _, attempt in attempts],
        "workspaces": [of.workspace for of, _ in attempts],
        "requests": [of.request_id for of, _ in attempts],
        "jobs": [of.job_id for of, _ in attempts],
        "runs": [of.run for of, _ in attempts],
        "numbers": [attempt.number for _, attempt in attempts],
        "backends": [attempt.backend for _, attempt in attempts],
        "states": [attempt.state for _, attempt in attempts],
        "costs": [attempt.cost for _, attempt in attempts],
        "currencies": [attempt.currency for _, attempt in attempts],
        "seconds": [attempt.seconds for _, attempt in attempts],
        "provider_ids": [attempt.provider_request_id for _, attempt in attempts],
        "reasons": [attempt.reason for _, attempt in attempts],
        "price_lists": [attempt.price_list for _, attempt in attempts],
        "latencies": [attempt.latency_seconds for _, attempt in attempts],
        "device_times": [attempt.device_seconds for _, attempt in attempts],
    }


async def earlier_attempts(
    connection: Connection, pieces: Mapping[UUID, Piece], *, resumable: Collection[UUID] = ()
) -> dict[UUID, list[Attempt]]:
    """Work id → the attempts before its piece, oldest first; one that was lost with its worker is closed here.

    Closed as failed where it cost nobody anything, as uncertain where somebody may send a bill. Of `resumable` work one
    stays open whose provider has named its id: its piece goes on with it.
    """
    wanted = {
        ids.attempt_id(piece.job.event.job_id, piece.job.event.run, number): work_id
        for work_id, piece in pieces.items()
        for number in range(1, piece.number)
    }
    found: dict[UUID, list[Attempt]] = {}
    if wanted:
        billing = [pieces[work_id].job.bills for work_id in wanted.values()]
        open_ = [work_id in resumable for work_id in wanted.values()]
        rows = queries.earlier_attempts(connection, ids=list(wanted), billing=billing, resumable=open_)
        for row in [dict(row) async for row in rows]:
            work_id = wanted[row["attempt_id"]]
            pieces[work_id].tried_for = max(pieces[work_id].tried_for, row.pop("age_seconds"))
            if row["state"] == "started":
                pieces[work_id].resume(row["number"], row["provider_request_id"])
            else:
                found.setdefault(work_id, []).append(Attempt(**row))
    return {work_id: sorted(attempts, key=lambda attempt: attempt.number) for work_id, attempts in found.items()}


def flow_of_lease(lease: Leased) -> Flow:
    return Flow(lease.kind, lease.lane, lease.workspace, lease.subject or "", lease.priority)


def will_run(lease: Leased) -> bool:
    """What is out of time or tries is only settled, which is no attempt."""
    return not lease.expired and lease.losses < MAX_LOSSES and lease.failures < MAX_FAILURES
