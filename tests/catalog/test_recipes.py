"""Two versions of a recipe: which are meant, and what of them is another."""

from uuid import UUID

import pytest

from services.catalog.views.recipes import Tried, chosen, paired
from services.catalog.web.view import RecipeQuery
from shared.errors import Rejected
from tests.catalog.fake_pages import RECIPES

FIRST, SECOND = RECIPES[1], RECIPES[2]
ON = Tried(asset=UUID(int=7), name="Salt Marsh, lifestyle", manifest="5a" * 32)


@pytest.mark.parametrize(
    ("first", "second", "meant"),
    [(None, None, (2, 3)), (1, None, (1, 3)), (3, None, (3, 2)), (None, 2, (1, 2)), (2, 1, (2, 1)), (None, 1, (1, 1))],
)
def test_what_is_not_said_is_the_newest_version_and_the_one_before(
    first: int | None, second: int | None, meant: tuple[int, int]
) -> None:
    assert chosen(RecipeQuery(name="web", first=first, second=second), [3, 2, 1]) == meant


def test_one_version_stands_beside_itself_and_an_unknown_one_is_refused() -> None:
    assert chosen(RecipeQuery(name="web", first=1), [1]) == (1, 1)
    with pytest.raises(Rejected, match="web has no version 4"):
        chosen(RecipeQuery(name="web", second=4), [3, 2, 1])


def test_what_one_version_has_and_the_other_has_not_is_marked() -> None:
    card, banner, thumb, square = paired(FIRST, SECOND, versions=[2, 1], on=ON).renditions
    assert card.first and card.second and banner.first and banner.second
    assert [(line.words, line.same) for line in card.second.lines] == [
        ("640 × 640 webp, quality 74, at most 60,000 bytes", False)
    ]
    assert [(line.words, line.same) for line in banner.second.lines] == [
        ("1200 × 400 jpeg, quality 82", True),
        ("safe area 0.05, 0.1, 0.95, 0.9", False),
        ("crop: fill 0.8", False),
        ("resize", True),
        ("text: text headline; anchor start; in GB, AE only", False),
    ]
    assert [line.same for line in banner.first.lines] == [True, False, True]
    assert (thumb.second, square.first) == (None, None)


def test_pictures_are_asked_for_of_the_asset_that_is_named() -> None:
    card = paired(FIRST, SECOND, versions=[2, 1], on=ON).renditions[0]
    assert card.first is not None
    asked = f"manifest={'5a' * 32}&recipe=web%401&rendition=card"
    assert card.first.src == f"/v1/derivatives/{ON.asset}/preview?{asked}"
    without = paired(FIRST, SECOND, versions=[2, 1]).renditions[0]
    assert without.first is not None
    assert (without.first.src, without.first.said) == (None, None)
