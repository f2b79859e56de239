from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.intake.domain import Origin, accepted, jobs_of
from services.intake.previews import Groups, collect, most_frequent
from shared import ids
from shared.events import MAX_EVENT_BYTES, Confidentiality, ImageRequested, Problem, RequestAccepted
from shared.library.asks import late, read
from shared.library.documents import AssetType, Variable
from shared.library.offers import Offers
from tests.intake.asks import asked, faults, problem, resolved
from tests.prompt.library import brand, campaign, documents, rubric, shelf, template

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def fact(**changes: Any) -> RequestAccepted:
    request = UUID(int=2)
    origin = Origin(request_id=request, workspace=UUID(int=1), principal="ana", cause=request, kind="http")
    return accepted(resolved(**changes), origin, now=NOW)


def with_variable(variable: Variable) -> Offers:
    return Offers(shelf(template(version=4, variables={**template().variables, "count": variable})))


def test_a_good_ask_pins_every_document_it_names() -> None:
    event = fact()
    by_kind = {document.kind: document.pin() for document in documents()}
    assert event.template == by_kind["template"] and event.brand == by_kind["brand"]
    assert event.policy == by_kind["policy"] and event.rubric == by_kind["rubric"]
    assert event.campaign == by_kind["campaign"]
    assert [(channel, pin.label) for channel, pin in event.recipes.items()] == [("web", "web@1")]


def test_the_brief_is_safe_to_carry_to_the_end() -> None:
    brief = fact().brief
    assert (brief.campaign, brief.template, brief.brand) == ("winter", "product-tile@3", "Salt & Linden")
    assert (brief.product, brief.headline, brief.channels) == ("Body Oil", "Slow down", ["web"])
    assert "setting" not in brief.model_dump_json()


def test_a_product_travels_as_the_catalogue_had_it() -> None:
    (product,) = fact().products
    assert (product.sku, product.form, product.tint) == ("OIL-100", "bottle", "#8A4B14")


def test_an_unreleased_product_makes_its_request_confidential() -> None:
    event = fact(skus=["OIL-100", "FROST"])
    assert event.confidentiality is Confidentiality.CONFIDENTIAL
    assert fact().confidentiality is Confidentiality.PUBLIC
    assert fact(confidentiality="internal").confidentiality is Confidentiality.INTERNAL


def test_variables_left_out_have_their_default() -> None:
    assert fact().variables == {"setting": "linen", "headline": "Slow down", "season": "winter"}


def test_without_channels_a_request_asks_for_all_the_campaign_has() -> None:
    assert fact(channels=[]).brief.channels == ["web", "email"]
    assert fact(channels=["email", "email"]).brief.channels == ["email"]


def test_a_template_chooses_its_asset_type_and_a_version_can_be_named() -> None:
    assert fact(asset_type=None, template="product-tile").brief.asset_type == "tile"
    both = Offers(shelf(template(version=4)))
    assert resolved(both).offer.template.version == 4
    assert resolved(both, template="product-tile@3").offer.template.version == 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"campaign": None}, ("missing_field", "campaign")),
        ({"campaign": "wintr"}, ("unknown_campaign", "campaign")),
        ({"campaign": "winter@9"}, ("unknown_campaign", "campaign")),
        ({"campaign": "winter@x"}, ("unknown_campaign", "campaign")),
        ({"asset_type": "poster"}, ("unknown_asset_type", "asset_type")),
        ({"asset_type": None}, ("missing_field", "asset_type")),
        ({"template": "other"}, ("outside_campaign", "template")),
        ({"template": "product-tile@9"}, ("unknown_template", "template")),
        ({"asset_type": None, "template": "other"}, ("unknown_template", "template")),
        ({"channels": ["web", "tv"]}, ("unknown_channel", "channels[1]")),
        ({"skus": ["OIL-1000"]}, ("unknown_sku", "skus[0]")),
        ({"skus": []}, ("missing_field", "skus")),
        ({"aspect": "16:9"}, ("locked", "aspect")),
        ({"variables": {"setting": "marble"}}, ("value_not_allowed", "variables.setting")),
        ({"variables": {}}, ("missing_variable", "variables.setting")),
        ({"variables": {"setting": "linen", "colour": "red"}}, ("unknown_variable", "variables.colour")),
        ({"variables": {"setting": "linen", "headline": "q" * 61}}, ("too_long", "variables.headline")),
        ({"variables": {"setting": "linen", "headline": "it cu\u200bres"}}, ("policy_refused", "variables.headline")),
        ({"variables": {"setting": ["linen"]}}, ("wrong_type", "variables.setting")),
        ({"variables": {"setting": None}}, ("wrong_type", "variables.setting")),
        ({"variants": 101}, ("too_many_permutations", "variants")),
        ({"variants": 0}, ("out_of_range", "variants")),
        ({"variants": "three"}, ("wrong_type", "variants")),
        ({"priority": "urgent"}, ("unknown_value", "priority")),
        ({"confidentiality": "unknown"}, ("unknown_value", "confidentiality")),
        ({"locale": "english"}, ("malformed", "locale")),
        ({"deadline": "tomorrow"}, ("malformed", "deadline")),
        ({"deadline": "2030-01-01T00:00:00"}, ("malformed", "deadline")),
        ({"client_reference": "a\x00b"}, ("control_character", "client_reference")),
        ({"client_reference": "a\x1fb"}, ("control_character", "client_reference")),
        ({"variables": {"setting": "linen", "head\x00": "x"}}, ("control_character", "variables (a name)")),
        ({"colour": "red"}, ("unknown_field", "colour")),
        ({"skus": "OIL-100"}, ("wrong_type", "skus")),
        ({"seed": -1}, ("out_of_range", "seed")),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults(**changes) == [fault]


def test_every_fault_is_told_at_once() -> None:
    assert faults(channels=["tv"], skus=["NO"], variables={"setting": "x", "colour": "y"}) == [
        ("unknown_channel", "channels[0]"),
        ("unknown_sku", "skus[0]"),
        ("value_not_allowed", "variables.setting"),
        ("unknown_variable", "variables.colour"),
    ]


def test_the_remedy_names_what_was_probably_meant() -> None:
    assert problem(campaign="wintr").remedy.startswith("did you mean winter?")
    assert problem(skus=["OIL-10"]).remedy.startswith("did you mean OIL-100?")
    assert "linen, stone-sink" in problem(variables={"setting": "gold"}).remedy


def test_a_request_too_large_for_an_event_is_refused_at_the_door() -> None:
    names = [f"v{number}" for number in range(60)]
    wide = {name: Variable(max_length=4000) for name in names}
    offers = Offers(shelf(template(version=4, variables={**template().variables, **wide})))
    assert faults(offers, variables={"setting": "linen", **dict.fromkeys(names, "語" * 600)}) == [("too_large", None)]
    largest = {"setting": "linen", **dict.fromkeys(names, "語" * 500)}
    origin = Origin(request_id=UUID(int=2), workspace=UUID(int=1), principal="ana", cause=UUID(int=2), kind="http")
    assert len(accepted(resolved(offers, variables=largest), origin, now=NOW).body()) < MAX_EVENT_BYTES


def test_a_brands_caption_may_need_a_product_too() -> None:
    quiet = template(version=4, prompt="a room", components={}, alt_text="")
    assert resolved(Offers(shelf(quiet)), skus=[]).products == []
    spoken = Offers(shelf(quiet, brand(version=2, caption="{{ product.name }}")))
    assert faults(spoken, skus=[]) == [("missing_field", "skus")]


def test_a_text_that_only_looks_like_a_control_character_is_text() -> None:
    assert asked(client_reference="C:\\u0000 \\b").client_reference == "C:\\u0000 \\b"
    assert asked(variables={"setting": "linen", "headline": "two\nlines\tand"}).variables["headline"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"campaign": "\xe9"}', b'{"campaign": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert isinstance(read(body), list)


def test_json_and_a_files_cells_give_the_same_ask() -> None:
    cells: dict[str, Any] = {"campaign": "winter", "variants": "3", "seed": "7", "deadline": "2030-01-01T00:00:00Z"}
    as_json = read(b'{"campaign": "winter", "variants": 3, "seed": 7, "deadline": "2030-01-01T00:00:00Z"}')
    assert isinstance(as_json, ImageRequested) and read(cells) == as_json


@pytest.mark.parametrize(
    ("variable", "given", "meant"),
    [
        (Variable(type="integer", minimum=1, maximum=9), "3", 3),
        (Variable(type="integer"), 3.0, 3),
        (Variable(type="number"), "2.5", 2.5),
        (Variable(type="boolean"), "Yes", True),
        (Variable(type="boolean"), False, False),
        (Variable(type="choice", values=["1", "2"]), 2, "2"),
        (Variable(type="text"), 7, "7"),
    ],
)
def test_a_value_is_read_as_its_variable_is_declared(variable: Variable, given: Any, meant: Any) -> None:
    found = resolved(with_variable(variable), variables={"setting": "linen", "count": given}).variables["count"]
    assert found == meant and type(found) is type(meant)


@pytest.mark.parametrize(
    ("variable", "given", "code"),
    [
        (Variable(type="integer"), "2.5", "wrong_type"),
        (Variable(type="integer"), "two", "wrong_type"),
        (Variable(type="integer"), True, "wrong_type"),
        (Variable(type="number"), "nan", "wrong_type"),
        (Variable(type="number"), "1e999", "wrong_type"),
        (Variable(type="integer", minimum=1), 0, "out_of_range"),
        (Variable(type="number", maximum=1), 1.5, "out_of_range"),
        (Variable(type="boolean"), "maybe", "wrong_type"),
    ],
)
def test_a_value_of_another_type_is_refused(variable: Variable, given: Any, code: str) -> None:
    assert faults(with_variable(variable), variables={"setting": "linen", "count": given}) == [
        (code, "variables.count")
    ]


def test_two_asset_types_of_one_template_have_to_be_told_apart() -> None:
    made = AssetType(template="product-tile", recipes={}, rubric="tiles")
    offers = Offers(shelf(campaign(version=2, asset_types={"a": made, "b": made})))
    assert faults(offers, asset_type=None, template="product-tile") == [("ambiguous", "asset_type")]


def test_a_campaign_that_names_what_is_gone_says_so() -> None:
    rest = [document for document in documents() if document.kind != "rubric"]
    offers = Offers(type(shelf())(rest))
    assert faults(offers) == [("unknown_reference", "campaign")]


def test_a_deadline_is_judged_by_the_time_it_is_given() -> None:
    ask = asked(deadline="2030-01-01T00:00:00Z")
    assert late(ask, NOW - timedelta(seconds=1)) is None
    refused = late(ask, NOW)
    assert refused is not None and refused.where == "deadline"
    assert late(asked(), NOW) is None


def test_jobs_follow_from_the_request_and_the_variant_alone() -> None:
    assert jobs_of(UUID(int=2), 2) == [ids.job_id(UUID(int=2), 1), ids.job_id(UUID(int=2), 2)]


def test_the_same_ask_gives_the_same_bytes() -> None:
    assert fact(variants=3).body() == fact(variants=3).body()


def test_a_newer_version_of_a_document_is_another_pin() -> None:
    newer = resolved(Offers(shelf(rubric(version=2), brand(version=2))))
    assert newer.offer.pins["rubric"].version == 2 and newer.offer.pins["brand"].version == 2


def test_faults_of_a_file_are_grouped_by_what_they_say() -> None:
    groups: Groups = {}
    often = Problem(code="a", what="often", where="setting", remedy="r")
    for line in range(2, 50):
        collect(groups, line, [often, Problem(code="b", what="once", remedy="r")] if line == 9 else [often])
    first, second = most_frequent(groups)
    assert (first.problem.what, first.count, first.lines[:2], len(first.lines)) == ("often", 48, [2, 3], 10)
    assert (second.problem.what, second.count, second.lines) == ("once", 1, [9])


def test_a_file_that_is_wrong_everywhere_in_another_way_keeps_a_bounded_report() -> None:
    groups: Groups = {}
    for line in range(5000):
        collect(groups, line, [Problem(code="a", what=f"value {line}", remedy="r")])
    assert len(groups) == 1001 and sum(group.count for group in groups.values()) == 5000
