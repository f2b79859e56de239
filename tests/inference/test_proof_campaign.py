"""The demo's own library and campaign file: what `make demo` is built on."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from services.inference.backends.proof.forms import FORMS
from services.inference.backends.proof.render import render
from services.inference.backends.proof.scene import read
from services.intake.batches import Row
from shared.events import Confidentiality, PromptAssembled
from shared.library.documents import Brand, Routes, TargetDocument, Template
from shared.library.lint import lint
from shared.library.reading import read_folder
from shared.library.shelf import Shelf
from tests.inference.campaigns import prompts_of, rows_of

LIBRARY = Path(__file__).resolve().parents[2] / "deploy" / "library"
COLUMNS = "key,sku,asset_type,setting,season,locale,headline,variants,channels,priority,confidentiality"


@lru_cache(maxsize=1)
def shelf() -> Shelf:
    return Shelf([document for document, _ in read_folder(LIBRARY).documents])


@lru_cache(maxsize=1)
def rows() -> list[Row]:
    return rows_of(LIBRARY / "campaign.csv", shelf(), campaign="salt-and-brine")


@lru_cache(maxsize=1)
def prompts() -> list[PromptAssembled]:
    return prompts_of(rows())


def test_the_library_has_no_fault() -> None:
    reading = read_folder(LIBRARY)
    assert reading.findings == []
    assert lint([document for document, _ in reading.documents], published=Shelf([])) == []


def test_an_older_version_of_what_was_revised_stands_beside_the_new_one() -> None:
    for name in ("product-tile@2", "lifestyle@1"):
        assert shelf().find(Template, name) is not None
    newest = {name: shelf().find(Template, name) for name in ("product-tile", "lifestyle", "email-hero")}
    labels = [template.label for template in newest.values() if template is not None]
    assert labels == ["product-tile@3", "lifestyle@2", "email-hero@1"]


def test_the_campaign_file_makes_36_jobs_of_12_rows_and_refuses_two() -> None:
    assert (LIBRARY / "campaign.csv").read_text().splitlines()[0] == COLUMNS
    refused = {row.key: [problem.code for problem in row.problems] for row in rows() if row.problems}
    assert refused == {"W07": ["value_not_allowed"], "W13": ["policy_refused"]}
    assert len(rows()) == 14
    assert len(prompts()) == 36


def test_one_headline_is_arabic_and_one_japanese() -> None:
    headlines = {prompt.brief.locale: prompt.brief.headline or "" for prompt in prompts()}
    assert "\u0600" <= headlines["ar"][0] <= "\u06ff"
    assert "\u4e00" <= headlines["ja"][0] <= "\u9fff"


def test_first_frost_alone_is_confidential() -> None:
    held = {prompt.brief.product for prompt in prompts() if prompt.confidentiality is Confidentiality.CONFIDENTIAL}
    assert held == {"First Frost"}
    brand = shelf().find(Brand, "salt-linden")
    assert brand is not None
    assert [line.name for line in brand.products if line.confidentiality != Confidentiality.PUBLIC] == ["First Frost"]


def test_one_row_puts_a_saffron_wall_into_a_brine_campaign() -> None:
    walls = {prompt.brief.skus[0]: prompt.scene["wall"] for prompt in prompts() if prompt.scene["wall"] == "saffron"}
    assert walls == {"SL-TEA-080": "saffron"}
    assert sum(prompt.scene["wall"] == "brine" for prompt in prompts()) >= 12


def test_every_product_of_the_brand_is_drawn_in_its_own_form() -> None:
    brand = shelf().find(Brand, "salt-linden")
    assert brand is not None
    assert sorted(line.form for line in brand.products) == sorted(FORMS)
    assert {prompt.scene["product"]["form"] for prompt in prompts()} == set(FORMS)


def test_proofs_are_drawn_under_every_rule_and_go_only_where_demos_may() -> None:
    routes, target = shelf().find(Routes, "routes"), shelf().find(TargetDocument, "showroom")
    assert routes is not None
    assert target is not None
    assert all("proof" in rule.backends for rule in routes.rules)
    assert len(routes.rules) == 4
    assert [(backend.name, backend.enabled) for backend in routes.backends] == [
        ("proof", True),
        ("cloud-images", False),
    ]
    assert (target.demo, target.ceiling) == (True, Confidentiality.CONFIDENTIAL)


def test_the_scene_a_prompt_carries_is_the_scene_that_is_drawn() -> None:
    for prompt in prompts():
        drawn = read(prompt.scene)
        said: dict[str, Any] = prompt.scene
        assert drawn.template == prompt.template.label
        assert drawn.variant == prompt.brief.variant
        assert (drawn.layout, drawn.season) == (said["layout"], said.get("season", "spring"))
        assert drawn.product.title == "Salt & Linden"
        assert drawn.product.form in FORMS
        size = prompt.parameters
        assert size.width * size.height <= 1280 * 1024


@pytest.mark.parametrize("locale", ["ar", "ja"])
def test_a_hero_leaves_the_side_free_where_its_readers_begin(locale: str) -> None:
    prompt = next(prompt for prompt in prompts() if prompt.brief.locale == locale)
    comp = render(prompt.scene, seed=prompt.seed, width=320, height=160)
    assert (comp.focal[0] < 0.4) == (locale == "ar")
    assert (comp.focal[0] > 0.6) == (locale == "ja")
