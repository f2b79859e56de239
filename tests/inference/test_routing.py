"""Routing: the four rules of the domain, what is refused and why, and the law no table can relax."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from services.inference.routing import (
    CALLING,
    Ask,
    Decision,
    Sent,
    Unroutable,
    barred,
    bucket_of,
    current_table,
    decide,
    unserved,
)
from shared.events import Confidentiality, Lane, Priority, Route
from shared.library.documents import Backend, Call, Canary, Price, RouteRule, Routes
from tests.inference.tables import PROVIDERS, TODAY, asks, backend, callers, corrected, table, tables

PUBLIC, INTERNAL, CONFIDENTIAL = Confidentiality.PUBLIC, Confidentiality.INTERNAL, Confidentiality.CONFIDENTIAL


CLOUD = backend("cloud", visibility="cloud", price=Decimal("0.04"))
PRIVATE = backend("private")
DEDICATED = backend("dedicated", pool="dedicated")
FOUR_RULES = [
    RouteRule(id="confidential", confidentiality=[CONFIDENTIAL], lane=Lane.STANDARD, backends=["private"]),
    RouteRule(id="urgent", priority=["high"], lane=Lane.DEDICATED, backends=["dedicated", "private"]),
    RouteRule(id="bulk", priority=["low"], bulk=True, lane=Lane.BULK, backends=["cloud", "private"]),
    RouteRule(id="public", confidentiality=[PUBLIC], lane=Lane.STANDARD, backends=["cloud", "private"]),
]


def four(**fields: Any) -> Routes:
    return table(CLOUD, PRIVATE, DEDICATED, rules=FOUR_RULES, **fields)


def chosen(ask: Ask, routes: Routes | None = None) -> Decision:
    decision = decide(ask, table=routes or four(), today=TODAY)
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
    assert route.table == four().pin()
    assert chosen(Ask(confidentiality=PUBLIC)).route.refused["private"] == "rule 'public' prefers cloud"


def test_a_workspace_without_a_table_is_told_to_publish_one() -> None:
    assert "library publish" in refused(Ask(confidentiality=PUBLIC), None).remedy


def test_work_no_rule_takes_is_unroutable_and_named() -> None:
    unroutable = refused(Ask(confidentiality=INTERNAL), four())
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
        ({"kind": "replicate"}, {}, "it names no provider to call"),
        ({"end_of_life": date(2026, 11, 21)}, {}, "its life ended on 2026-11-21"),
        ({"available_from": date(2026, 11, 23)}, {}, "it is there from 2026-11-23 on"),
        ({"ceiling": PUBLIC}, {"confidentiality": INTERNAL}, "it takes nothing above public work"),
        ({"ceiling": INTERNAL}, {"confidentiality": Confidentiality.UNKNOWN}, "it takes nothing above internal work"),
        ({"ceiling": "secret"}, {}, "its ceiling is no level that is known here"),
        ({"capabilities": ["upscale"]}, {}, "it cannot do text-to-image"),
        ({"max_width": 512}, {}, "1024 × 1024 px is more than its 512 × 4096"),
        ({"kind": "diffusion"}, {}, "neither it nor the template names a model"),
        ({"kind": "diffusion", "model": "sd15"}, {"model": "sdxl"}, "it runs sd15, and the template asks for sdxl"),
        ({}, {"loras": frozenset({"film"})}, "take no LoRA, and the template asks for film"),
        (
            {"kind": "diffusion", "model": "sd15", "loras": ["grain"]},
            {"loras": frozenset({"film", "grain"})},
            "it does not have the LoRA film",
        ),
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


def test_no_provider_is_asked_to_promise_the_same_bytes() -> None:
    cloud = backend("cloud", kind="openai", visibility="cloud", model="m", call={"provider": "acme"})
    rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["cloud", "private"])]
    routes = table(cloud, PRIVATE, rules=rules)
    usual, strict = (
        decide(Ask(confidentiality=PUBLIC, strict=strict), table=routes, today=TODAY, providers=PROVIDERS)
        for strict in (False, True)
    )
    assert isinstance(usual, Decision) and usual.route.backend == "cloud"
    assert isinstance(strict, Decision) and strict.route.backend == "private"
    assert "reproducible: strict" in strict.route.refused["cloud"]


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
    assert current_table([four(version=2), four(version=11), four(version=3)]) == four(version=11)
    assert current_table([]) is None


def test_of_several_tables_the_one_named_default_is_current() -> None:
    default = four(name="default")
    assert current_table([four(), default]) == default
    ambiguous = current_table([four(), four(name="other")])
    assert isinstance(ambiguous, Unroutable)
    assert "(other, routes)" in ambiguous.missing


buckets = st.sampled_from([None, 0, 49, 99])
leaving = tables(many=2, of=callers)


def by_law(ask: Ask, routes: Routes, bucket: int | None) -> Decision | None:
    decision = decide(ask, table=routes, today=TODAY, providers=PROVIDERS, bucket=bucket)
    return decision if isinstance(decision, Decision) else None


@given(ask=asks, routes=leaving | tables(), bucket=buckets)
def test_confidential_work_never_goes_to_a_backend_that_is_not_private(
    ask: Ask, routes: Routes, bucket: int | None
) -> None:
    decision = by_law(ask, routes, bucket)
    if decision is not None and ask.confidentiality.stays_private:
        assert decision.backend.visibility == "private"


def test_the_tables_that_the_law_is_tried_with_call_providers_and_draw_canaries() -> None:
    def leaves(drawn: tuple[Ask, Routes]) -> bool:
        decision = by_law(*drawn, 0)
        above = drawn[0].confidentiality is not PUBLIC
        return above and decision is not None and decision.backend.kind in CALLING and decision.route.canary

    assert find(
        st.tuples(asks, leaving), leaves, settings=settings(max_examples=500, phases=[Phase.generate], database=None)
    )


@settings(max_examples=60)
@given(ask=asks, versions=leaving.flatmap(lambda routes: st.tuples(st.just(routes), corrected(routes))), bucket=buckets)
def test_what_waited_goes_only_where_the_table_of_its_turn_lets_it(
    ask: Ask, versions: tuple[Routes, Routes], bucket: int | None
) -> None:
    before, now = versions
    decision = by_law(ask, before, bucket)
    if decision is None:
        return
    given: dict[str, Any] = {"today": TODAY + timedelta(days=1), "providers": PROVIDERS}
    if barred(sent(decision, ask), table=now, **given) is not None:
        return
    backend = next((made for made in now.backends if made.name == decision.backend.name), None)
    if backend is None or backend.kind != decision.backend.kind:
        assert decision.backend.kind not in CALLING
        return
    assert backend.visibility == "private" or not ask.confidentiality.stays_private
    assert backend.ceiling is None or backend.ceiling.rank >= ask.confidentiality.rank
    assert backend.enabled
    assert backend.end_of_life is None or backend.end_of_life > TODAY
    if backend.kind in CALLING:
        assert backend.call is not None and decision.backend.call is not None
        assert backend.call.provider == decision.backend.call.provider


def sent(decision: Decision, ask: Ask) -> Sent:
    backend = decision.backend
    provider = backend.call.provider if backend.call else None
    return Sent(backend=backend.name, kind=backend.kind, provider=provider, confidentiality=ask.confidentiality)


@pytest.mark.parametrize(
    ("fields", "level", "why"),
    [
        ({}, CONFIDENTIAL, None),
        (
            {"visibility": "cloud"},
            CONFIDENTIAL,
            "it is not private, and confidential work never leaves private backends",
        ),
        ({"visibility": "cloud"}, INTERNAL, "it is not private, and no rule of routes@3 lets internal work go to it"),
        ({"visibility": "cloud"}, PUBLIC, None),
        ({"ceiling": INTERNAL}, CONFIDENTIAL, "it takes nothing above internal work"),
        ({"enabled": False}, PUBLIC, "it is switched off"),
        ({"end_of_life": date(2026, 11, 21)}, PUBLIC, "its life ended on 2026-11-21"),
        ({"call": Call(provider="other")}, PUBLIC, "it calls 'other' now, and not 'acme'"),
        ({"call": Call(provider="nobody")}, PUBLIC, "no worker knows the provider 'nobody'"),
        ({"call": None}, PUBLIC, "it names no provider to call"),
        ({"kind": "stability"}, PUBLIC, "routes@3 does not have it"),
        ({"name": "another"}, PUBLIC, "routes@3 does not have it"),
    ],
)
def test_what_was_sent_to_a_provider_is_held_to_today_s_table(
    fields: dict[str, Any], level: Confidentiality, why: str | None
) -> None:
    said: dict[str, Any] = {"name": "studio", "kind": "openai", "model": "m", "call": Call(provider="acme")}
    studio = backend(**said | fields)
    routes = table(studio, rules=[RouteRule(id="any", lane=Lane.STANDARD, backends=[studio.name])])
    waiting = Sent(backend="studio", kind="openai", provider="acme", confidentiality=level)
    assert barred(waiting, table=routes, today=TODAY, providers=PROVIDERS) == why


def test_without_a_table_nobody_is_called_and_what_is_made_here_is_made() -> None:
    calling = Sent(backend="studio", kind="openai", provider="acme", confidentiality=PUBLIC)
    here = Sent(backend="studio", kind="diffusion", provider=None, confidentiality=CONFIDENTIAL)
    for routes in (None, Unroutable(missing="the routing table cannot be read", remedy=""), four()):
        assert barred(calling, table=routes, today=TODAY, providers=PROVIDERS)
        assert barred(here, table=routes, today=TODAY, providers=PROVIDERS) is None
    cloud = table(backend("studio", kind="diffusion", visibility="cloud"), rules=[])
    assert "never leaves" in (barred(here, table=cloud, today=TODAY) or "")


@given(ask=asks, routes=tables(), bucket=st.sampled_from([None, 0, 49, 99]))
def test_every_backend_is_either_chosen_or_refused_with_a_reason(ask: Ask, routes: Routes, bucket: int | None) -> None:
    decision = decide(ask, table=routes, today=TODAY, providers=PROVIDERS, bucket=bucket)
    known = {made.name for made in routes.backends}
    if isinstance(decision, Decision):
        assert {decision.route.backend} ^ set(decision.route.refused) == known
        assert all(decision.route.refused.values())
        assert decision.backend.enabled
        assert decision.route.lane is not Lane.UNKNOWN
    else:
        assert decision.missing
        assert decision.remedy
        assert set(decision.refused) == known
        assert all(decision.refused.values())
        assert decision.table == routes.pin()
    assert decide(ask, table=routes, today=TODAY, providers=PROVIDERS, bucket=bucket) == decision


@given(ask=asks, routes=tables(), bucket=st.sampled_from([None, 0, 99]))
def test_nothing_goes_to_a_backend_out_of_its_life_its_ceiling_or_the_rule_s_regions(
    ask: Ask, routes: Routes, bucket: int | None
) -> None:
    decision = by_law(ask, routes, bucket)
    if decision is not None:
        made = decision.backend
        rule = next(rule for rule in routes.rules if rule.id == decision.route.rule)
        assert made.end_of_life is None or made.end_of_life >= TODAY
        assert made.available_from is None or made.available_from <= TODAY
        assert made.ceiling is None or made.ceiling.rank >= ask.confidentiality.rank
        assert made.ceiling is not Confidentiality.UNKNOWN
        assert not rule.regions or made.region in rule.regions
        assert ask.capabilities <= set(made.capabilities)


@given(ask=asks, routes=tables())
def test_a_rule_that_nobody_can_serve_routes_nothing(ask: Ask, routes: Routes) -> None:
    decision = by_law(ask, routes, 0)
    if decision is not None:
        rule = next(rule for rule in routes.rules if rule.id == decision.route.rule)
        why = unserved(rule, table=routes, today=TODAY, providers=PROVIDERS)
        # A rule that names several levels is told of when one of them is not served.
        assert not why or len(set(rule.confidentiality)) > 1


def test_an_image_to_image_job_goes_past_backends_that_do_not_declare_it() -> None:
    called: dict[str, Any] = {"kind": "openai", "model": "m", "call": Call(provider="acme")}
    routes = table(
        backend("words", **called), backend("both", capabilities=["text-to-image", "image-to-image"], **called),
        rules=[RouteRule(id="any", lane=Lane.STANDARD, backends=["words", "both"])],
    )  # fmt: skip
    ask = Ask(confidentiality=PUBLIC, capabilities=frozenset({"image-to-image"}))
    found = decide(ask, table=routes, today=TODAY, providers={"acme": "openai"})
    assert isinstance(found, Decision)
    assert (found.route.backend, found.route.refused) == ("both", {"words": "it cannot do image-to-image"})


def test_a_rule_s_regions_are_demanded_of_every_backend() -> None:
    rule = RouteRule(id="eu", lane=Lane.STANDARD, backends=["us", "nowhere", "eu"], regions=["eu-west-1", "on-site"])
    routes = table(backend("us", region="us-east-1"), backend("nowhere"), backend("eu", region="on-site"), rules=[rule])
    route = chosen(Ask(confidentiality=PUBLIC), routes).route
    assert route.backend == "eu"
    assert route.refused == {
        "us": "it stands in us-east-1, and rule 'eu' demands eu-west-1 or on-site",
        "nowhere": "it does not say where it stands, and rule 'eu' demands eu-west-1 or on-site",
    }


def canary_of(percent: int, **fields: Any) -> Routes:
    rule = RouteRule(id="any", lane=Lane.STANDARD, backends=["old"], canary=Canary(backend="new", percent=percent))
    return table(backend("old"), backend("new", **fields), rules=[rule])


def test_a_canary_gets_its_share_and_a_job_stays_on_its_side() -> None:
    jobs = [uuid5(NAMESPACE_OID, str(number)) for number in range(1000)]
    ask, routes = Ask(confidentiality=PUBLIC), canary_of(10)

    def side(job: UUID) -> Route:
        decision = decide(ask, table=routes, today=TODAY, bucket=bucket_of(job))
        assert isinstance(decision, Decision)
        return decision.route

    sent = [side(job) for job in jobs]
    share = sum(route.backend == "new" for route in sent) / len(jobs)
    assert 0.06 < share < 0.14  # four standard deviations
    assert sent[:100] == [side(job) for job in jobs[:100]]
    assert all(route.canary == (route.backend == "new") for route in sent)
    old, new = (next(r for r in sent if r.backend == name) for name in ("old", "new"))
    assert old.refused == {"new": "rule 'any' gives it 10 % of its jobs, and this is none of them"}
    assert new.refused == {"old": "rule 'any' prefers new"}
    assert "whose canary it is for 10 %" in new.reason


def test_a_canary_that_cannot_take_a_job_leaves_it_to_the_others() -> None:
    decision = decide(Ask(confidentiality=PUBLIC), table=canary_of(100, enabled=False), today=TODAY, bucket=5)
    assert isinstance(decision, Decision)
    assert decision.route.backend == "old"
    assert not decision.route.canary
    assert decision.route.refused == {"new": "it is switched off"}


def test_a_canary_of_the_cloud_gets_no_confidential_work() -> None:
    decision = decide(
        Ask(confidentiality=CONFIDENTIAL), table=canary_of(100, visibility="cloud"), today=TODAY, bucket=0
    )
    assert isinstance(decision, Decision)
    assert decision.route.backend == "old"


def test_the_first_price_that_matches_size_and_quality_counts_and_an_unknown_one_is_not_0() -> None:
    prices = [
        Price(width=1024, height=1024, quality="high", price=Decimal("0.17")),
        Price(width=1024, height=1024, price=Decimal("0.04")),
        Price(width=1536, price=Decimal("0.06")),
    ]
    plain = backend("c", prices=prices)
    high = backend("c", prices=prices, price=Decimal("0.01"), call=Call(provider="acme", quality="high"))
    assert plain.price_of(1024, 1024) == Decimal("0.04")
    assert high.price_of(1024, 1024) == Decimal("0.17")
    assert plain.price_of(1536, 1024) == Decimal("0.06")
    assert plain.price_of(512, 512) is None
    assert high.price_of(512, 512) == Decimal("0.01")
    rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["c"])]
    decision = decide(
        Ask(confidentiality=PUBLIC, width=1536, height=1024), table=table(plain, rules=rules), today=TODAY
    )
    assert isinstance(decision, Decision)
    assert decision.price == Decimal("0.06")


def test_only_a_price_of_0_for_everything_is_free() -> None:
    nothing = Decimal(0)
    assert backend("c", price=nothing).is_free
    assert not backend("c").is_free
    assert not backend("c", prices=[Price(width=512, price=nothing)]).is_free
    assert not backend("c", price=nothing, prices=[Price(width=512, price=Decimal("0.1"))]).is_free


def test_the_provider_s_version_is_on_the_route() -> None:
    rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["c"])]
    routes = table(backend("c", version="gpt-image-1-2025-04-23"), rules=rules)
    assert chosen(Ask(confidentiality=PUBLIC), routes).route.version == "gpt-image-1-2025-04-23"


@pytest.mark.parametrize(
    ("fields", "names", "why"),
    [
        ({}, [], None),
        ({"end_of_life": date(2026, 11, 21)}, [], "public work: its life ended on 2026-11-21"),
        ({"visibility": "cloud"}, [PUBLIC], None),
        ({"visibility": "cloud"}, [], None),
        ({"visibility": "cloud"}, [PUBLIC, CONFIDENTIAL], "confidential work: it is not private, and confidential"),
        ({"max_width": 64}, [], None),
    ],
)
def test_a_rule_that_no_backend_can_serve_is_found_without_any_job(
    fields: dict[str, Any], names: list[Confidentiality], why: str | None
) -> None:
    rule = RouteRule(id="any", confidentiality=names, lane=Lane.STANDARD, backends=["only"])
    found = unserved(rule, table=table(backend("only", **fields), rules=[rule]), today=TODAY)
    assert found.keys() == ({"only"} if why else set())
    assert found.get("only", "").startswith(why or "")


def test_a_provider_is_called_only_where_the_deployment_knows_it() -> None:
    def why(backend: Backend, providers: dict[str, str]) -> str | None:
        routes = table(
            backend, rules=[RouteRule(id="all", confidentiality=[PUBLIC], lane=Lane.STANDARD, backends=["c"])]
        )
        decision = decide(Ask(confidentiality=PUBLIC), table=routes, today=TODAY, providers=providers)
        return decision.refused["c"] if isinstance(decision, Unroutable) else None

    cloud = backend("c", kind="openai", visibility="cloud", model="gpt-image-1")
    called = cloud.model_copy(update={"call": Call(provider="acme")})
    assert why(cloud, {"acme": "openai"}) == "it names no provider to call"
    assert why(called, {"other": "openai"}) == "no worker knows the provider 'acme'"
    assert why(called, {"acme": "openai"}) is None
    assert why(called, {"acme": "stability"}) == "the provider 'acme' speaks stability, and not openai"
    square = cloud.model_copy(update={"call": Call(provider="acme", sizes=["512x512", "1536x1024"])})
    assert why(square, {"acme": "openai"}) == "it makes 512x512, 1536x1024, and not 1024 × 1024 px"


def test_a_table_that_calls_nobody_is_written_as_before_calls_were_known() -> None:
    assert "call" not in four().model_dump(mode="json")["backends"][0]
    called = backend("c", kind="openai", visibility="cloud", call=Call(provider="acme"))
    assert Routes.model_validate_json(table(called, rules=[]).model_dump_json()).backends[0].call == called.call
