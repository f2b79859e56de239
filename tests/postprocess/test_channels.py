"""The recipes as they are shipped, run over originals of the shapes they are meant for."""

from pathlib import Path

import pytest

from services.postprocess.checks import Subject, check
from services.postprocess.recipes import Order, develop
from shared.library.documents import Recipe
from shared.library.reading import read_folder
from tests.postprocess.pictures import GREEN, near, plain, read, written

FOLDER = Path(__file__).parent
READING = read_folder(FOLDER)
RECIPES = {document.channel: document for document, _ in READING.documents if isinstance(document, Recipe)}


def test_the_shipped_recipes_are_well_formed() -> None:
    assert READING.findings == []
    assert RECIPES.keys() >= {"web", "social", "email", "ads", "marketplace"}


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
    assert len(subjects) == sum(len(recipe.renditions) for recipe in RECIPES.values())


def test_a_hero_is_too_flat_for_a_story_and_the_check_says_so() -> None:
    order = Order(recipes={"social": RECIPES["social"]})
    story = next(made for made in develop(written(plain(1280, 640)), order).derivatives if made.rendition == "story")
    assert story.facts[1:] == (720, 1280)
    assert story.wanted == (1080, 1920)


def test_the_marketplace_picture_stands_on_white() -> None:
    order = Order(recipes={"marketplace": RECIPES["marketplace"]}, live_area=(0.3, 0.3, 0.7, 0.7))
    (made,) = develop(written(plain(1024, 1024, GREEN)), order).derivatives
    image = read(made.data)
    assert near(image.getpixel((20, 500)), (255, 255, 255), within=2)
    assert near(image.getpixel((500, 500)), GREEN, within=6)
