"""A part of the labelled set again: the checks are as often right as docs/checks.md says."""

import json
from pathlib import Path

import pytest

from services.postprocess.checks.published import FIGURES, figures
from tests.postprocess.labelled import figures as labelled
from tests.postprocess.labelled.natural import NATURAL, natural
from tests.postprocess.labelled.page import PAGE, page
from tests.postprocess.labelled.photographs import HELD_OUT, USES, listed, photographs
from tests.postprocess.labelled.sets import SETS
from tests.postprocess.pictures import RED, grainy, written


def test_the_page_says_what_was_measured() -> None:
    assert PAGE.read_text() == page(figures(), figures("photographs"))
    assert figures().keys() == SETS.keys()
    assert figures("photographs").keys() == NATURAL.keys()


def test_a_photograph_is_listed_once_with_its_use() -> None:
    found = listed()
    assert len({each.sha256 for each in found}) == len(found)
    assert {each.use for each in found} == set(USES)
    assert {each.sharp for each in found} == {"sharp", "unsharp"}


def test_a_folder_s_photographs_are_known_by_what_they_are_and_faults_are_laid_on_them(tmp_path: Path) -> None:
    picture = grainy(640, 600)
    picture.paste(RED, (200, 200, 400, 380))
    (tmp_path / "of-a-package").mkdir()
    (tmp_path / "of-a-package" / "flower.jpg").write_bytes(written(picture, "JPEG", quality=95))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (taken,) = photographs(tmp_path, None)
    assert [max(pixels.shape) for pixels in taken.shown] == [512, 421]
    found = natural("entropy", [taken])
    assert [(each.faulty, each.ok) for each in found if each.kind in {"as taken", "flat"}] == 2 * [
        (False, True),
        (True, False),
    ]
    with pytest.raises(FileNotFoundError, match="are not in"):
        list(photographs(tmp_path, HELD_OUT))


@pytest.mark.live
@pytest.mark.parametrize("check", SETS)
def test_a_check_is_as_often_right_as_is_published(check: str) -> None:
    told = json.loads(FIGURES.read_text())["part"][check]
    found = labelled.figures(check, labelled.said(check, labelled.part(check)))
    assert (found["good"], found["faulty"]) == (told["good"], told["faulty"])
    assert found["precision"] >= told["precision"]
    assert found["recall"] >= told["recall"]
