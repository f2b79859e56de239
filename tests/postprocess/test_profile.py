"""A file says in which colours it is, or a reviewer hears that it does not."""

import pytest

from services.postprocess import profiles
from services.postprocess.checks.profile import profile
from services.postprocess.orders import Order
from services.postprocess.recipes import develop
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.pictures import plain, written


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_the_profile_that_was_asked_for_is_found_in_every_format(format: str) -> None:
    verdict = profile(written(plain(), format, icc_profile=profiles.display_p3()), asked=profiles.display_p3())
    assert (verdict.ok, verdict.sentence) == (True, "The file is in Display P3.")


@pytest.mark.parametrize(
    ("found", "asked", "sentence"),
    [
        (None, profiles.display_p3(), "The file names no colour profile, asked Display P3."),
        (profiles.display_p3(), None, "The file is in Display P3, asked none."),
        (b"nonsense", profiles.display_p3(), "The file is in a profile that cannot be read, asked Display P3."),
    ],
)
def test_another_profile_than_was_asked_for_fails(found: bytes | None, asked: bytes | None, sentence: str) -> None:
    verdict = profile(written(plain(), icc_profile=found), asked=asked)
    assert (verdict.ok, verdict.sentence) == (False, sentence)


def test_a_recipe_that_asks_for_colours_is_told_of_them_and_no_other() -> None:
    wide = rendition("wide", 40, 40, operations=[step("colour", profile="display-p3"), step("resize")])
    made = develop(written(plain()), Order(recipes={"web": recipe(wide, rendition("plain", 40, 40))})).derivatives
    assert [[(verdict.check, verdict.ok) for verdict in each.verdicts] for each in made] == [[("profile", True)], []]


def test_colours_that_a_later_step_lost_are_told() -> None:
    lost = rendition("lost", 40, 40, operations=[step("colour", profile="keep"), step("resize")], format="png")
    original = written(plain(), icc_profile=profiles.display_p3())
    (made,) = develop(original, Order(recipes={"web": recipe(lost)})).derivatives
    (verdict,) = made.verdicts
    assert verdict.ok
    late = rendition("late", 40, 40, operations=[step("resize"), step("colour", profile="keep")], format="png")
    (made,) = develop(original, Order(recipes={"web": recipe(late)})).derivatives
    assert not next(verdict for verdict in made.verdicts if verdict.check == "profile").ok
