from pathlib import Path
from typing import Any

import pytest

from shared.library.documents import (
    AnyDocument,
    AssetType,
    BrandProduct,
    LockedParameters,
    Lora,
    Routes,
    Rule,
    Variable,
)
from shared.library.lint import lint
from shared.library.reading import read_folder
from shared.library.shelf import Shelf
from tests.prompt.library import brand, campaign, documents, policy, recipe, rubric, shelf, template


def codes(*changed: AnyDocument) -> list[tuple[str, str | None]]:
    """Code and place of every fault when these take the place of the documents of the same kind and name."""
    replaced = {(document.kind, document.name) for document in changed}
    kept = [document for document in documents() if (document.kind, document.name) not in replaced]
    return [(fault.problem.code, fault.problem.where) for fault in lint([*kept, *changed], published=Shelf())]


def test_a_sound_library_has_no_faults() -> None:
    assert codes() == []


def test_references_resolve_against_what_is_published_too() -> None:
    assert lint([campaign()], published=shelf()) == []


def test_a_published_version_never_changes() -> None:
    (fault,) = lint([rubric(description="other")], published=shelf())
    assert (fault.problem.code, fault.problem.remedy) == (
        "published",
        "published versions do not change: give it version 2",
    )
    assert lint([rubric()], published=shelf()) == []


def test_two_documents_of_one_version_are_a_fault() -> None:
    assert ("doubled", "version") in codes(rubric(), rubric(description="other"))


@pytest.mark.parametrize("field", ["blocking_checks", "rejecting_checks"])
def test_a_check_that_is_not_ours_is_asked_about_and_may_be_published(field: str) -> None:
    asked = rubric(**{field: ["dimensions", "entropi"], "limits": {"bytes": 100_000}})
    (fault,) = [fault for fault in lint([asked], published=Shelf()) if fault.problem.where == field]
    assert (fault.problem.code, fault.error) == ("unknown_check", False)


def test_a_limit_for_a_check_that_is_not_ours_is_asked_about() -> None:
    assert codes(rubric(limits={"btyes": 1})) == [("unknown_check", "limits")]


def test_a_rubric_that_would_decide_by_a_check_that_only_advises_is_warned() -> None:
    assert codes(rubric(blocking_checks=["clipping"])) == [("advisory_check", "blocking_checks")]
    assert codes(rubric(rejecting_checks=["clipping"])) == [("advisory_check", "rejecting_checks")]
    older, newest = rubric(version=8, blocking_checks=["clipping"]), rubric(version=9)
    assert codes(older, newest) == [], "what is published does not change"
    assert codes(rubric(limits={"clipping": 0.8})) == []


def test_a_rubric_that_uses_nothing_new_keeps_its_digest() -> None:
    assert b"rejecting" not in rubric().canonical() and b"limits" not in rubric().canonical()


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({"brand": "salt-lindn"}, "unknown_reference", "brand"),
        ({"policy": "none@3"}, "unknown_reference", "policy"),
        ({"prompt": "{{ colour }}"}, "unknown_variable", "prompt"),
        ({"prompt": "{{ 'a' * 9 }}"}, "template_fault", "prompt"),
        ({"prompt": "{{ product.nmae }}"}, "template_fault", "prompt"),
        ({"prompt": "{{ components.plaec }}"}, "template_fault", "prompt"),
        ({"scene": {"wall": "{{ setting }}"}}, "unknown_value", "scene.wall"),
        ({"scene": {"light_side": "above"}}, "unknown_value", "scene.light_side"),
        ({"scene": {"props": ["{{ nothing }}"]}}, "unknown_variable", "scene.props[0]"),
        ({"prompt": "Oil that cures"}, "policy_refused", "prompt"),
        ({"aspect": "5:4"}, "aspect", "parameters"),
        ({"aspect": "wide"}, "malformed", "aspect"),
        ({"variables": {"product": Variable()}, "components": {}, "prompt": "x", "scene": {}, "alt_text": ""},
         "reserved", "variables.product"),
    ],
)  # fmt: skip
def test_a_template_at_fault_is_named_with_the_place(changes: dict[str, Any], code: str, where: str) -> None:
    assert (code, where) in codes(template(**changes))


def test_a_template_is_tried_with_every_value_of_every_choice() -> None:
    prompt = "{% if season == 'summer' %}{{ product.nothing }}{% endif %} oil"
    faults = lint([*documents()[2:], brand(), template(version=4, prompt=prompt)], published=Shelf())
    assert ["season='summer'" in fault.problem.what for fault in faults] == [True]


def test_a_template_is_tried_with_every_product() -> None:
    with_scent = BrandProduct(sku="A", name="A", attributes={"scent": "pine"})
    products = [with_scent, BrandProduct(sku="B", name="B")]
    found = lint(
        [*documents()[2:], brand(products=products), template(prompt="{{ product.attributes.scent }}")],
        published=Shelf(),
    )
    assert ["with B" in fault.problem.what for fault in found] == [True]


def test_a_size_may_miss_its_aspect_by_the_steps_models_take() -> None:
    assert codes(template(aspect="16:9", parameters=LockedParameters(width=1344, height=760))) == []


@pytest.mark.parametrize(
    ("made", "code", "where"),
    [
        (AssetType(template="no", recipes={}, rubric="tiles"), "unknown_reference", "asset_types.tile.template"),
        (AssetType(template="product-tile", recipes={"web": "email"}, rubric="tiles"), "other_channel",
         "asset_types.tile.recipes.web"),
        (AssetType(template="product-tile", recipes={}, rubric="no"), "unknown_reference", "asset_types.tile.rubric"),
    ],
)  # fmt: skip
def test_a_campaign_at_fault_is_named_with_the_place(made: AssetType, code: str, where: str) -> None:
    assert codes(campaign(asset_types={"tile": made})) == [(code, where)]


def test_a_campaign_uses_templates_of_its_own_brand() -> None:
    assert codes(campaign(brand="other"), brand(name="other")) == [("other_brand", "asset_types.tile.template")]


def test_a_term_without_letters_never_matches_and_is_a_fault() -> None:
    rule = Rule(id="a", terms=["cures", "!!"], why="w", remedy="r")
    assert codes(policy(rules=[rule])) == [("never_matches", "rules[0].terms[1]")]


def test_names_that_stand_twice_inside_a_document_are_faults() -> None:
    twice = [BrandProduct(sku="A", name="A"), BrandProduct(sku="A", name="B")]
    assert codes(brand(products=twice)) == [("doubled", "products")]
    locked = LockedParameters(loras=[Lora(name="film"), Lora(name="film", weight=0.5)])
    assert codes(template(parameters=locked)) == [("doubled", "parameters.loras")]
    assert codes(recipe("web", renditions=[*recipe().renditions, *recipe().renditions])) == [("doubled", "renditions")]


def test_a_name_means_the_latest_version_and_a_version_that_one() -> None:
    both = shelf(template(version=4))
    found = both.find(type(template()), "product-tile")
    old = both.find(type(template()), "product-tile@3")
    assert found is not None and found.version == 4
    assert old is not None and old.version == 3
    assert both.find(type(template()), "product-tile@9") is None


def routes_with(backend: dict[str, Any] | None = None, rule: dict[str, Any] | None = None) -> Routes:
    named = {"name": "here", "kind": "openai", "visibility": "private"} | (backend or {})
    return Routes.model_validate(
        {
            "name": "routes", "version": 1, "owner": "platform",
            "backends": [named, {"name": "there", "kind": "openai", "visibility": "cloud"}],
            "rules": [{"id": "any", "lane": "standard", "backends": ["here"]} | (rule or {})],
        }
    )  # fmt: skip


SQUARE = {"width": 1024, "height": 1024, "price": "0.04"}


@pytest.mark.parametrize(
    ("backend", "rule", "code", "where", "error"),
    [
        ({"ceiling": "secret"}, {}, "unknown_value", "backends[0].ceiling", True),
        ({"available_from": "2026-12-01", "end_of_life": "2026-11-30"}, {}, "out_of_range",
         "backends[0].available_from", True),
        ({"prices": [SQUARE, SQUARE | {"quality": "high"}], "call": {"provider": "p", "quality": "high"}}, {},
         "never_matches", "backends[0].prices[1]", False),
        ({"prices": [SQUARE | {"quality": "high"}]}, {}, "never_matches", "backends[0].prices[0]", False),
        ({"prices": [SQUARE], "call": {"provider": "p", "sizes": ["1024x1024", "512x512"]}}, {},
         "no_price", "backends[0].prices", False),
        ({}, {"lane": "dedicatd"}, "unknown_value", "rules[0].lane", True),
        ({}, {"confidentiality": ["secret"]}, "unknown_value", "rules[0].confidentiality", True),
        ({}, {"regions": ["eu"]}, "unserved", "rules[0].regions", False),
        ({}, {"canary": {"backend": "here", "percent": 5}}, "never_matches", "rules[0].canary", False),
        ({}, {"confidentiality": ["confidential"], "backends": ["there"]}, "unserved", "rules[0].backends", False),
        ({"ceiling": "public"}, {"confidentiality": ["internal"]}, "unserved", "rules[0].backends", False),
    ],
)  # fmt: skip
def test_a_routing_table_at_fault_is_named_with_the_place(
    backend: dict[str, Any], rule: dict[str, Any], code: str, where: str, *, error: bool
) -> None:
    (fault,) = lint([routes_with(backend, rule)], published=Shelf())
    assert (fault.problem.code, fault.problem.where, fault.error) == (code, where, error)


def test_a_routing_table_that_uses_everything_is_sound() -> None:
    backend = {
        "ceiling": "internal", "region": "eu", "version": "2025-04-23", "available_from": "2026-01-01",
        "end_of_life": "2027-01-01", "call": {"provider": "p", "quality": "high", "sizes": ["1024x1024", "512x512"]},
        "prices": [SQUARE | {"quality": "high"}, SQUARE], "price": "0.01",
    }  # fmt: skip
    rule = {"confidentiality": ["public", "internal"], "regions": ["eu"], "canary": {"backend": "there", "percent": 5}}
    assert lint([routes_with(backend, rule)], published=Shelf()) == []


def test_a_canary_names_a_backend_of_the_table() -> None:
    with pytest.raises(ValueError, match="names unknown backends: nowhere"):
        routes_with(rule={"canary": {"backend": "nowhere", "percent": 5}})


def test_a_routing_table_that_uses_nothing_new_keeps_its_bytes() -> None:
    written = routes_with().canonical()
    for name in (b"ceiling", b"prices", b"available_from", b'version":null', b"regions", b"canary"):
        assert name not in written


def test_the_routing_table_of_the_guide_is_sound(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/routing.md").read_text()
    (tmp_path / "routes.yaml").write_text(guide.partition("```yaml\n")[2].partition("```")[0])
    reading = read_folder(tmp_path)
    assert reading.findings == []
    (routes,) = (document for document, _ in reading.documents)
    assert lint([routes], published=Shelf()) == []
