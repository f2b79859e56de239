"""Fallback: another backend of the same rule, never across a confidentiality line, however often and after what."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.domain import Failed, Job, ask_of, job_of, kind_of, work_kind
from services.inference.fallback import elsewhere, fall_back
from services.inference.routing import RUNNABLE, Decision, Unroutable, bucket_of, decide
from shared.events import Confidentiality, Lane, Parameters, Priority, PromptAssembled
from shared.library.documents import Canary, RouteRule, Routes
from tests.inference.prompts import NOW, PHOTO, assembled
from tests.inference.tables import NAMES, PROVIDERS, TODAY, backend, mostly, table, tables

CONFIDENTIAL = Confidentiality.CONFIDENTIAL


def routed(event: PromptAssembled, routes: Routes) -> Job | None:
    bucket = bucket_of(event.job_id)
    decision = decide(ask_of(event), table=routes, today=TODAY, providers=PROVIDERS, bucket=bucket)
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
        found = fall_back(job, table=current, today=TODAY, runnable=RUNNABLE, providers=PROVIDERS, avoid=avoid)
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


def on_from(job: Job, routes: Routes | Unroutable | None, *, served: set[str], **away: str) -> Decision | Failed:
    return elsewhere(
        job, kind=kind_of(job.kind, "standard"), since=NOW, table=routes, today=TODAY, runnable=RUNNABLE,
        served=served, away=away, remedy="start one",
    )  # fmt: skip


def pools(**pool: str) -> Routes:
    """The three, each in a pool of its own or in `standard`."""
    routes = three()
    given = [one.model_copy(update={"pool": pool.get(one.name, "standard")}) for one in routes.backends]
    rules = [rule.model_copy(update={"lane": Lane.DEDICATED}) for rule in routes.rules]
    return routes.model_copy(update={"backends": given, "rules": rules})


def test_work_that_nobody_claims_goes_to_what_somebody_claims_and_rather_not_to_who_is_away() -> None:
    routes = pools(cloud="dedicated", second="dedicated")
    job = routed(assembled(), routes)
    assert job is not None
    assert job.backend == "first"
    dedicated = kind_of(job.kind, "dedicated")
    found = on_from(job, routes, served={dedicated})
    assert isinstance(found, Decision)
    assert (found.backend.name, found.route.refused["first"]) == (
        "cloud", f"no process claims {kind_of(job.kind, 'standard')}"
    )  # fmt: skip
    found = on_from(job, routes, served={dedicated}, cloud="it has not answered")
    assert isinstance(found, Decision) and found.backend.name == "second"
    found = on_from(job, routes, served={dedicated}, cloud="it has not answered", second="neither has it")
    assert isinstance(found, Decision) and found.backend.name == "cloud", "its wait has an end of its own"


@pytest.mark.parametrize("confidentiality", [Confidentiality.PUBLIC, CONFIDENTIAL])
def test_work_that_nobody_claims_and_that_may_go_nowhere_ends_and_says_what_is_missing(
    confidentiality: Confidentiality,
) -> None:
    routes = pools(cloud="dedicated")
    job = routed(assembled(confidentiality=confidentiality), routes)
    assert job is not None
    claimed = {kind_of(job.kind, "dedicated")} if confidentiality is CONFIDENTIAL else set()
    found = on_from(job, routes, served=claimed)
    assert isinstance(found, Failed)
    kind = kind_of(job.kind, "standard")
    assert found.reason == "unroutable"
    assert found.detail.startswith(f"no process has claimed {kind} since 2026-11-22 09:30:00 UTC; rule")
    assert (found.remedy or "").startswith("start one; or give rule")
    assert found.refused["first"] == f"no process claims {kind}"
    assert found.table == routes.pin()


def test_work_that_nobody_claims_ends_where_its_table_is_gone_or_cannot_be_read() -> None:
    job = routed(assembled(), three())
    assert job is not None
    for table_now, words in (
        (None, "has no routing table"),
        (Unroutable(missing="a bad one", remedy="x"), "a bad one"),
    ):
        found = on_from(job, table_now, served=set())
        assert isinstance(found, Failed) and words in found.detail


@pytest.mark.live  # hundreds of generated tables take seconds
@settings(max_examples=200, deadline=None)
@given(event=events, routes=tables(many=3), served=st.sets(st.integers(0, 2)), down=st.sets(st.sampled_from(NAMES[:3])))
def test_what_nobody_claims_goes_only_to_what_is_claimed_and_never_over_the_law(
    event: PromptAssembled, routes: Routes, served: set[int], down: set[str]
) -> None:
    job = routed(event, routes)
    if job is None:
        return
    kind = next(work_kind(made) for made in routes.backends if made.name == job.backend)
    claimed = {work_kind(made) for number, made in enumerate(routes.backends) if number in served}
    found = elsewhere(
        job, kind=kind, since=NOW, table=routes, today=TODAY, runnable=RUNNABLE, providers=PROVIDERS, served=claimed,
        away=dict.fromkeys(down, "it is away"), remedy="start one",
    )  # fmt: skip
    if isinstance(found, Failed):
        assert found.reason == "unroutable"
        return
    made = found.backend
    assert work_kind(made) in claimed - {kind}
    assert made.visibility == "private" or not event.confidentiality.stays_private
    assert job.route is not None and found.route.rule == job.route.rule
