"""What a decision must say, and what it becomes."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from services.catalog.review.rules import AssetVerdict, Verdict, concluded, conflict, decision_id, recorded
from services.catalog.routes.decisions import Verdicts
from services.catalog.views.drawing import file_lines
from shared.contracts.rejection_codes import REJECTION_CODES
from shared.events import AssetApproved, AssetRejected
from tests.catalog.facts import Request

AT = datetime(2026, 11, 22, 14, 2, tzinfo=UTC)
(JOB,) = Request().jobs
VERSION = JOB.asset_version_id


def decision(word: str = "approve", **changed: Any) -> dict[str, Any]:
    return {
        "decision_id": decision_id(VERSION, 0),
        "decision": word,
        "code": "soft" if word == "reject" else None,
        "reason": None,
        "rubric": ["label"],
        "principal": "ada",
        "decided_at": AT,
        "ended_at": AT,
        "ended_by": None,
        "traceparent": None,
    } | changed


def standing(**changed: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("decision_id", "open_version", "open_at", "principal", "decision", "decided_at", "ended_why")
    )
    return nothing | {"rank": 2, "since": AT, "review_version": 0} | changed


def test_there_are_codes_for_the_digits_and_no_more() -> None:
    assert 0 < len(REJECTION_CODES) <= 9
    assert {"off_palette", "not_selected"} <= REJECTION_CODES.keys()


@pytest.mark.parametrize(
    "said",
    [
        {"decision": "reject"},
        {"decision": "reject", "code": "ugly"},
        {"decision": "approve", "code": "soft"},
        {"decision": "maybe"},
        {"decision": "approve", "reason": "a\x00b"},
        {"decision": "approve", "rubric": ["a\x1fb"]},
        {"decision": "approve", "rubric": ["line"] * 10},
        {"decision": "approve", "review_version": -1},
        {"decision": "approve", "sure": True},
    ],
)
def test_a_decision_that_does_not_say_what_it_must_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Verdict(asset_version=VERSION, **said)


def test_the_same_decision_has_the_same_id_and_a_later_review_another() -> None:
    assert decision_id(VERSION, 0) == decision_id(VERSION, 0) != decision_id(VERSION, 1)


def test_an_approval_carries_every_file_that_is_published_and_no_other() -> None:
    fact = concluded(decision(), JOB.processed(), public_url="https://images.example")
    assert isinstance(fact, AssetApproved)
    assert [file.rendition for file in fact.files] == ["original", "wide"]
    assert all(file.url.startswith("https://images.example/v1/files/") for file in fact.files)
    assert fact.cause_id == decision_id(VERSION, 0)
    assert "prompt" not in fact.model_dump_json()


def test_a_signed_original_leaves_in_place_of_the_raw_one() -> None:
    made = JOB.processed()
    raw, (web,) = made.original, made.files
    signed = raw.model_copy(update={"sha256": "5" * 64, "unsigned_sha256": "6" * 64, "recipe": None})
    told = made.model_copy(update={"files": [signed, web]})
    fact = concluded(decision(), told, public_url="https://images.example")
    assert isinstance(fact, AssetApproved)
    assert [(file.rendition, file.sha256) for file in fact.files] == [("original", "5" * 64), ("wide", web.sha256)]
    assert [file.unsigned_sha256 for file in fact.files] == ["6" * 64, None]
    assert [line.bytes for line in file_lines(told)] == [raw.bytes, web.bytes]
    of_a_recipe = web.model_copy(update={"rendition": "original"})
    both = made.model_copy(update={"files": [of_a_recipe]}).published
    assert both == [raw, of_a_recipe]  # a recipe may call a rendition so: the raw one leaves all the same


def test_a_rejection_carries_its_code_and_who() -> None:
    fact = concluded(decision("reject", reason="blurred"), JOB.processed(), public_url="")
    assert isinstance(fact, AssetRejected)
    assert (fact.code, fact.reason, fact.by.principal) == ("soft", "blurred", "ada")


def test_taking_back_is_a_fact_of_its_own() -> None:
    made = recorded(decision(), JOB.processed())
    undone = recorded(decision(ended_by="mara"), JOB.processed(), word="undo")
    assert made.event_id != undone.event_id
    assert (undone.decision, undone.by, undone.rubric) == ("undo", "mara", [])


def verdict(version: UUID = VERSION) -> AssetVerdict:
    return AssetVerdict(asset_id=JOB.asset_id, asset_version=version, decision="approve")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            standing(decision_id=uuid4(), principal="mara", decision="reject", decided_at=AT),
            "mara rejected at 14:02 UTC",
        ),
        (standing(open_version=uuid4(), open_at=0), "the asset has a newer version than the one you saw"),
        (standing(open_version=VERSION, open_at=2), "somebody decided and took it back since you looked; look again"),
        (standing(rank=3, ended_why="otto"), "the job was cancelled by otto at 14:02 UTC"),
    ],
)
def test_a_conflict_says_what_stands_in_the_way(row: dict[str, Any], said: str) -> None:
    what, named = conflict(row, verdict())
    assert what == said
    assert named


def test_of_many_decisions_each_asset_gets_one() -> None:
    verdicts = [
        {"asset_id": str(asset), "asset_version": str(uuid4()), "decision": "approve"} for asset in (uuid4(), uuid4())
    ]
    assert len(Verdicts.model_validate({"decisions": verdicts}).decisions) == 2
    again = verdicts[0] | {"asset_version": str(uuid4())}
    with pytest.raises(ValidationError, match="is named twice"):
        Verdicts.model_validate({"decisions": [*verdicts, again]})
