"""Calls of which nobody knows what they cost: listed for people, and settled once by whoever finds out.

Nobody calls the provider again for them. A person looks into the provider's own account, or the worker that was taken
over hears the answer after all; either way the attempt's row changes once, and AttemptSettled says so in the same
transaction. A replay's call is settled as an attempt's, by the replay's id; no stage hears of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from services.inference.queue import queries
from services.inference.replays import Ended
from services.inference.replays import queries as replays
from services.inference.worker import Settled
from shared import ids
from shared.audit import acted
from shared.events import Attempt, AttemptSettled, AttemptState
from shared.http import Gate
from shared.identity import Caller, May
from shared.leases import Leased, Outcome
from shared.observability import UNCERTAIN_ATTEMPTS
from shared.outbox import Outbox, Transaction, caller_transaction
from shared.postgres import Connection, Pool, workspace_transaction

log = structlog.get_logger()

LATE_WORKER = "the worker that called, after its lease was taken over"
Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


async def count_uncertain(connection: Connection) -> None:
    """For the metrics: calls that may have been billed and nobody has settled."""
    rows = [row async for row in queries.count_uncertain(connection)]
    UNCERTAIN_ATTEMPTS.clear()
    for row in rows:
        UNCERTAIN_ATTEMPTS.labels(row["backend"]).set(row["attempts"])


class UncertainAttempt(BaseModel):
    """A call whose outcome nobody knows; the provider has it under `attempt_id` (X-Client-Request-Id) or its own id.

    Of a replay that is the replay's id, and it names its asset and no job.
    """

    attempt_id: UUID
    request_id: UUID | None
    job_id: UUID | None
    run: int | None
    asset_id: UUID | None
    number: int
    backend: str
    currency: str
    provider_request_id: str | None
    reason: str | None
    latency_seconds: float | None
    started_at: datetime
    age_seconds: float


class UncertainAttempts(BaseModel):
    """Oldest first; `next` is the `after` of the page after it."""

    attempts: list[UncertainAttempt]
    next: UUID | None


class Settlement(BaseModel):
    """What somebody found out: `charged` is what each of these cost, in the attempt's own currency, or none."""

    model_config = ConfigDict(extra="forbid")

    attempts: Annotated[list[UUID], Field(min_length=1, max_length=500)]
    charged: Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=6)] | Literal["none"]
    note: Word | None = None


class KnownAttempt(BaseModel):
    """What an attempt was settled as; `settled_by` is absent where it was never uncertain."""

    attempt_id: UUID
    state: AttemptState
    cost: str | None
    currency: str
    settled_by: str | None
    settled_at: datetime | None


class Settlements(BaseModel):
    """`already`: what was known before, and stays as it was. `unknown`: no such attempt of the caller's."""

    settled: list[KnownAttempt]
    already: list[KnownAttempt]
    unknown: list[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What an uncertain attempt turned out to be."""

    attempt_id: UUID
    state: AttemptState
    cost: Decimal | None
    currency: str | None = None
    provider_request_id: str | None = None
    price_list: str | None = None
    latency_seconds: float | None = None


def wire(app: FastAPI, *, outbox: Outbox, pool: Pool, gate: Gate) -> None:
    operator = Depends(gate.needs(May.OPERATE))

    @app.get("/v1/uncertain")
    async def uncertain(
        caller: Annotated[Caller, operator],
        backend: Word | None = None,
        older: Annotated[float, Query(ge=0, le=1e9, description="Only what began so many seconds ago")] = 0.0,
        after: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> UncertainAttempts:
        async with workspace_transaction(pool, stage="inference", workspace=caller.workspace) as connection:
            found = queries.uncertain_attempts(connection, backend=backend, older=older, after=after, many=limit + 1)
            rows = [UncertainAttempt(**dict(row)) async for row in found]
        return UncertainAttempts(attempts=rows[:limit], next=rows[limit - 1].attempt_id if len(rows) > limit else None)

    @app.post("/v1/uncertain/settle")
    async def settle_by_hand(asked: Settlement, caller: Annotated[Caller, operator]) -> Settlements:
        """Each attempt once; asking again changes nothing and says what is known."""
        charged = asked.charged != "none"
        truths = [
            Truth(
                attempt_id=attempt,
                state=AttemptState.SUCCEEDED if charged else AttemptState.FAILED,
                cost=Decimal(asked.charged) if charged else Decimal(0),
            )
            for attempt in dict.fromkeys(asked.attempts)
        ]
        writing = caller_transaction(outbox, pool, stage="inference", workspace=caller.workspace)
        async with writing as running:
            settled = await settle(running, truths, by=caller.principal, note=asked.note)
            found = queries.settled_attempts(running.connection, ids=asked.attempts)
            known = {row["attempt_id"]: _known(row) async for row in found}
            if settled:
                await acted(
                    running.connection,
                    by=caller.principal,
                    workspace=caller.workspace,
                    action="uncertain.settle",
                    subject=f"{len(settled)} attempts",
                    detail={"attempts": settled, "charged": asked.charged, "note": asked.note},
                )
        return Settlements(
            settled=[known[attempt] for attempt in settled],
            already=[each for attempt, each in known.items() if attempt not in settled],
            unknown=[truth.attempt_id for truth in truths if truth.attempt_id not in known],
        )


async def record_late(transaction: Transaction, fenced: Sequence[tuple[Leased, Outcome]]) -> None:
    """Another worker took the job over and called it uncertain; what this one heard says what it cost."""
    records = [outcome.record for _, outcome in fenced]
    attempts = [
        record.attempt
        for record in records
        if isinstance(record, Settled) and record.attempt and record.piece.job.bills
    ]
    truths = [
        Truth(
            attempt_id=attempt.attempt_id,
            state=attempt.state,
            cost=attempt.cost,
            currency=attempt.currency,
            provider_request_id=attempt.provider_request_id,
            price_list=attempt.price_list,
            latency_seconds=attempt.latency_seconds,
        )
        for attempt in attempts
        if attempt.state is not AttemptState.UNCERTAIN and attempt.cost is not None
    ]
    truths += [
        Truth(
            attempt_id=record.order.replay_id,
            state=AttemptState.SUCCEEDED if record.cost else AttemptState.FAILED,
            cost=record.cost,
            currency=record.currency,
            provider_request_id=record.provider_request_id,
            price_list=record.price_list,
        )
        for record in records
        # Only with the provider's id: that this worker did not call says nothing of the one that did.
        if isinstance(record, Ended) and record.order.bills and record.cost is not None and record.provider_request_id
    ]
    if truths:
        await settle(transaction, truths, by=LATE_WORKER)


async def settle(
    transaction: Transaction,
    truths: Sequence[Truth],
    *,
    by: str,
    note: str | None = None,
) -> list[UUID]:
    """Settles those that are uncertain and seen here, with their facts, and says which they were."""
    found = queries.settle_uncertain(
        transaction.connection,
        ids=[truth.attempt_id for truth in truths],
        states=[truth.state for truth in truths],
        costs=[truth.cost for truth in truths],
        currencies=[truth.currency for truth in truths],
        provider_ids=[truth.provider_request_id for truth in truths],
        price_lists=[truth.price_list for truth in truths],
        latencies=[truth.latency_seconds for truth in truths],
        by=by,
        note=note,
    )
    rows = [dict(row) async for row in found]
    work = {ids.asset_id(row["job_id"], row["run"]): row["attempt_id"] for row in rows}
    traces = {
        work[row["work_id"]]: row["traceparent"] async for row in queries.traces(transaction.connection, ids=list(work))
    }
    for row in rows:
        transaction.emit(_settled(row, traceparent=traces.get(row["attempt_id"])))
        log.info("attempt.settled", attempt=str(row["attempt_id"]), state=row["state"], by=by)
    return [row["attempt_id"] for row in rows] + await _settle_replays(transaction, truths, by=by, note=note)


async def _settle_replays(
    transaction: Transaction, truths: Sequence[Truth], *, by: str, note: str | None
) -> list[UUID]:
    found = replays.settle_uncertain(
        transaction.connection,
        ids=[truth.attempt_id for truth in truths],
        costs=[truth.cost for truth in truths],
        currencies=[truth.currency for truth in truths],
        provider_ids=[truth.provider_request_id for truth in truths],
        price_lists=[truth.price_list for truth in truths],
        by=by,
        note=note,
    )
    settled = [row["replay_id"] async for row in found]
    for replay in settled:
        log.info("replay.settled", replay=str(replay), by=by)
    return settled


def _settled(row: dict[str, Any], *, traceparent: str | None) -> AttemptSettled:
    return AttemptSettled.of(
        cause_id=row["attempt_id"],  # which is settled once
        occurred_at=row["settled_at"],
        workspace=row["workspace"],
        traceparent=traceparent,
        request_id=row["request_id"],
        job_id=row["job_id"],
        run=row["run"],
        attempt=Attempt(**{name: row[name] for name in Attempt.model_fields}),
    )


def _known(row: Any) -> KnownAttempt:
    return KnownAttempt(**dict(row) | {"cost": None if row["cost"] is None else str(row["cost"])})
