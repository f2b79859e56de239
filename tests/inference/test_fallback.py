"""Fallback: another backend of the same rule, never across a confidentiality line, however often and after what."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.domain import Job, ask_of, job_of
from services.inference.fallback import fall_back
from services.inference.routing import RUNNABLE, Decision, Unroutable, bucket_of, decide
from shared.events import Confidentiality, Lane, Parameters, Priority, PromptAssembled
from shared.library.documents import Canary, RouteRule, Routes
from tests.inference.prompts import PHOTO, assembled
from tests.inference.tables import NAMES, TODAY, backend, mostly, table, tables

CONFIDENTIAL = Confidentiality.CONFIDENTIAL


def routed(event: PromptAssembled, routes: Routes) -> Job | None:
    decision = decide(ask_of(event), table=routes, today=TODAY, bucket=bucket_of(event.job_id))
    return job_of(event, decision, cause_id=event.event_id) if isinstance(decision, Decision) else None


def instead(job: Job, routes: Routes | None, **avoid: str) -> Decision | Unroutable:
    return fall_back(job, table=routes, today=TODAY, runnable=RUNNABLE, avoid=avoid)


def three(**fields: Any) -> Routes:
    """A private backend, one of the cloud, another private one; in this order for all but confidential work."""
    return table(
        backend("first"), backend("cloud", visibility="cloud"), backend("second"),
        rules=[
            RouteRule(id="hidden", confidentiality=[CONFIDENTIAL], lane=Lane.STANDARD, backends=["first"]),
            RouteRule(id="any", lane=Lane.STANDARD, backends=["first", "cloud", "second"]),
        ],
        **fields,
    )  # fmt: skip


events = st.builds(
    assembled,
    request=st.uuids(),
    confidentiality=mostly(CONFIDENTIAL, *Confidentiality),
    priority=st.sampled_from(list(Priority)),
    parameters=mostly(None, "sd15", "sdxl").map(lambda model: Parameters(width=64, height=64, model=model)),
    sources=mostly([], [PHOTO]),
)
# What happens to a job again and again: these backends fail, and perhaps another table is published meanwhile.
failures = st.lists(
    st.tuples(
        mostly(set(), {NAMES[0]}, {NAMES[1], NAMES[2]}),
        mostly(None, 1).flatmap(lambda one: tables(many=3) if one else st.none()),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.live  # four hundred chains take seconds
@settings(max_examples=400, deadline=None)
@given(event=events, routes=tables(many=3), failures=failures)
def test_no_chain_of_fallbacks_leaves_what_the_job_s_confidentiality_and_rule_permit(
    event: PromptAssembled, routes: Routes, failures: list[tuple[set[str], Routes | None]]
) -> None:
    job = routed(event, routes)
    current = routes
    for down, published in failures:
        if job is None:
            return
        current = published or current
        avoid = dict.fromkeys({job.backend, *down}, "it is down")
        found = fall_back(job, table=current, today=TODAY, runnable=RUNNABLE, avoid=avoid)
        known = {made.name for made in current.backends}
        assert job.route is not None
        if isinstance(found, Unroutable):
            assert found.missing
            assert set(found.refused) == known
            return
        made = found.backend
        if event.confidentiality.stays_private:
            assert made.visibility == "private"
        assert made.end_of_life is None or made.end_of_life >= TODAY
        assert made.ceiling is None or made.ceiling.rank >= event.confidentiality.rank
        assert ask_of(event).capabilities <= set(made.capabilities)
        assert made.name not in avoid
        assert found.route.rule == job.route.rule
        assert {made.name} ^ set(found.route.refused) == known
        job = job_of(event, found, cause_id=event.event_id)


def test_the_next_backend_of_the_same_rule_takes_over_and_the_first_says_why_not() -> None:
    job = routed(assembled(), three())
    assert job is not None
    found = instead(job, three(), first="it has not answered since 09:12 UTC")
    assert isinstance(found, Decision)
    assert found.route.backend == "cloud"
    assert found.route.refused == {
        "first": "it has not answered since 09:12 UTC",
        "second": "rule 'any' prefers cloud",
    }
    assert job_of(job.event, found, cause_id=job.cause_id).backend == "cloud"


def test_confidential_work_waits_for_its_private_backend_and_is_told_the_law_of_the_other() -> None:
    job = routed(assembled(confidentiality=CONFIDENTIAL), three())
    assert job is not None
    found = instead(job, three(), first="it is down", cloud="it is down as well")
    assert isinstance(found, Unroutable)
    assert found.missing == "rule 'hidden' permits none of its backends (first: it is down)"
    assert found.refused["cloud"] == "it is not private, and confidential work never leaves private backends"


def test_a_table_that_would_route_the_job_by_another_rule_gives_no_fallback() -> None:
    job = routed(assembled(), three())
    assert job is not None
    other = table(backend("second"), rules=[RouteRule(id="new", lane=Lane.STANDARD, backends=["second"])])
    found = instead(job, other, first="it is down")
    assert isinstance(found, Unroutable)
    assert "rule 'any' sent it to first" in found.missing
    assert found.refused == {"second": "rule 'any' did not choose it"}


def test_a_canary_s_job_falls_back_to_what_the_others_have() -> None:
    rule = RouteRule(id="any", lane=Lane.STANDARD, backends=["old"], canary=Canary(backend="new", percent=100))
    routes = table(backend("old"), backend("new"), rules=[rule])
    job = routed(assembled(), routes)
    assert job is not None
    assert job.backend == "new"
    found = instead(job, routes, new="it is down")
    assert isinstance(found, Decision)
    assert (found.route.backend, found.route.canary) == ("old", False)


def test_what_starts_from_a_picture_is_made_only_where_images_are_taken() -> None:
    event = assembled(sources=[PHOTO])
    assert ask_of(event).capabilities == {"image-to-image"}
    assert ask_of(assembled()).capabilities == {"text-to-image"}
    assert routed(event, three()) is None
