"""What is wrong with a recipe is said where it is written, before an image is cut by it."""

from typing import Any

import pytest

from services.postprocess.operations import OURS
from shared.library.documents import Brand
from shared.library.faults import Fault
from shared.library.lint import lint
from shared.library.operations import PARAMETERS, takes_from_brand
from shared.library.shelf import Shelf
from tests.postprocess.documents import recipe, rendition, step

BRAND = Brand(name="salt", version=1, owner="design", title="Salt", marks={"logo": "1" * 64, "vegan": "2" * 64})


def faults(*steps: dict[str, Any], **fields: Any) -> list[Fault]:
    return lint([BRAND, recipe(rendition(operations=list(steps), **fields))], published=Shelf())


def told(*steps: dict[str, Any], **fields: Any) -> list[tuple[str, str | None, bool]]:
    return [(fault.problem.code, fault.problem.where, fault.error) for fault in faults(*steps, **fields)]


def test_every_operation_of_ours_is_checked_by_the_parameters_that_it_runs_by() -> None:
    assert {operation.name: operation.parameters for operation in OURS} == PARAMETERS


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (step("logo"), True),
        (step("watermark", mark="badge"), True),
        (step("badge", text="new", fill="sea"), True),
        (step("canvas", background="sea"), True),
        (step("canvas", background="blur", fill=0.8), False),
        (step("pad", background="edge"), False),
        (step("badge", text="new", fill="#336699", colour="auto"), False),
        (step("crop", fill=0.9), False),
    ],
)
def test_a_step_that_names_a_mark_or_a_colour_takes_it_from_the_brand(told: dict[str, Any], *, expected: bool) -> None:
    assert takes_from_brand(told["op"], told["params"]) is expected


def test_an_unknown_operation_may_come_from_outside_and_is_asked_about() -> None:
    (fault,) = faults(step("resise"))
    assert (fault.problem.code, fault.error) == ("unknown_operation", False)
    assert fault.problem.where == "renditions[0].operations[0].op"
    assert "did you mean resize?" in fault.problem.remedy


@pytest.mark.parametrize(
    ("steps", "code", "place"),
    [
        ([step("crop", fil=0.8)], "unknown_field", "fil"),
        ([step("crop", fill=1.8)], "out_of_range", "fill"),
        ([step("crop", aspect="wide")], "malformed", "aspect"),
        ([step("resize", mode="stretch")], "unknown_value", "mode"),
        ([step("text", text="subject")], "unknown_value", "text"),
        ([step("canvas", background="a b")], "malformed", "background"),
    ],
)
def test_wrong_parameters_are_refused_with_their_place(steps: list[dict[str, Any]], code: str, place: str) -> None:
    assert told(*steps) == [(code, f"renditions[0].operations[0].params.{place}", True)]


def test_colours_beyond_srgb_are_asked_for_before_anything_is_drawn() -> None:
    wide = step("colour", profile="display-p3")
    assert told(step("crop"), wide, step("resize")) == []
    assert told(step("resize"), wide) == [("too_late", "renditions[0].operations[1]", True)]
    assert told(step("resize"), step("colour", profile="srgb")) == []


def test_a_safe_area_has_an_inside() -> None:
    assert told(safe_area=[0.1, 0.1, 0.9, 0.9]) == []
    for turned in ([0.9, 0.1, 0.1, 0.9], [0.1, 0.5, 0.9, 0.5]):
        assert told(safe_area=turned) == [("malformed", "renditions[0].safe_area", True)]


def test_a_recipe_makes_something_of_every_original() -> None:
    assert told(optional=True) == [("nothing_made", "renditions", True)]
    both = recipe(rendition("large", optional=True), rendition("small"))
    assert lint([both], published=Shelf()) == []


def test_a_mark_that_no_brand_has_is_asked_about() -> None:
    assert told(step("logo"), step("badge", mark="vegan")) == []
    assert told(step("logo", on_dark="white")) == [
        ("unknown_mark", "renditions[0].operations[0].params.on_dark", False)
    ]
    alone = recipe(rendition(operations=[step("logo", on_dark="white")]))
    assert lint([alone], published=Shelf()) == [], "no brand is known, so nobody can say"
