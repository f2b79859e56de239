"""What a job's facts add up to, in whatever order and however often they are heard.

Topics have no order between them, so a job's standing is a maximum and not a sequence: the highest rank in the highest
run. `later` is commutative, associative and idempotent; a property test holds it to that, and the upsert in
`queries.sql` says the same in SQL.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
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
    """One standing per job, sorted by job: two writers that lock rows in the same order cannot deadlock."""
    folded: dict[UUID, Standing] = {}
    for standing in standings:
        known = folded.get(standing.job_id)
        folded[standing.job_id] = standing if known is None else later(known, standing)
    return sorted(folded.values())


def standings(event: Event) -> list[Standing]:
    """What one fact says about where its jobs stand; most facts of other kinds say nothing."""
    match event:
        case RequestAccepted():
            return [
                Standing(
                    ids.job_id(event.request_id, variant),
                    event.request_id,
                    event.workspace,
                    1,
                    RANK[JobStatus.PENDING],
                    STEP[Stage.PROMPT],
                    event.occurred_at,
                    variant=variant,
                )
                for variant in range(1, event.variants + 1)
            ]
        case PromptAssembled():
            return [_standing(event, JobStatus.PENDING, Stage.INFERENCE, variant=event.brief.variant)]
        case ImageGenerated():
            return [_standing(event, JobStatus.RUNNING, Stage.POSTPROCESS, variant=event.brief.variant)]
        case ImageProcessed():
            return [_standing(event, JobStatus.COMPLETED, Stage.CATALOG, variant=event.brief.variant)]
        case JobProgressed():
            return [_standing(event, _in_flight(event.status), event.stage)]
        case JobFailed():
            return [_standing(event, JobStatus.FAILED, event.stage, reason=event.reason.value)]
        case JobCancelled():
            return [_standing(event, JobStatus.CANCELLED, event.stage, reason=event.by)]
        case JobRetried():
            return [_standing(event, JobStatus.PENDING, Stage.INFERENCE)]
        case AssetApproved():
            return [_standing(event, JobStatus.APPROVED, Stage.PUBLISHER, variant=event.brief.variant)]
        case AssetRejected():
            return [_standing(event, JobStatus.REJECTED, Stage.CATALOG, reason=event.code)]
        case _:
            return []


JobFact = (
    PromptAssembled
    | ImageGenerated
    | ImageProcessed
    | JobProgressed
    | JobFailed
    | JobCancelled
    | JobRetried
    | AssetApproved
    | AssetRejected
)


def _standing(
    event: JobFact, status: JobStatus, stage: Stage, *, reason: str | None = None, variant: int | None = None
) -> Standing:
    return Standing(
        event.job_id,
        event.request_id,
        event.workspace,
        event.run,
        RANK[status],
        STEP[stage],
        event.occurred_at,
        reason,
        variant,
    )


def _in_flight(status: JobStatus) -> JobStatus:
    """Progress is ephemeral: it never says more than running, so losing it loses no state."""
    return JobStatus.PENDING if status is JobStatus.PENDING else JobStatus.RUNNING
