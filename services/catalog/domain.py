"""What a job's facts add up to, in whatever order and however often they are heard.

Topics have no order between them, so a job's standing is a maximum and not a sequence: the highest rank in the highest
run. `later` is commutative, associative and idempotent; a property test holds it to that, and the upsert in
`ledger/queries.sql` says the same in SQL.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from shared import ids
from shared.events import JobStatus, Stage

Body = Mapping[str, Any]
"""A fact's JSON as it was said. Not decoded into its class: of the four facts of every job most is only kept."""

RANKED = (
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.COMPLETED,
    JobStatus.CANCELLED,
    JobStatus.FAILED,
    JobStatus.REJECTED,
    JobStatus.APPROVED,
)
WORDS = tuple(status.value for status in RANKED)
RANK = {status: rank for rank, status in enumerate(RANKED)}
PENDING = RANK[JobStatus.PENDING]
COMPLETED = RANK[JobStatus.COMPLETED]
ENDED = RANK[JobStatus.CANCELLED]
"""From this rank on nothing more will become of the job's run."""

STEPS = (Stage.INTAKE, Stage.PROMPT, Stage.INFERENCE, Stage.POSTPROCESS, Stage.CATALOG, Stage.PUBLISHER)
STEP = {stage: step for step, stage in enumerate(STEPS)}


class Standing(NamedTuple):
    """Where a job stands after some of its facts; `step` is the stage that holds it, `since` when it got there."""

    job_id: str
    request_id: str
    workspace: str
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
    folded: dict[str, Standing] = {}
    for standing in standings:
        known = folded.get(standing.job_id)
        folded[standing.job_id] = standing if known is None else later(known, standing)
    return list(folded.values())


Place = tuple[int, int, str | None]


def _place(status: JobStatus, stage: Stage, reason: str | None = None) -> Place:
    return RANK[status], STEP[stage], reason


def _always(status: JobStatus, stage: Stage) -> Callable[[Body], Place]:
    place = _place(status, stage)  # once: reading an enum's member costs more than the rest of a standing
    return lambda _: place


def _progressed(body: Body) -> Place:
    """Progress is ephemeral: it never says more than running, so losing it loses no state."""
    status = JobStatus.PENDING if body.get("status") == JobStatus.PENDING else JobStatus.RUNNING
    return _place(status, _stage(body))


def _stage(body: Body) -> Stage:
    stage = Stage(body["stage"])
    return Stage.INTAKE if stage is Stage.UNKNOWN else stage


# What each fact says of its job: how far it is, the stage that holds it now, and why it ended.
PLACE: dict[str, Callable[[Body], Place]] = {
    "PromptAssembled": _always(JobStatus.PENDING, Stage.INFERENCE),
    "ImageGenerated": _always(JobStatus.RUNNING, Stage.POSTPROCESS),
    "ImageProcessed": _always(JobStatus.COMPLETED, Stage.CATALOG),
    "JobProgressed": _progressed,
    "JobFailed": lambda body: _place(JobStatus.FAILED, _stage(body), body["reason"]),
    "JobCancelled": lambda body: _place(JobStatus.CANCELLED, _stage(body), body["by"]),
    "JobRetried": _always(JobStatus.PENDING, Stage.INFERENCE),
    "AssetApproved": _always(JobStatus.APPROVED, Stage.PUBLISHER),
    "AssetRejected": lambda body: _place(JobStatus.REJECTED, Stage.CATALOG, body["code"]),
}

UNSAID = _place(JobStatus.PENDING, Stage.INTAKE)
"""The lowest place: it is said that there is such a job, and nothing of where it stands."""
MADE_ANEW = frozenset({"ImageProcessed", "AssetRejected"})
"""What is said of a version in an approved one's place changes nothing about the job, which stays approved."""


def standings(kind: str, body: Body, at: datetime) -> list[Standing]:
    """What a fact of `at` says about where its jobs stand; facts of other kinds say nothing."""
    if kind == "RequestAccepted":
        return _accepted(body, at)
    if (place := PLACE.get(kind)) is None:
        return []
    rank, step, reason = UNSAID if body.get("supersedes") and kind in MADE_ANEW else place(body)
    brief = body.get("brief")
    variant = brief.get("variant", 1) if brief else None
    run = body.get("run", 1)
    return [Standing(body["job_id"], body["request_id"], body["workspace"], run, rank, step, at, reason, variant)]


def _accepted(body: Body, at: datetime) -> list[Standing]:
    """A request stands for every job it will have, from the first moment."""
    rank, step, reason = _place(JobStatus.PENDING, Stage.PROMPT)
    request, workspace = body["request_id"], body["workspace"]
    return [
        Standing(str(ids.job_id(request, variant)), request, workspace, 1, rank, step, at, reason, variant)
        for variant in range(1, body["variants"] + 1)
    ]
