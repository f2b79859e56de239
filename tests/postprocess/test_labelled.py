"""A part of the labelled set again: the checks are as often right as docs/checks.md says."""

import json

import pytest

from services.postprocess.checks.published import FIGURES, figures
from tests.postprocess.labelled import figures as labelled
from tests.postprocess.labelled.page import PAGE, page
from tests.postprocess.labelled.sets import SETS


def test_the_page_says_what_was_measured() -> None:
    assert PAGE.read_text() == page(figures())
    assert figures().keys() == SETS.keys()


@pytest.mark.live
@pytest.mark.parametrize("check", SETS)
def test_a_check_is_as_often_right_as_is_published(check: str) -> None:
    told = json.loads(FIGURES.read_text())["part"][check]
    found = labelled.figures(check, labelled.said(check, labelled.part(check)))
    assert (found["good"], found["faulty"]) == (told["good"], told["faulty"])
    assert found["precision"] >= told["precision"]
    assert found["recall"] >= told["recall"]
