"""The recipes as they are shipped, run over originals of the shapes they are meant for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import deploy
from services.postprocess.checks.files import Subject, check
from services.postprocess.orders import Derivative, Order
from services.postprocess.recipes import develop
from shared.library.documents import Recipe
from shared.library.reading import read_folder
from tests.postprocess.pictures import GREEN, RED, WHITE, near, plain, read, written

READING = read_folder(Path(deploy.__file__).parent / "library")
RECIPES: dict[str, Recipe] = {
    document.channel: document for document, _ in READING.documents if isinstance(document, Recipe)
}  # the newest version of each, for they stand in order


def made_for(channel: str, original: Image.Image, *, mask: bytes | None = None) -> dict[str, Derivative]:
    asked = Order(recipes={channel: RECIPES[channel]}, inputs=("mask",) if mask else ())
    made = develop(written(original), asked, [mask] if mask else []).derivatives
    return {each.rendition: each for each in made}


def test_the_shipped_recipes_are_well_formed() -> None:
    assert READING.findings == []
    assert RECIPES.keys() == {"web", "blog", "landing", "social", "email", "ads", "marketplace"}


def test_every_shipped_recipe_says_who_published_its_limits() -> None:
    assert [recipe.label for recipe in RECIPES.values() if not recipe.source] == []


@pytest.mark.parametrize("size", [(1024, 1024), (1280, 1024), (2048, 2048)])
def test_every_channel_gets_files_that_pass_its_checks(size: tuple[int, int]) -> None:
    developed = develop(
        written(plain(*size, GREEN)), Order(recipes=RECIPES, focal=(0.5, 0.6), live_area=(0.3, 0.4, 0.7, 0.8))
    )
    subjects = [
        Subject(
            label=f"{made.channel}/{made.rendition}",
            name=f"{made.channel}-{made.rendition}.img",
            media_type=made.facts.media_type,
            width=made.facts.width,
            height=made.facts.height,
            bytes=len(made.data),
            wanted_type=made.wanted_type,
            wanted=made.wanted,
            exact=made.exact,
            max_bytes=made.max_bytes,
        )
        for made in developed.derivatives
    ]
    assert [verdict.sentence for verdict in check(subjects, alt_text="A", caption="B") if not verdict.ok] == []
    left_out = sum(made.optional and made.width > max(size) for each in RECIPES.values() for made in each.renditions)
    assert len(subjects) + left_out == sum(len(recipe.renditions) for recipe in RECIPES.values())


def test_a_hero_is_too_flat_for_a_story_and_the_check_says_so() -> None:
    story = made_for("social", plain(1280, 512))["story"]
    assert story.facts[1:] == (576, 1024)
    assert story.wanted == (1080, 1920)


def test_a_story_is_reached_from_a_square_by_upscaling_and_says_so() -> None:
    story = made_for("social", plain(1024, 1024))["story"]
    assert story.facts[1:] == (1080, 1920)
    assert ["upscale", "back-projection"] in story.manifest["notes"]


@pytest.mark.parametrize(
    ("locale", "headline", "side"),
    [
        ("en", "Evenings that smell of salt", slice(0, 600)),
        ("ar", "دفء الشتاء في زجاجة", slice(600, 1200)),
        ("ja", "菩提樹の花、冬の一杯に。", slice(0, 600)),
    ],
)
def test_a_hero_for_mail_carries_its_headline_where_its_readers_begin(locale: str, headline: str, side: slice) -> None:
    asked = Order(recipes={"email": RECIPES["email"]}, texts={"headline": headline}, locale=locale)
    (made,) = develop(written(plain(1280, 640, GREEN)), asked).derivatives
    assert [(verdict.check, verdict.ok) for verdict in made.verdicts] == [("text", True)]
    other = np.abs(np.asarray(read(made.data)).astype(int) - GREEN).max(axis=2) > 60
    assert other[:, side].sum() == other.sum() > 5000


def test_the_marketplace_picture_is_the_product_alone_on_white_at_85_percent() -> None:
    original, mask = plain(1024, 1024, GREEN), Image.new("L", (1024, 1024))
    ImageDraw.Draw(original).rectangle((400, 250, 600, 749), fill=RED)
    ImageDraw.Draw(mask).rectangle((400, 250, 600, 749), fill=255)
    image = read(made_for("marketplace", original, mask=written(mask))["main"].data)
    assert image.size == (1600, 1600)
    product = np.argwhere(np.asarray(image).astype(int).sum(axis=2) < 600)
    (top, left), (bottom, right) = product.min(axis=0), product.max(axis=0)
    assert bottom - top == pytest.approx(0.85 * 1600, abs=6)
    assert (top + bottom) / 2 == pytest.approx(800, abs=4) and (left + right) / 2 == pytest.approx(800, abs=4)
    assert all(image.getpixel((x, y)) == (255, 255, 255) for x in (5, 800, 1590) for y in (5, 60, 1590))
    assert near(image.getpixel((800, 800)), RED, within=4)


def test_no_shipped_marketplace_rendition_bears_text_or_a_logo() -> None:
    overlays = {"text", "logo", "badge", "watermark"}
    steps = [step.op for rendition in RECIPES["marketplace"].renditions for step in rendition.operations]
    assert not overlays & set(steps)


@pytest.mark.parametrize(
    ("locale", "headline"),
    [("en", "Evenings that smell of salt"), ("ar", "دفء الشتاء في زجاجة"), ("ja", "菩提樹の花、冬の一杯に。")],
)
def test_the_mail_hero_bears_its_headline_where_people_begin_to_read(locale: str, headline: str) -> None:
    order = Order(recipes={"email": RECIPES["email"]}, texts={"headline": headline}, locale=locale)
    (hero,) = develop(written(plain(1280, 640, WHITE)), order).derivatives
    (verdict,) = hero.verdicts
    assert (verdict.check, verdict.ok) == ("text", True)
    ink = np.argwhere(np.asarray(read(hero.data).convert("L")) < 60)
    assert len(ink) > 1000
    assert (ink[:, 1] > 600).all() if locale == "ar" else (ink[:, 1] < 600).all()
    assert len(hero.data) <= 200_000
