"""A fresh start is refused where it would end as the run before it did, and the refusal says what helps."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.catalog.retrying import Case, in_vain

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def case(**changed: Any) -> Case:
    fields: dict[str, Any] = {
        "request_id": uuid4(),
        "job_id": uuid4(),
        "run": 1,
        "stage": "inference",
        "reason": "model_timeout",
        "failed_at": NOW - HOUR,
        "now": NOW,
    }
    return Case(**fields | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"reason": "content_filtered"},
        {"stage": "postprocess", "reason": "upload_failed"},
        {"stage": "catalog", "reason": "internal"},
        {"deadline": NOW + HOUR},
        {"reason": "unroutable", "routes_since": NOW - HOUR / 2},
    ],
)
def test_what_another_run_may_help_is_begun(changed: dict[str, Any]) -> None:
    assert in_vain(case(**changed)) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stage": "prompt", "reason": "policy_refused"}, "the same request the same answer"),
        ({"stage": "prompt", "reason": "internal"}, "the same request the same answer"),
        ({"reason": "invalid_request"}, "pinned"),
        ({"deadline": NOW}, "its deadline 2026-03-01 12:00 UTC has passed"),
        ({"reason": "expired", "deadline": NOW - HOUR}, "its deadline"),
        ({"reason": "unroutable"}, "the routes are those"),
        ({"reason": "unroutable", "routes_since": NOW - 2 * HOUR}, "the routes are those"),
        ({"cancelled_by": "ada"}, "ada asked for its end"),
    ],
)
def test_what_another_run_cannot_help_is_refused_with_the_reason(changed: dict[str, Any], words: str) -> None:
    refused = in_vain(case(**changed))
    assert refused is not None and words in refused.why and refused.remedy


def test_an_attempt_that_may_have_been_billed_is_settled_before_it_is_made_again() -> None:
    attempt = uuid4()
    refused = in_vain(case(reason="backend_unavailable", uncertain=attempt))
    assert refused is not None and refused.remedy == f"calotype uncertain settle {attempt} --charged AMOUNT|none"
