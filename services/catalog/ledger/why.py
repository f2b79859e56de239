"""Why a job stands where it does: cause, owner, when it moves, the one command; the page says it in the same words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.catalog.review.rules import SAID
from shared.events import FailureReason, JobStatus, Stage, WaitingOn


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The latest progress of a job in flight."""

    waiting_on: WaitingOn | None
    detail: str | None
    at: datetime
    attempt: int = 1
    step: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """The decision that holds for the job's asset; `state` is open or final."""

    decision: str
    by: str
    at: datetime
    undo_until: datetime
    state: str
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A record of the job that a consumer group refused and nobody has replayed or dropped."""

    dead_letter_id: UUID
    group: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One of the job's publications."""

    target: str
    state: str
    words: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that `why` looks at."""

    job_id: UUID
    status: JobStatus
    stage: Stage
    since: datetime
    reason: str | None = None
    detail: str | None = None
    remedy: str | None = None
    note: Note | None = None
    ruled: Ruled | None = None
    refused: Sequence[Refusal] = ()
    placed: Sequence[Placed] = ()
    asset_id: UUID | None = None
    public_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """`moves` ends the sentence "it moves …", None where it never will; `command` the one that helps, if any.

    `since` stands apart from the cause, so that jobs of one cause are told together. `runbook`: what an operator does.
    """

    cause: str
    owner: str
    moves: str | None
    command: str | None = None
    since: datetime | None = None
    runbook: str | None = None

    @property
    def sentence(self) -> str:
        return f"{self.said}; moves {self.moves}" if self.moves else self.said

    @property
    def said(self) -> str:
        """The cause and since when: enough for a line in a list."""
        return f"{self.cause} since {self.since:%H:%M:%S} UTC" if self.since else self.cause


# The command that inference names for a call that may have been billed: nothing else helps before it.
UNCERTAIN = "calotype uncertain list"

RUNBOOK = "docs/runbook.md"
KNOWN_REASONS = frozenset(reason.value for reason in FailureReason if reason is not FailureReason.UNKNOWN)
RETRY_MAY_HELP = KNOWN_REASONS - {
    FailureReason.INVALID_REQUEST,
    FailureReason.POLICY_REFUSED,
    FailureReason.UNROUTABLE,
    FailureReason.CONTENT_FILTERED,
    FailureReason.EXPIRED,
}
WAITS: dict[WaitingOn, tuple[str, str, str]] = {
    WaitingOn.WORKER: ("waits for a free worker", "the pipeline", "when a worker takes it"),
    WaitingOn.RATE: ("held by its backend's rate limit", "the backend's limit", "when the limit allows"),
    WaitingOn.CAP: ("held by a cap", "whoever sets the cap", "when the cap is raised or the day is over"),
    WaitingOn.BREAKER: ("its backend is failing and is left alone", "the backend", "when the backend answers again"),
    WaitingOn.RETRY: ("failed and will be tried again", "the pipeline", "when its pause is over"),
    WaitingOn.BASE: ("waits for the picture it builds on", "that job", "when that picture is there"),
    WaitingOn.EMBARGO: ("held until its time", "whoever set the embargo", "when the embargo ends"),
    WaitingOn.REVIEW: ("waits for a person's decision", "the reviewers", "when somebody decides"),
}


def why(now: Situation) -> Why:
    """The cause of what a person sees. A refused record comes first: nothing else will move the job."""
    if now.refused and now.status in {JobStatus.PENDING, JobStatus.RUNNING}:
        return _refused(now.refused[0])
    return EXPLAIN[now.status](now)


def _refused(letter: Refusal) -> Why:
    return Why(
        cause=f"{letter.group} refused its record ({letter.reason}): {letter.detail}",
        owner="an operator",
        moves="when somebody replays or drops the record",
        command=f"calotype dlq show {letter.dead_letter_id}",
        runbook=f"{RUNBOOK}#dead-letters",
    )


def _in_flight(now: Situation) -> Why:
    note = now.note
    if note is None:
        verb = "waits for" if now.status is JobStatus.PENDING else "is with"
        return Why(
            cause=f"{verb} {now.stage}",
            owner=f"{now.stage}",
            moves=f"as soon as {now.stage} gets to it",
            command=f"calotype logs {now.stage}",
            since=now.since,
            runbook=f"{RUNBOOK}#lag",
        )
    if note.waiting_on is None or note.waiting_on not in WAITS:
        steps = f", step {note.step} of {note.steps}" if note.steps else ""
        again = f", attempt {note.attempt}" if note.attempt > 1 else ""
        return Why(cause=f"{now.stage} works on it{steps}{again}", owner=f"{now.stage}", moves="now", since=note.at)
    cause, owner, moves = WAITS[note.waiting_on]
    return Why(
        cause=f"{cause} ({note.detail})" if note.detail else cause,
        owner=owner,
        moves=moves,
        command=f"calotype logs {now.stage}",
        since=note.at,
    )


def _completed(now: Situation) -> Why:
    ruled = now.ruled
    if ruled is None:
        cause, owner, moves = WAITS[WaitingOn.REVIEW]
        asset = f"?asset={now.asset_id}" if now.asset_id else ""
        command = f"open {now.public_url}/review{asset}"
        return Why(cause=cause, owner=owner, moves=moves, command=command, since=now.since)
    return Why(
        cause=f"{ruled.by} {SAID[ruled.decision]} it at {ruled.at:%H:%M:%S} UTC",
        owner=ruled.by,
        moves=f"at {ruled.undo_until:%H:%M:%S} UTC, unless it is taken back before",
    )


def _approved(now: Situation) -> Why:
    by = f"approved by {now.ruled.by} at {now.ruled.at:%H:%M:%S} UTC" if now.ruled else "approved"
    for state in ("uncertain", "failed"):
        for placed in now.placed:
            if placed.state == state:
                return Why(
                    cause=f"{by}; {placed.target} {state}: {placed.words}",
                    owner=f"the owner of {placed.target}",
                    moves="when the publication is tried again",
                    command=f"calotype trace {now.job_id}",
                    runbook=f"{RUNBOOK}#{state}-publications",
                )
    if now.placed:
        where = ", ".join(f"{p.state} to {p.target}" for p in now.placed)
        return Why(cause=f"{by}; {where}", owner="nobody, it is done", moves=None)
    return Why(
        cause=f"{by}; no target has it yet",
        owner="publisher",
        moves="when publisher delivers it, if any target takes it",
        command="calotype logs publisher",
    )


def _rejected(now: Situation) -> Why:
    if now.ruled is None:
        return Why(cause=f"rejected ({now.reason})", owner="the reviewers", moves=None)
    words = f": {now.ruled.reason}" if now.ruled.reason else ""
    cause = f"{now.ruled.by} rejected it ({now.ruled.code}) at {now.ruled.at:%H:%M:%S} UTC{words}"
    return Why(cause=cause, owner=now.ruled.by, moves=None)


def _failed(now: Situation) -> Why:
    return Why(
        cause=f"{now.reason}: {now.detail}" if now.detail else f"failed: {now.reason}",
        owner=f"{now.stage}",
        moves=f"not by itself: {now.remedy}" if now.remedy else None,
        command=_of_failed(now),
        runbook=f"{RUNBOOK}#{now.reason}" if now.reason in KNOWN_REASONS else RUNBOOK,
    )


def _of_failed(now: Situation) -> str:
    if UNCERTAIN in (now.remedy or ""):
        return UNCERTAIN
    if now.reason in RETRY_MAY_HELP and now.stage is not Stage.PROMPT:
        return f"calotype retry --where job={now.job_id}"
    return f"calotype trace {now.job_id}"


def _cancelled(now: Situation) -> Why:
    by = now.reason or "somebody"
    return Why(cause=f"cancelled by {by} at {now.since:%H:%M:%S} UTC", owner=by, moves=None)


EXPLAIN: dict[JobStatus, Callable[[Situation], Why]] = {
    JobStatus.PENDING: _in_flight,
    JobStatus.RUNNING: _in_flight,
    JobStatus.COMPLETED: _completed,
    JobStatus.APPROVED: _approved,
    JobStatus.REJECTED: _rejected,
    JobStatus.FAILED: _failed,
    JobStatus.CANCELLED: _cancelled,
}
