"""What a check rejects, in which words, and that a person's rejection is none of its own."""

from typing import Any

import pytest

from services.catalog.ledger.facts import gather, heard
from services.catalog.ledger.words import words
from services.catalog.review.machine import rejected, rejecting
from services.catalog.review.rules import decision_id
from tests.catalog.facts import BLANK, WEIGHT, Request

(JOB,) = Request().jobs


def body_of(**changed: Any) -> dict[str, Any]:
    return dict(heard(JOB.processed(checks=[WEIGHT, BLANK.model_copy(update=changed)])).body)


def test_a_failed_verdict_that_rejects_is_enough() -> None:
    found = rejecting(body_of())
    assert found is not None and found["check"] == "entropy"


@pytest.mark.parametrize(
    "changed", [{"ok": True}, {"rejecting": False, "blocking": True}, {"rejecting": False}, {"advisory": True}]
)
def test_what_passed_what_only_blocks_and_what_is_advisory_rejects_nothing(changed: dict[str, Any]) -> None:
    assert rejecting(body_of(**changed)) is None


def test_the_fact_says_which_check_its_code_and_its_sentence() -> None:
    arrived = JOB.blank()
    fact = rejected(heard(arrived).body, at=arrived.occurred_at, trace=arrived.traceparent)
    assert (fact.by.principal, fact.code, fact.reason) == ("check:entropy", "artefact", "It is blank.")
    assert (fact.cause_id, fact.run, fact.asset_version_id) == (str(arrived.event_id), 1, JOB.asset_version_id)
    assert words("AssetRejected", heard(fact).body) == "by the entropy check (artefact): It is blank."


def test_the_same_picture_is_rejected_by_the_same_fact() -> None:
    arrived = JOB.blank()
    told = [rejected(heard(arrived).body, at=arrived.occurred_at, trace=arrived.traceparent) for _ in range(2)]
    assert told[0].body() == told[1].body()


@pytest.mark.parametrize("code", [None, "ugly"])
def test_a_code_that_is_none_of_ours_is_another_reason(code: str | None) -> None:
    arrived = JOB.blank()
    assert rejected(body_of(code=code), at=arrived.occurred_at, trace=None).code == "other"


def test_the_decision_people_see_is_that_of_the_first_review() -> None:
    arrived = JOB.blank()
    fact = rejected(heard(arrived).body, at=arrived.occurred_at, trace=None)
    ((found, *_),) = gather([heard(fact)]).rejections
    assert found == decision_id(JOB.asset_version_id, 0)


def test_a_persons_rejection_makes_no_second_decision() -> None:
    assert gather([heard(JOB.rejected())]).rejections == []
