"""What a job's facts add up to, in whatever order and however often they are heard.

Topics have no order between them, so a job's standing is a maximum and not a sequence: the highest rank in the highest
run. `later` is commutative, associative and idempotent; a property test holds it to that, and the upsert in
`queries.sql` says the same in SQL.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from shared import ids
from shared.events import (
    AssetApproved,
    AssetRejected,
    Event,
    ImageGenerated,
    ImageProcessed,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobRetried,
    JobStatus,
    PromptAssembled,
    RequestAccepted,
    Stage,
)

RANKED = (
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.COMPLETED,
    JobStatus.CANCELLED,
    JobStatus.FAILED,
    JobStatus.REJECTED,
    JobStatus.APPROVED,
)
RANK = {status: rank for rank, status in enumerate(RANKED)}
COMPLETED = RANK[JobStatus.COMPLETED]
ENDED = RANK[JobStatus.CANCELLED]
"""From this rank on nothing more will become of the job's run."""

STEPS = (Stage.INTAKE, Stage.PROMPT, Stage.INFERENCE, Stage.POSTPROCESS, Stage.CATALOG, Stage.PUBLISHER)
STEP = {stage: step for step, stage in enumerate(STEPS)} | {Stage.UNKNOWN: 0}


class Standing(NamedTuple):
    """Where a job stands after some of its facts; `step` is the stage that holds it, `since` when it got there."""

    job_id: UUID
    request_id: UUID
    workspace: UUID
    run: int
    rank: int
    step: int
    since: datetime
    reason: str | None = None
    variant: int | None = None

    @property
    def status(self) -> JobStatus:
        return RANKED[self.rank]

    @property
    def stage(self) -> Stage:
        return STEPS[self.step]


def later(one: Standing, other: Standing) -> Standing:
    """What both say together: the place further along, and since the earliest time that names it."""
    a = (one.run, one.rank, one.step, other.since, one.reason or "")
    b = (other.run, other.rank, other.step, one.since, other.reason or "")
    last = one if a >= b else other
    variant = max((v for v in (one.variant, other.variant) if v is not None), default=None)
    return last if last.variant == variant else last._replace(variant=variant)


def fold(standings: Iterable[Standing]) -> list[Standing]:
    """One standing per job."""
    folded: dict[UUID, Standing] = {}
    for standing in standings:
        known = folded.get(standing.job_id)
        folded[standing.job_id] = standing if known is None else later(known, standing)
    return list(folded.values())


# What each fact says of its job: status, the stage that holds it now, and why it ended.
PLACE: dict[type[Event], Callable[[Any], tuple[JobStatus, Stage, str | None]]] = {
    PromptAssembled: lambda _: (JobStatus.PENDING, Stage.INFERENCE, None),
    ImageGenerated: lambda _: (JobStatus.RUNNING, Stage.POSTPROCESS, None),
    ImageProcessed: lambda _: (JobStatus.COMPLETED, Stage.CATALOG, None),
    # Progress is ephemeral: it never says more than running, so losing it loses no state.
    JobProgressed: lambda e: (
        JobStatus.PENDING if e.status is JobStatus.PENDING else JobStatus.RUNNING,
        e.stage,
        None,
    ),
    JobFailed: lambda e: (JobStatus.FAILED, e.stage, e.reason.value),
    JobCancelled: lambda e: (JobStatus.CANCELLED, e.stage, e.by),
    JobRetried: lambda _: (JobStatus.PENDING, Stage.INFERENCE, None),
    AssetApproved: lambda _: (JobStatus.APPROVED, Stage.PUBLISHER, None),
    AssetRejected: lambda e: (JobStatus.REJECTED, Stage.CATALOG, e.code),
}


def standings(event: Event) -> list[Standing]:
    """What one fact says about where its jobs stand; facts of other kinds say nothing."""
    if isinstance(event, RequestAccepted):
        rank, step = RANK[JobStatus.PENDING], STEP[Stage.PROMPT]
        variants = {variant: ids.job_id(event.request_id, variant) for variant in range(1, event.variants + 1)}
        return [
            Standing(job, event.request_id, event.workspace, 1, rank, step, event.occurred_at, None, variant)
            for variant, job in variants.items()
        ]
    if (place := PLACE.get(type(event))) is None:
        return []
    status, stage, reason = place(event)
    job: Any = event
    variant = job.brief.variant if hasattr(job, "brief") else None
    rank, step = RANK[status], STEP[stage]
    return [Standing(job.job_id, job.request_id, job.workspace, job.run, rank, step, job.occurred_at, reason, variant)]
