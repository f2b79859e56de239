"""Routing: the four rules of the domain, what is refused and why, and the law no table can relax."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.routing import Ask, Decision, Unroutable, current_table, decide, is_bound_to_private
from shared.events import Confidentiality, Lane, Priority
from shared.library.documents import Backend, Call, RouteRule, Routes

TODAY = date(2026, 11, 22)
PUBLIC, INTERNAL, CONFIDENTIAL = Confidentiality.PUBLIC, Confidentiality.INTERNAL, Confidentiality.CONFIDENTIAL


def backend(name: str, **fields: Any) -> Backend:
    return Backend(**{"name": name, "kind": "proof", "visibility": "private"} | fields)


CLOUD = backend("cloud", visibility="cloud", price=Decimal("0.04"))
PRIVATE = backend("private")
DEDICATED = backend("dedicated", pool="dedicated")
FOUR_RULES = [
    RouteRule(id="confidential", confidentiality=[CONFIDENTIAL], lane=Lane.STANDARD, backends=["private"]),
    RouteRule(id="urgent", priority=["high"], lane=Lane.DEDICATED, backends=["dedicated", "private"]),
    RouteRule(id="bulk", priority=["low"], bulk=True, lane=Lane.BULK, backends=["cloud", "private"]),
    RouteRule(id="public", confidentiality=[PUBLIC], lane=Lane.STANDARD, backends=["cloud", "private"]),
]


def table(*backends: Backend, rules: list[RouteRule] | None = None, **fields: Any) -> Routes:
    return Routes(
        **{"name": "routes", "version": 3, "owner": "platform"} | fields,
        backends=list(backends or (CLOUD, PRIVATE, DEDICATED)),
        rules=FOUR_RULES if rules is None else rules,
    )


def chosen(ask: Ask, routes: Routes | None = None) -> Decision:
    decision = decide(ask, table=routes or table(), today=TODAY)
    assert isinstance(decision, Decision)
    return decision


def refused(ask: Ask, routes: Routes | None) -> Unroutable:
    decision = decide(ask, table=routes, today=TODAY)
    assert isinstance(decision, Unroutable)
    return decision


@pytest.mark.parametrize(
    ("ask", "name", "lane", "rule"),
    [
        (Ask(confidentiality=PUBLIC), "cloud", Lane.STANDARD, "public"),
        (Ask(confidentiality=CONFIDENTIAL), "private", Lane.STANDARD, "confidential"),
        (Ask(confidentiality=PUBLIC, priority=Priority.HIGH), "dedicated", Lane.DEDICATED, "urgent"),
        (Ask(confidentiality=PUBLIC, priority=Priority.LOW, bulk=True), "cloud", Lane.BULK, "bulk"),
        (Ask(confidentiality=PUBLIC, priority=Priority.LOW), "cloud", Lane.STANDARD, "public"),
        (Ask(confidentiality=CONFIDENTIAL, priority=Priority.HIGH), "private", Lane.STANDARD, "confidential"),
    ],
)
def test_the_four_rules_of_the_domain(ask: Ask, name: str, lane: Lane, rule: str) -> None:
    route = chosen(ask).route
    assert (route.backend, route.lane, route.rule) == (name, lane, rule)


def test_a_decision_gives_a_reason_for_the_chosen_and_for_every_other_backend() -> None:
    route = chosen(Ask(confidentiality=CONFIDENTIAL)).route
    assert route.reason == (
        "confidential work of normal priority → private backend private, standard lane, by rule 'confidential'"
    )
    assert route.refused == {
        "cloud": "it is not private, and confidential work never leaves private backends",
        "dedicated": "rule 'confidential' does not name it",
    }
    assert route.table == table().pin()
    assert chosen(Ask(confidentiality=PUBLIC)).route.refused["private"] == "rule 'public' prefers cloud"


def test_a_workspace_without_a_table_is_told_to_publish_one() -> None:
    assert "library publish" in refused(Ask(confidentiality=PUBLIC), None).remedy


def test_work_no_rule_takes_is_unroutable_and_named() -> None:
    unroutable = refused(Ask(confidentiality=INTERNAL), table())
    assert unroutable.missing == "no rule of routes@3 takes internal work of normal priority"


def test_the_first_matching_rule_decides_even_where_a_later_one_would_serve() -> None:
    routes = table(
        backend("off", enabled=False),
        backend("on"),
        rules=[
            RouteRule(id="first", lane=Lane.STANDARD, backends=["off"]),
            RouteRule(id="second", lane=Lane.STANDARD, backends=["on"]),
        ],
    )
    unroutable = refused(Ask(confidentiality=PUBLIC), routes)
    assert unroutable.rule == "first"
    assert "off: it is switched off" in unroutable.missing


@pytest.mark.parametrize(
    ("fields", "ask", "why"),
    [
        ({"enabled": False}, {}, "it is switched off"),
        ({"kind": "replicate"}, {}, "no worker runs backends of kind 'replicate'"),
        ({"end_of_life": date(2026, 11, 21)}, {}, "its life ended on 2026-11-21"),
        ({"capabilities": ["upscale"]}, {}, "it cannot do text-to-image"),
        ({"max_width": 512}, {}, "1024 × 1024 px is more than its 512 × 4096"),
        ({"kind": "diffusion"}, {}, "neither it nor the template names a model"),
        ({"kind": "diffusion", "model": "sd15"}, {"model": "sdxl"}, "it runs sd15, and the template asks for sdxl"),
        ({"pool": "dedicated"}, {}, "its pool is kept for the dedicated lane, and this is standard work"),
        ({"visibility": "cloud"}, {"confidentiality": CONFIDENTIAL}, "never leaves private backends"),
        ({"visibility": "cloud"}, {"confidentiality": Confidentiality.UNKNOWN}, "never leaves private backends"),
        ({"visibility": "cloud"}, {"confidentiality": INTERNAL}, "rule 'any' does not name internal work"),
    ],
)
def test_what_a_backend_may_not_or_cannot_do_is_said(fields: dict[str, Any], ask: dict[str, Any], why: str) -> None:
    routes = table(backend("only", **fields), rules=[RouteRule(id="any", lane=Lane.STANDARD, backends=["only"])])
    unroutable = refused(Ask(**{"confidentiality": PUBLIC} | ask), routes)
    assert why in unroutable.refused["only"]
    assert why in unroutable.missing


def test_a_backend_serves_on_its_last_day() -> None:
    routes = table(
        backend("last", end_of_life=TODAY), rules=[RouteRule(id="any", lane=Lane.STANDARD, backends=["last"])]
    )
    assert chosen(Ask(confidentiality=PUBLIC), routes).route.backend == "last"


def test_the_template_s_model_is_run_before_the_backend_s_default() -> None:
    any_rule = [RouteRule(id="any", lane=Lane.STANDARD, backends=["local"])]
    named = table(backend("local", kind="diffusion", model="sd15"), rules=any_rule)
    open_ = table(backend("local", kind="diffusion"), rules=any_rule)
    assert chosen(Ask(confidentiality=PUBLIC), named).model == "sd15"
    assert chosen(Ask(confidentiality=PUBLIC, model="sdxl"), open_).model == "sdxl"


def test_a_misspelt_lane_is_unroutable_and_not_a_guess() -> None:
    routes = table(
        PRIVATE, rules=[RouteRule.model_validate({"id": "any", "lane": "dedicatd", "backends": ["private"]})]
    )
    assert "names no known lane" in refused(Ask(confidentiality=PUBLIC), routes).missing


def test_the_newest_version_of_the_only_table_is_current() -> None:
    assert current_table([table(version=2), table(version=11), table(version=3)]) == table(version=11)
    assert current_table([]) is None


def test_of_several_tables_the_one_named_default_is_current() -> None:
    default = table(name="default")
    assert current_table([table(), default]) == default
    ambiguous = current_table([table(), table(name="other")])
    assert isinstance(ambiguous, Unroutable)
    assert "(other, routes)" in ambiguous.missing


names = st.sampled_from(["a", "b", "c", "d"])
backends = st.builds(
    backend,
    names,
    kind=st.sampled_from(["proof", "diffusion", "openai", "null"]),
    visibility=st.sampled_from(["private", "cloud"]),
    pool=st.sampled_from(["dedicated", "standard"]),
    enabled=st.booleans(),
    model=st.sampled_from([None, "sd15"]),
)
asks = st.builds(
    Ask,
    confidentiality=st.sampled_from(list(Confidentiality)),
    priority=st.sampled_from(list(Priority)),
    bulk=st.booleans(),
    model=st.sampled_from([None, "sd15", "sdxl"]),
)


@st.composite
def tables(draw: st.DrawFn) -> Routes:
    known = draw(st.lists(backends, min_size=1, max_size=4, unique_by=lambda made: made.name))
    rule = st.builds(
        RouteRule,
        id=names,
        confidentiality=st.lists(st.sampled_from(list(Confidentiality)), max_size=3),
        priority=st.lists(st.sampled_from(["low", "normal", "high"]), max_size=2),
        bulk=st.sampled_from([None, True, False]),
        lane=st.sampled_from(list(Lane)),
        backends=st.lists(st.sampled_from([made.name for made in known]), min_size=1, max_size=4),
    )
    return table(*known, rules=draw(st.lists(rule, max_size=4)))


@given(ask=asks, routes=tables())
def test_confidential_work_never_goes_to_a_backend_that_is_not_private(ask: Ask, routes: Routes) -> None:
    decision = decide(ask, table=routes, today=TODAY)
    if isinstance(decision, Decision) and is_bound_to_private(ask.confidentiality):
        assert decision.backend.visibility == "private"


@given(ask=asks, routes=tables())
def test_every_backend_is_either_chosen_or_refused_with_a_reason(ask: Ask, routes: Routes) -> None:
    decision = decide(ask, table=routes, today=TODAY)
    if isinstance(decision, Decision):
        assert {decision.route.backend} ^ set(decision.route.refused) == {made.name for made in routes.backends}
        assert decision.backend.enabled
        assert decision.route.lane is not Lane.UNKNOWN
    else:
        assert decision.missing
        assert decision.remedy
    assert decide(ask, table=routes, today=TODAY) == decision


def test_a_provider_is_called_only_where_the_deployment_knows_it() -> None:
    def why(backend: Backend, providers: set[str]) -> str | None:
        routes = table(
            backend, rules=[RouteRule(id="all", confidentiality=[PUBLIC], lane=Lane.STANDARD, backends=["c"])]
        )
        decision = decide(Ask(confidentiality=PUBLIC), table=routes, today=TODAY, providers=providers)
        return decision.refused["c"] if isinstance(decision, Unroutable) else None

    cloud = backend("c", kind="openai", visibility="cloud", model="gpt-image-1")
    called = cloud.model_copy(update={"call": Call(provider="acme")})
    assert why(cloud, {"acme"}) == "it names no provider to call"
    assert why(called, {"other"}) == "no worker knows the provider 'acme'"
    assert why(called, {"acme"}) is None
    square = cloud.model_copy(update={"call": Call(provider="acme", sizes=["512x512", "1536x1024"])})
    assert why(square, {"acme"}) == "it makes 512x512, 1536x1024, and not 1024 × 1024 px"


def test_a_table_that_calls_nobody_is_written_as_before_calls_were_known() -> None:
    assert "call" not in table().model_dump(mode="json")["backends"][0]
    called = backend("c", kind="openai", visibility="cloud", call=Call(provider="acme"))
    assert Routes.model_validate_json(table(called, rules=[]).model_dump_json()).backends[0].call == called.call
