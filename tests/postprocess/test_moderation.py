"""The check `moderation`: by a model's score where there is one, by a person where there is none or it fails."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.postprocess.checks.moderation import moderated
from services.postprocess.checks.view import View
from services.postprocess.hooks import NO_MODELS
from services.postprocess.model_files import ModelFile
from services.postprocess.models import models
from services.postprocess.operations import Equipment
from services.postprocess.orders import Order
from services.postprocess.recipes import develop
from services.postprocess.rulings import ruled
from shared.events import Verdict
from shared.library.documents import Rubric
from tests.postprocess.networks import failing, scoring
from tests.postprocess.pictures import written

DARK, LIGHT = (np.full((300, 200, 3), level, np.uint8) for level in (5, 250))
RUBRIC = Rubric(name="strict", version=1, owner="design", rejecting_checks=["moderation"])


def judged(pixels: np.ndarray, files: Mapping[str, ModelFile], *, limit: float = 0.5) -> Verdict:
    return moderated(View.of(pixels), models(files, seconds=60), limit=limit)


def test_a_high_score_must_not_be_shown_and_is_rejected_where_the_rubric_says_so(tmp_path: Path) -> None:
    verdict = judged(DARK, {"moderation": scoring(tmp_path)})
    assert (verdict.check, verdict.ok, verdict.limit, verdict.code) == ("moderation", False, 0.5, "other")
    assert verdict.number is not None and verdict.number > 0.8
    assert [each.rejecting for each in ruled([verdict], RUBRIC)] == [True]


def test_a_low_score_may_be_shown(tmp_path: Path) -> None:
    verdict = judged(LIGHT, {"moderation": scoring(tmp_path)})
    assert verdict.ok and "may be shown" in verdict.sentence


def test_the_limit_is_the_rubrics(tmp_path: Path) -> None:
    verdict = judged(LIGHT, {"moderation": scoring(tmp_path)}, limit=0.01)
    assert not verdict.ok and verdict.limit == 0.01


def test_without_a_model_a_person_decides() -> None:
    verdict = moderated(View.of(DARK), NO_MODELS)
    assert verdict.ok and verdict.advisory
    assert verdict.sentence == "No model judges what may be shown: a person decides."


def test_a_model_that_fails_rejects_nothing_and_lets_nothing_pass(tmp_path: Path) -> None:
    verdict = judged(DARK, {"moderation": failing(tmp_path)})
    assert "A person decides what may be shown, since the model failing.onnx failed" in verdict.sentence
    assert [(each.ok, each.blocking, each.rejecting) for each in ruled([verdict], RUBRIC)] == [(False, True, False)]


@pytest.mark.parametrize(
    ("hooks", "asked", "told"),
    [
        ([], [], []),
        ([], ["moderation"], [True]),
        (["moderation"], [], [False]),
        (["moderation"], ["moderation"], [False]),
    ],
)
def test_it_is_told_once_an_asset_where_there_is_a_model_or_somebody_asks(
    hooks: list[str], asked: list[str], told: list[bool], tmp_path: Path
) -> None:
    files = {hook: scoring(tmp_path) for hook in hooks}
    equipment = Equipment(models=models(files, seconds=60))
    made = develop(written(Image.fromarray(DARK)), Order(recipes={}, checks=tuple(asked)), equipment=equipment)
    assert [verdict.ok for verdict in made.checks if verdict.check == "moderation"] == told


def test_versions_name_the_model_that_scored(tmp_path: Path) -> None:
    file = scoring(tmp_path)
    equipment = Equipment(models=models({"moderation": file}, seconds=60))
    made = develop(written(Image.fromarray(DARK)), Order(recipes={}), equipment=equipment)
    assert made.versions["moderation"] == file.name
