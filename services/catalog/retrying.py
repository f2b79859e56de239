"""A fresh start of failed jobs: asked for by a person, begun once, and refused with the reason where it cannot help.

A run that failed is followed by the next one (`JobRetried`); whatever the one before was asked, inference asks again by
today's routes. A cancel is final: its job is not started again, its request is sent again under another key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.catalog.domain import RANK
from services.catalog.ledger.writing import Writing
from services.catalog.ledger.writing import queries as ledger
from services.catalog.review.desk import Desk, Person
from services.catalog.sql import queries
from shared import ids
from shared.audit import acted
from shared.events import FailureReason, JobRetried, JobStatus, Stage
from shared.leases import buried
from shared.observability import ended_span

FAILED = RANK[JobStatus.FAILED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A failed run of a job, with all that decides whether another one can help."""

    request_id: UUID
    job_id: UUID
    run: int
    stage: str
    reason: str
    failed_at: datetime
    now: datetime
    deadline: datetime | None = None
    cancelled_by: str | None = None
    uncertain: UUID | None = None
    """An attempt that may have been billed, and nobody has settled."""
    routes_since: datetime | None = None
    """When the workspace's routes last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InVain:
    """Why a fresh start cannot help, and what does."""

    job_id: UUID
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What became of a page of failed jobs; `next`: where the next page begins, None after the last."""

    jobs: Sequence[UUID]
    refused: Sequence[InVain]
    next: int | None


def in_vain(case: Case) -> InVain | None:
    """Why another run would end as this one did, or must not begin; None where it may help."""
    for why, remedy in _obstacles(case):
        return InVain(job_id=case.job_id, why=why, remedy=remedy)
    return None


def _obstacles(case: Case) -> Iterator[tuple[str, str]]:
    if case.cancelled_by is not None:
        yield f"{case.cancelled_by} asked for its end, and a cancel is final", "send the request again"
    if case.stage == Stage.PROMPT:
        yield "the prompt stage gives the same request the same answer", "mend what it names, then send it again"
    if case.reason == FailureReason.INVALID_REQUEST:
        yield "what it asks for is pinned, and refused as often as it is asked", "mend the template, then send it again"
    if case.deadline is not None and case.deadline <= case.now:
        yield f"its deadline {case.deadline:%Y-%m-%d %H:%M} UTC has passed", "send the request again with a later one"
    if case.reason == FailureReason.UNROUTABLE and (case.routes_since is None or case.routes_since <= case.failed_at):
        yield "the routes are those that had no backend for it", "publish routes that take it, then retry"
    if case.uncertain is not None:
        settle = f"calotype uncertain settle {case.uncertain} --charged AMOUNT|none"
        yield f"attempt {case.uncertain} may have been billed, and nobody has settled it", settle


async def retry(
    desk: Desk, person: Person, *, where: Mapping[str, Any], after: int, many: int, dry_run: bool
) -> Retried:
    """Starts the failed jobs that match again, a page at a time, oldest failure first."""
    async with desk.acting(person) as writing:
        connection = writing.connection
        rows = [r async for r in queries.failed_jobs(connection, **where, failed=FAILED, after=after, many=many + 1)]
        more, rows = len(rows) > many, rows[:many]
        cases = await _cases(writing, rows, workspace=person.workspace)
        refused = [obstacle for case in cases if (obstacle := in_vain(case))]
        hopeless = {obstacle.job_id for obstacle in refused}
        chosen = [case for case in cases if case.job_id not in hopeless]
        if chosen and not dry_run:
            await writing.tell(await _begun(writing, chosen, person))
            await acted(
                connection,
                by=person.principal,
                workspace=person.workspace,
                action="job.retry",
                subject=f"{len(chosen)} jobs",
                detail={
                    "where": {name: value for name, value in where.items() if value is not None},
                    "jobs": [case.job_id for case in chosen],
                },
            )
    return Retried(jobs=[case.job_id for case in chosen], refused=refused, next=rows[-1]["seq"] if more else None)


async def _cases(writing: Writing, rows: Sequence[Mapping[str, Any]], *, workspace: UUID) -> list[Case]:
    if not rows:
        return []
    connection, jobs = writing.connection, [row["job_id"] for row in rows]
    # Held to the commit: of two who ask at once, the second finds a job that has not failed.
    failed = {(r["job_id"], r["run"]) async for r in queries.hold_failed(connection, jobs=jobs, failed=FAILED)}
    held = [row for row in rows if (row["job_id"], row["run"]) in failed]
    await ledger.share_cancels(connection)
    asked = {r["request_id"]: r async for r in queries.asked(connection, requests=[r["request_id"] for r in held])}
    cancelled = await buried(connection, [_OfJob(row["request_id"], row["job_id"]) for row in held])
    uncertain = {r["job_id"]: r["attempt_id"] async for r in queries.uncertain_attempts(connection, jobs=jobs)}
    routes_since = await _routes_since(writing, workspace)
    now = await queries.current_time(connection)
    return [
        Case(
            **{name: row[name] for name in ("request_id", "job_id", "run", "stage", "reason", "failed_at")},
            now=now,
            deadline=asked[row["request_id"]]["deadline"] if row["request_id"] in asked else None,
            cancelled_by=cancelled.get(row["job_id"]),
            uncertain=uncertain.get(row["job_id"]),
            routes_since=routes_since,
        )
        for row in held
    ]


@dataclass(frozen=True, slots=True)
class _OfJob:
    request_id: UUID
    job_id: UUID


async def _routes_since(writing: Writing, workspace: UUID) -> datetime | None:
    names = [row["name"] async for row in queries.routes(writing.connection, workspace=workspace)]
    abouts = [ids.derive("about", workspace, "LibraryItemChanged", f"{workspace}/routes/{name}") for name in names]
    found: datetime | None = await queries.last_said(writing.connection, abouts=abouts)
    return found


async def _begun(writing: Writing, cases: Sequence[Case], person: Person) -> list[JobRetried]:
    """The facts: each caused by the failure it follows, so that the same fresh start has the same id."""
    rows = queries.failures_said(writing.connection, jobs=[case.job_id for case in cases])
    failures = {(row["job_id"], row["run"]): row async for row in rows}
    return [_retried(case, failures[case.job_id, case.run], person) for case in cases]


def _retried(case: Case, failure: Mapping[str, Any], person: Person) -> JobRetried:
    attributes = {"calotype.job": str(case.job_id), "calotype.run": case.run + 1}
    trace = ended_span("job retry", parent=failure["traceparent"], link=person.context, attributes=attributes)
    return JobRetried.of(
        cause_id=failure["event_id"],
        occurred_at=case.now,
        workspace=person.workspace,
        client_reference=failure["client_reference"],
        traceparent=trace,
        request_id=case.request_id,
        job_id=case.job_id,
        run=case.run + 1,
        by=person.principal,
    )
