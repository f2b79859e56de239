"""The decision about a job, read from its facts."""

from typing import Any

from services.catalog.ledger.routed import routed
from tests.catalog.facts import Request

REQUEST = Request(variants=1)
(JOB,) = REQUEST.jobs


def facts(*events: Any) -> list[dict[str, Any]]:
    return [
        {"type": type(event).__name__, "body": event.model_dump(mode="json", exclude_none=True)} for event in events
    ]


def test_an_image_says_where_it_was_made_and_why_not_elsewhere() -> None:
    found = routed(facts(*REQUEST.life()), run=1)
    assert found is not None
    route = JOB.generated().route
    assert (found.backend, found.rule, found.refused) == (route.backend, route.rule, route.refused)


def test_a_job_nobody_may_make_says_why_not_each_backend() -> None:
    found = routed(facts(JOB.unroutable()), run=1)
    assert found is not None
    assert (found.backend, found.rule, found.table) == (None, "all", "routes@3")
    assert found.refused == {"cloud": "it is not private", "old": "its life ended on 2026-09-30"}


def test_another_run_s_decision_is_not_this_one_s() -> None:
    again = JOB.again()
    told = facts(JOB.unroutable(), again.generated())
    second = routed(told, run=2)
    assert second is not None
    assert second.backend is not None
    assert routed(told[:1], run=2) is None


def test_a_failure_for_another_reason_says_nothing_of_the_route() -> None:
    assert routed(facts(JOB.failed()), run=1) is None
