"""Events any stage that holds a job may write: progress, and the ends that are not an image."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Event
from shared.events.words import Attempt, Confidentiality, FailureReason, JobStatus, Pin, Run, Stage, WaitingOn


class JobProgressed(Event):
    """Ephemeral: the job is running or waits; the latest wins.

    `preview`: the step at which it was last drawn, to be seen at /v1/previews/JOB; 0 where there is nothing to see.
    """

    SOURCE: ClassVar[str] = "/calotype/workers"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    stage: Stage
    status: JobStatus = JobStatus.RUNNING
    waiting_on: WaitingOn | None = None
    detail: str | None = None
    attempt: int = 1
    step: int = 0
    steps: int = 0
    preview: int = 0


class JobFailed(Event):
    """The job ended without an image; `remedy` says what a person can do.

    Of one that no backend may take: the rule that would have, why not each backend, and by which table.
    """

    SOURCE: ClassVar[str] = "/calotype/workers"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    stage: Stage
    reason: FailureReason
    detail: str
    remedy: str | None = None
    attempts: list[Attempt] = Field(default_factory=list)
    confidentiality: Confidentiality = Confidentiality.UNKNOWN
    rule: str | None = None
    refused: dict[str, str] = Field(default_factory=dict)
    table: Pin | None = None


class JobCancelled(Event):
    """The stage that held the job dropped it; attempts that had begun are booked as waste."""

    SOURCE: ClassVar[str] = "/calotype/workers"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    stage: Stage
    by: str
    attempts: list[Attempt] = Field(default_factory=list)
    confidentiality: Confidentiality = Confidentiality.UNKNOWN


class JobRetried(Event):
    """An operator asked for a fresh start: `run` is the new run."""

    SOURCE: ClassVar[str] = "/calotype/workers"

    request_id: UUID
    job_id: UUID
    run: Run
    by: str
