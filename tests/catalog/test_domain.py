"""Where a job stands does not depend on the order, the number or the grouping of what was heard."""

from functools import reduce
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.domain import RANK, Standing, fold, later, standings
from shared.events import Event, JobStatus, Stage, WaitingOn
from tests.catalog.facts import Request

REQUEST = Request(variants=2)
JOB, OTHER = REQUEST.jobs
AGAIN = JOB.again()
FACTS: list[Event] = [
    REQUEST.accepted(),
    *JOB.life(),
    JOB.progressed(after=2, status=JobStatus.PENDING, waiting_on=WaitingOn.RATE),
    JOB.progressed(after=3),
    JOB.progressed(after=3.5, stage=Stage.POSTPROCESS),
    JOB.failed(),
    JOB.cancelled(),
    JOB.approved(),
    JOB.rejected(),
    AGAIN.retried(),
    *AGAIN.life(),
    AGAIN.failed(),
    *OTHER.life(),
    OTHER.rejected(),
    JOB.published(),
    JOB.processed_anew(),
    JOB.approved_anew(),
    OTHER.processed_anew(),
    OTHER.rejected_anew(),
]


def says(event: Event) -> list[Standing]:
    return standings(type(event).__name__, event.model_dump(mode="json", exclude_none=True), event.occurred_at)


def stand(facts: list[Event]) -> dict[object, Standing]:
    return {UUID(s.job_id): s for s in fold(s for fact in facts for s in says(fact))}


@given(st.lists(st.sampled_from(FACTS)), st.randoms())
def test_facts_shuffled_and_repeated_leave_a_job_where_it_was(facts: list[Event], random: object) -> None:
    shuffled = facts + facts[: len(facts) // 2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert stand(shuffled) == stand(facts)


@given(st.lists(st.sampled_from([s for fact in FACTS for s in says(fact) if s.job_id == str(JOB.job_id)]), min_size=3))
def test_batches_may_be_cut_anywhere(parts: list[Standing]) -> None:
    whole = reduce(later, parts)
    for cut in range(1, len(parts)):
        assert later(reduce(later, parts[:cut]), reduce(later, parts[cut:])) == whole
    assert later(whole, whole) == whole


def test_the_highest_run_counts_before_the_highest_rank() -> None:
    standing = stand([JOB.approved(), AGAIN.retried()])[JOB.job_id]
    assert (standing.run, standing.status, standing.stage) == (2, JobStatus.PENDING, Stage.INFERENCE)


def test_the_ranks_are_the_contract() -> None:
    """A figure of the design: events of every release are folded by these numbers."""
    ranks = {"pending": 0, "running": 1, "completed": 2, "cancelled": 3, "failed": 4, "rejected": 5, "approved": 6}
    assert ranks == RANK


def test_since_is_when_the_job_first_got_there() -> None:
    early, late = JOB.progressed(after=2), JOB.progressed(after=3)
    assert stand([late, early])[JOB.job_id].since == early.occurred_at


def test_an_accepted_request_stands_for_every_job_it_will_have() -> None:
    standing = stand([REQUEST.accepted()])
    assert {s.variant for s in standing.values()} == {1, 2}
    assert all(s.status is JobStatus.PENDING and s.stage is Stage.PROMPT for s in standing.values())


def test_a_failed_job_keeps_its_reason_and_its_variant() -> None:
    standing = stand([JOB.failed(), JOB.assembled()])[JOB.job_id]
    assert (standing.status, standing.reason, standing.variant) == (JobStatus.FAILED, "model_timeout", 1)


def test_late_progress_does_not_bring_a_job_back() -> None:
    standing = stand([JOB.processed(), JOB.progressed(after=60)])[JOB.job_id]
    assert standing.status is JobStatus.COMPLETED


def test_what_is_said_of_a_version_made_anew_does_not_end_its_job() -> None:
    facts: list[Event] = [JOB.processed_anew(), JOB.rejected_anew()]
    standing = stand(facts)[JOB.job_id]
    assert (standing.status, standing.variant) == (JobStatus.PENDING, 1)
    assert stand([*facts, JOB.approved()])[JOB.job_id].status is JobStatus.APPROVED
    assert stand([*facts, JOB.processed()])[JOB.job_id].status is JobStatus.COMPLETED
