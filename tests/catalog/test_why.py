"""Why a job stands where it stands: a cause, an owner, when it moves, one command."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.catalog.ledger.why import EXPLAIN, WAITS, Note, Placed, Refusal, Ruled, Situation, why
from shared.events import JobStatus, Stage, WaitingOn

AT = datetime(2026, 11, 22, 14, 2, 11, tzinfo=UTC)
JOB = UUID("9c1e0000-0000-4000-8000-000000000002")
LETTER = Refusal(dead_letter_id=JOB, group="inference", reason="bad_body", detail="no such field")
APPROVAL = Ruled(decision="approve", by="ada", at=AT, undo_until=AT + timedelta(seconds=10), state="open")


def now(status: JobStatus, stage: Stage = Stage.INFERENCE, **more: Any) -> Situation:
    return Situation(job_id=JOB, status=status, stage=stage, since=AT, public_url="http://here", **more)


def note(waiting_on: WaitingOn | None, **more: Any) -> Note:
    return Note(waiting_on=waiting_on, at=AT, detail=more.pop("detail", None), **more)


def test_every_status_a_job_can_have_is_explained() -> None:
    assert set(EXPLAIN) == set(JobStatus) - {JobStatus.UNKNOWN}
    for status in EXPLAIN:
        found = why(now(status))
        assert found.cause and found.owner


def test_every_cause_of_waiting_has_its_words() -> None:
    assert set(WAITS) == set(WaitingOn) - {WaitingOn.UNKNOWN}
    for waiting_on, (cause, owner, moves) in WAITS.items():
        found = why(now(JobStatus.PENDING, note=note(waiting_on, detail="proof, 2 a second")))
        assert (found.cause, found.owner, found.moves) == (f"{cause} (proof, 2 a second)", owner, moves)


def test_a_held_job_never_just_reads_pending() -> None:
    found = why(now(JobStatus.PENDING, Stage.PROMPT))
    assert found.sentence == "waits for prompt since 14:02:11 UTC; moves as soon as prompt gets to it"
    assert found.command == "calotype logs prompt"


def test_a_cause_of_a_newer_release_reads_as_work_and_not_as_success() -> None:
    assert why(now(JobStatus.PENDING, note=note(WaitingOn.UNKNOWN))).cause == "inference works on it"


def test_work_tells_its_step_and_its_attempt() -> None:
    found = why(now(JobStatus.RUNNING, note=note(None, attempt=2, step=18, steps=30)))
    assert found.cause == "inference works on it, step 18 of 30, attempt 2"


def test_a_refused_record_comes_before_everything_else_that_could_be_said() -> None:
    found = why(now(JobStatus.PENDING, note=note(WaitingOn.WORKER), refused=[LETTER]))
    assert found.cause == "inference refused its record (bad_body): no such field"
    assert found.command == f"calotype dlq show {JOB}"


def test_a_refused_record_of_a_job_that_went_on_is_not_its_cause() -> None:
    assert "refused" not in why(now(JobStatus.COMPLETED, Stage.CATALOG, refused=[LETTER])).cause


def test_a_completed_job_waits_for_a_person_or_for_its_undo_window() -> None:
    waits = why(now(JobStatus.COMPLETED, asset_id=JOB))
    assert (waits.owner, waits.command) == ("the reviewers", f"open http://here/review?asset={JOB}")
    decided = why(now(JobStatus.COMPLETED, ruled=APPROVAL))
    assert decided.sentence == (
        "ada approved it at 14:02:11 UTC; moves at 14:02:21 UTC, unless it is taken back before"
    )


@pytest.mark.parametrize(
    ("placed", "said", "moves"),
    [
        ([], "no target has it yet", "when publisher delivers it, if any target takes it"),
        ([Placed(target="site", state="delivered", words="/site")], "delivered to site", None),
        (
            [
                Placed(target="site", state="delivered", words="/site"),
                Placed(target="dam", state="failed", words="413 after 3 tries"),
            ],
            "dam failed: 413 after 3 tries",
            "when the publication is tried again",
        ),
    ],
)
def test_an_approved_job_tells_of_its_publications_the_worst_first(
    placed: list[Placed], said: str, moves: str | None
) -> None:
    found = why(now(JobStatus.APPROVED, ruled=APPROVAL, placed=placed))
    assert found.cause == f"approved by ada at 14:02:11 UTC; {said}"
    assert found.moves == moves


def test_a_failure_says_what_a_person_can_do() -> None:
    found = why(now(JobStatus.FAILED, reason="unroutable", detail="no route takes it", remedy="add a rule"))
    assert found.sentence == "unroutable: no route takes it; moves not by itself: add a rule"


def test_a_call_that_may_have_been_billed_is_looked_up_before_anything_else() -> None:
    remedy = "an operator finds out what it cost (calotype uncertain list), settles it, then runs the job again"
    failed = now(JobStatus.FAILED, reason="backend_unavailable", detail="it may have been billed", remedy=remedy)
    assert why(failed).command == "calotype uncertain list"


def test_a_rejection_names_who_and_why() -> None:
    ruled = Ruled(
        decision="reject", by="ada", at=AT, undo_until=AT, state="final", code="off_palette", reason="a saffron wall"
    )
    found = why(now(JobStatus.REJECTED, ruled=ruled))
    assert found.sentence == "ada rejected it (off_palette) at 14:02:11 UTC: a saffron wall"
