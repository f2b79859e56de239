"""The Kafka edge of inference: prompts become routed work, cancels become tombstones and end what waits."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.inference.domain import (
    PRIORITY,
    Cancelled,
    Ending,
    Failed,
    Job,
    account_of,
    ask_of,
    ended,
    forgotten,
    job_of,
    outcome_of,
    unroutable,
    work_kind,
)
from services.inference.queue import AT_ONCE, Desk, Piece, begin_attempts, earlier_attempts, queries
from services.inference.routing import Decision, Unroutable
from services.inference.tables import RoutingTables
from shared import ids
from shared.bus import Bus
from shared.events import CancelRequested, FailureReason, JobCancelled, JobFailed, JobRetried, Lane, PromptAssembled
from shared.leases import NewWork, Worker, buried, bury, drop_waiting
from shared.outbox import Transaction
from shared.postgres import Connection
from shared.topics import CANCELS_REQUESTED, JOBS_ENDED, PROMPTS_ASSEMBLED

UNROUTED = "unrouted"
TOO_LATE = Failed(reason=FailureReason.EXPIRED, detail="its deadline passed before it was begun")
FORGOTTEN = Failed(
    reason=FailureReason.MISSING_SOURCE,
    detail="what the runs before it were asked is not kept here any more",
    remedy="send the request again",
)


def wire(bus: Bus, *, front: "Front") -> None:
    @bus.project(PROMPTS_ASSEMBLED, group="inference", apply=front.take)
    def on_prompt_assembled(event: PromptAssembled) -> PromptAssembled:
        return event

    @bus.project(CANCELS_REQUESTED, group="inference-cancels", apply=front.cancel)
    def on_cancel_requested(event: CancelRequested) -> CancelRequested:
        return event

    @bus.project(JOBS_ENDED, group="inference-retries", apply=front.retry)
    def on_job_retried(event: JobRetried | JobFailed | JobCancelled) -> JobRetried | None:
        return event if isinstance(event, JobRetried) else None


class Front:
    """What hears of jobs; `workers` by the kind of work they claim, empty in a process that does not work."""

    def __init__(
        self, *, tables: RoutingTables, desk: Desk, workers: Mapping[str, Worker], lease_seconds: float = 30.0
    ) -> None:
        self._tables = tables
        self._lease_seconds = lease_seconds
        self._desk = desk
        self._workers = workers

    async def take(self, transaction: Transaction, events: Sequence[PromptAssembled]) -> None:
        """Routes a batch and queues it, as much as fits already claimed; what no backend may take ends here."""
        await self._take(transaction, [(event, event.event_id, event.occurred_at) for event in events])

    async def retry(self, transaction: Transaction, retries: Sequence[JobRetried]) -> None:
        """A fresh start asks again what the run before it asked, by today's routes; where that is gone, it fails."""
        runs = {ids.asset_id(r.job_id, run): (r, run) for r in retries for run in range(1, r.run)}
        asked: dict[UUID, tuple[int, Job]] = {}
        async for row in queries.payloads(transaction.connection, ids=list(runs)):
            retry, run = runs[row["work_id"]]
            if run > asked.get(retry.event_id, (0, None))[0]:
                asked[retry.event_id] = run, Job.model_validate_json(row["payload"])
        again = [
            (
                asked[retry.event_id][1].event.model_copy(update={"run": retry.run, "traceparent": retry.traceparent}),
                retry.event_id,
                retry.occurred_at,
            )
            for retry in retries
            if retry.event_id in asked
        ]
        await self._take(transaction, again)
        await _fail_forgotten(transaction, [retry for retry in retries if retry.event_id not in asked])

    async def cancel(self, transaction: Transaction, cancels: Sequence[CancelRequested]) -> None:
        """What waits is dropped in the transaction of the tombstone; what is being made stops at its next step."""
        await bury(transaction.connection, cancels)
        transaction.after_commit(lambda: self._desk.hear(cancels))
        dropped = {row["work_id"]: row for row in await drop_waiting(transaction.connection, cancels)}
        if not dropped:
            return
        pieces = {
            work_id: Piece(Job.model_validate_json(row["payload"]), number=row["epoch"] + 1)
            for work_id, row in dropped.items()
        }
        earlier = await earlier_attempts(transaction.connection, pieces)
        at = await queries.current_time(transaction.connection)
        for work_id, row in dropped.items():
            ending = Cancelled(by=row["cancelled_by"])
            attempts, parent = earlier.get(work_id, []), row["traceparent"]
            transaction.emit(ended(pieces[work_id].job, ending, attempts=attempts, at=at, traceparent=parent))

    async def _take(self, transaction: Transaction, asked: Sequence[tuple[PromptAssembled, UUID, datetime]]) -> None:
        if not asked:
            return
        connection = transaction.connection
        await self._tables.refresh(connection, {event.workspace for event, _, _ in asked})
        cancelled = await buried(connection, [event for event, _, _ in asked])
        rows = {ids.asset_id(event.job_id, event.run): (event, cause, at) for event, cause, at in asked}
        arrivals = [self._arrival(work_id, *row, cancelled) for work_id, row in rows.items()]
        self._hold(arrivals)
        since = time.monotonic()
        new = await _insert(connection, arrivals, lease=self._lease_seconds)
        held = [arrival for arrival in new if arrival.ending is None and arrival.worker is not None]
        await begin_attempts(connection, [arrival.piece for arrival in held if arrival.piece.job.kind not in AT_ONCE])
        for arrival in new:
            if arrival.ending is not None:
                parent = arrival.work.traceparent
                transaction.emit(
                    ended(arrival.piece.job, arrival.ending, attempts=[], at=arrival.at, traceparent=parent)
                )
        waiting = [arrival for arrival in new if arrival.ending is None and arrival.worker is None]
        transaction.after_commit(lambda: self._hand_over(held, waiting, since=since))

    def _arrival(
        self, work_id: UUID, event: PromptAssembled, cause: UUID, at: datetime, cancelled: Mapping[UUID, str]
    ) -> "Arrival":
        decision = self._tables.decide(event.workspace, ask_of(event), job=event.job_id)
        job = job_of(event, decision, cause_id=cause, asset_id=work_id)
        ending: Ending | None = None
        if event.job_id in cancelled:
            ending = Cancelled(by=cancelled[event.job_id])
        elif isinstance(decision, Unroutable):
            ending = unroutable(decision)
        work = NewWork(
            work_id=work_id,
            asked_at=at,
            kind=work_kind(decision.backend) if isinstance(decision, Decision) else UNROUTED,
            workspace=event.workspace,
            payload=job.model_dump_json(exclude_none=True),
            request_id=event.request_id,
            job_id=event.job_id,
            run=event.run,
            lane=job.route.lane if job.route else UNROUTED,
            subject=decision.backend.name if isinstance(decision, Decision) else None,
            priority=PRIORITY.get(event.priority, 0),
            deadline=event.deadline,
            traceparent=event.traceparent,
        )
        has_rate = isinstance(decision, Decision) and decision.backend.rate is not None
        is_limited = account_of(work.kind) is not None or job.cost is not None or has_rate
        return Arrival(work, Piece(job), ending, is_limited=is_limited)

    def _hold(self, arrivals: Sequence["Arrival"]) -> None:
        """Gives each worker what it has room for; a worker beside which anything waits has none.

        What calls a provider, costs something or has a rate is claimed: there may be no room for it.
        """
        room = {worker: worker.room() for worker in self._workers.values()}
        for arrival in arrivals:
            worker = self._workers.get(arrival.work.kind)
            if arrival.ending is not None or worker is None or arrival.is_limited:
                continue
            if room[worker] > (0 if arrival.work.lane == Lane.DEDICATED else worker.kept):
                room[worker] -= 1
                arrival.worker = worker

    def _hand_over(self, held: Sequence["Arrival"], waiting: Sequence["Arrival"], *, since: float) -> None:
        self._desk.put({arrival.work.work_id: arrival.piece for arrival in held})
        for worker in set(self._workers.values()):
            worker.offer([arrival.work for arrival in held if arrival.worker is worker], since=since)
        ours = [arrival for arrival in waiting if arrival.work.kind in self._workers]
        self._desk.remember({arrival.work.work_id: arrival.piece.job for arrival in ours})
        for kind in {arrival.work.kind for arrival in ours}:
            self._workers[kind].wake()


async def _fail_forgotten(transaction: Transaction, retries: Sequence[JobRetried]) -> None:
    """Ends runs of which nobody here knows what to make: never queued, or pruned since. The row is the inbox."""
    if not retries:
        return
    by_id = {ids.asset_id(retry.job_id, retry.run): retry for retry in retries}
    rows = queries.forget(
        transaction.connection,
        ids=list(by_id),
        asked=[retry.occurred_at for retry in by_id.values()],
        workspaces=[retry.workspace for retry in by_id.values()],
        requests=[retry.request_id for retry in by_id.values()],
        jobs=[retry.job_id for retry in by_id.values()],
        runs=[retry.run for retry in by_id.values()],
        kind=UNROUTED,
        outcome=FORGOTTEN.reason,
    )
    async for row in rows:
        transaction.emit(forgotten(by_id[row["work_id"]], FORGOTTEN, at=row["created_at"]))


@dataclass(slots=True, eq=False)
class Arrival:
    """A job on its way into the queue: over already, held by a worker of this process, or waiting."""

    work: NewWork
    piece: Piece
    ending: Ending | None
    is_limited: bool = False
    worker: Worker | None = None
    at: datetime = field(init=False)


async def _insert(connection: Connection, arrivals: Sequence[Arrival], *, lease: float) -> list[Arrival]:
    """Those that are new, dated, and ended where their deadline has passed."""
    work, costs = [arrival.work for arrival in arrivals], [arrival.piece.job.cost for arrival in arrivals]
    rows = queries.take(
        connection,
        ids=[row.work_id for row in work],
        asked=[row.asked_at for row in work],
        kinds=[row.kind for row in work],
        workspaces=[row.workspace for row in work],
        requests=[row.request_id for row in work],
        jobs=[row.job_id for row in work],
        runs=[row.run for row in work],
        lanes=[row.lane for row in work],
        subjects=[row.subject for row in work],
        priorities=[row.priority for row in work],
        deadlines=[row.deadline for row in work],
        traceparents=[row.traceparent for row in work],
        payloads=[row.payload for row in work],
        currencies=[cost.currency if cost else None for cost in costs],
        prices=[cost.amount if cost else None for cost in costs],
        sorts=[arrival.piece.job.sort for arrival in arrivals],
        holders=[arrival.worker.holder if arrival.worker else None for arrival in arrivals],
        endings=[outcome_of(arrival.ending) if arrival.ending else None for arrival in arrivals],
        lease=lease,
    )
    by_id = {arrival.work.work_id: arrival for arrival in arrivals}
    new = []
    async for row in rows:
        arrival = by_id[row["work_id"]]
        arrival.at = row["created_at"]
        if row["parked"]:
            arrival.worker = None
        if row["outcome"] == FailureReason.EXPIRED and arrival.ending is None:
            arrival.ending = TOO_LATE
        new.append(arrival)
    return new
