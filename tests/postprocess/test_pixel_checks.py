"""What every check of pixels has to hold, ours and those from outside; then each on a picture that is plainly wrong."""

import math
from functools import cache

import cv2
import numpy as np
import pytest

from services.postprocess.checks.examine import OURS, examine, pixel_checks
from services.postprocess.checks.measures import measured
from services.postprocess.checks.published import advises_only, figures
from services.postprocess.checks.view import Area, View
from services.postprocess.pixels import Pixels
from shared.contracts.check_names import ADVISORY
from shared.contracts.rejection_codes import REJECTION_CODES

PALETTE = ("#C4704A", "#F2ECE0", "#96430D", "#24201D")
LIVE: Area = (0.35, 0.28, 0.65, 0.9)


@cache
def good() -> Pixels:
    """An amber bottle with a printed label before a wall in a brand colour, lit from the left, with a little grain."""
    picture = np.empty((400, 400, 3), dtype=np.uint8)
    picture[:] = (196, 112, 74)
    cv2.circle(picture, (130, 130), 90, (242, 236, 224), -1)
    picture[:] = draw_bottle(picture)
    light = np.linspace(1.0, 0.8, 400)[None, :, None]
    grain = np.random.default_rng(1).normal(0, 2, (400, 400, 1))
    return np.asarray(np.clip(picture * light + grain, 0, 255).astype(np.uint8))


def draw_bottle(
    ground: Pixels,
    *,
    colour: tuple[int, int, int] = (150, 67, 13),
    words: tuple[str, ...] = ("Salt", "No. 4", "100 ml"),
) -> Pixels:
    picture = ground.copy()
    cv2.rectangle(picture, (180, 115), (220, 180), (36, 32, 29), -1)
    cv2.rectangle(picture, (145, 180), (255, 355), colour, -1)
    cv2.rectangle(picture, (158, 220), (242, 320), (242, 236, 224), -1)
    for line, y in zip(words, (255, 285, 308), strict=True):
        cv2.putText(picture, line, (166, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (36, 32, 29), 1, cv2.LINE_AA)
    return picture


@cache
def photo() -> Pixels:
    """The approved bottle, on white."""
    return draw_bottle(np.full((400, 400, 3), 255, dtype=np.uint8))


def view_of(pixels: Pixels, **more: object) -> View:
    return View.of(pixels, **({"live": LIVE, "palette": PALETTE, "photo": photo(), "mask": shape()} | more))  # type: ignore[arg-type]


@cache
def shape() -> Pixels:
    mask = np.zeros((400, 400), dtype=np.uint8)
    cv2.rectangle(mask, (180, 115), (220, 180), 255, -1)
    cv2.rectangle(mask, (145, 180), (255, 355), 255, -1)
    return mask


every_check = pytest.mark.parametrize("name", sorted(pixel_checks()))


@every_check
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (3, 700), (200, 90), (90, 90)])
def test_a_check_has_a_verdict_on_any_picture(name: str, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    for view in (View.of(picture), View.of(picture, live=(0.2, 0.2, 0.21, 0.9), palette=PALETTE, photo=picture)):
        verdict = pixel_checks()[name].judge(view)
        assert verdict.check == name
        assert verdict.sentence.endswith(".")
        assert verdict.number is None or math.isfinite(verdict.number)


@every_check
def test_a_tiny_picture_is_not_judged(name: str) -> None:
    verdict = pixel_checks()[name].judge(View.of(np.zeros((64, 300, 3), dtype=np.uint8)))
    assert (verdict.ok, verdict.sentence) == (True, "The picture is too small to judge.")


@every_check
def test_a_check_lets_a_good_picture_through(name: str) -> None:
    verdict = pixel_checks()[name].judge(view_of(good()))
    assert verdict.ok, verdict.sentence


@every_check
def test_a_check_keeps_to_the_limit_it_is_given(name: str) -> None:
    check, view = pixel_checks()[name], view_of(good())
    number = check.judge(view).number
    assert number is not None
    tighter = number + 0.01 if check.least else number - 0.01
    assert [check.judge(view, limit=limit).ok for limit in (number, tighter)] == [True, False]


@every_check
def test_a_check_says_the_same_each_time_and_changes_nothing(name: str) -> None:
    view = view_of(good())
    before = [None if each is None else each.copy() for each in (view.pixels, view.close, view.shape)]
    first, again = (pixel_checks()[name].judge(view) for _ in range(2))
    assert first == again
    for old, new in zip(before, (view.pixels, view.close, view.shape), strict=True):
        assert old is not None
        assert (old == new).all()


@every_check
def test_a_check_names_a_code_of_the_contract(name: str) -> None:
    assert pixel_checks()[name].code in REJECTION_CODES


def test_blank_is_found_however_far_its_gradient_goes() -> None:
    ramp = np.linspace(40, 220, 400)[None, :, None] + np.zeros((400, 400, 3))
    assert failed(ramp.astype(np.uint8)) >= {"entropy"}


def test_a_small_product_before_a_plain_wall_is_no_blank() -> None:
    wall = np.full((800, 800, 3), (242, 236, 224), dtype=np.uint8)
    small = cv2.resize(good(), (160, 160), interpolation=cv2.INTER_AREA)
    wall[620:780, 220:380] = small
    entropy, live = pixel_checks()["entropy"], (220 / 800, 620 / 800, 380 / 800, 780 / 800)
    assert entropy.judge(View.of(wall, live=live)).ok
    assert not entropy.judge(View.of(np.full_like(wall, 224), live=live)).ok


def test_noise_is_found_fine_or_in_blots() -> None:
    chance = np.random.default_rng(3)
    fine = chance.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    blots = cv2.resize(chance.integers(0, 256, (50, 50, 3), dtype=np.uint8), (400, 400), interpolation=cv2.INTER_CUBIC)
    assert "noise" in failed(fine)
    assert "noise" in failed(np.asarray(blots, dtype=np.uint8))


def test_a_soft_product_is_found() -> None:
    assert failed(np.asarray(cv2.GaussianBlur(good(), (0, 0), 3), dtype=np.uint8)) >= {"blur", "label"}


def test_lost_light_is_found_and_a_white_ground_is_none() -> None:
    assert "clipping" in failed(np.clip(good().astype(np.int64) + 70, 0, 255).astype(np.uint8))
    assert "clipping" not in failed(photo())


def test_a_strong_colour_with_a_channel_at_its_end_and_a_black_ground_have_lost_nothing() -> None:
    for ground in ((255, 90, 0), (0, 0, 0)):
        picture = draw_bottle(np.full((400, 400, 3), ground, dtype=np.uint8))
        assert pixel_checks()["clipping"].judge(View.of(picture)).ok


def test_a_ground_out_of_focus_and_one_whose_edges_run_one_way_make_nothing_soft() -> None:
    blur = pixel_checks()["blur"]
    soft = cv2.GaussianBlur(good(), (0, 0), 8)
    soft[180:360, 140:260] = good()[180:360, 140:260]
    assert blur.judge(View.of(np.asarray(soft, dtype=np.uint8))).ok
    shelves = np.repeat(np.arange(400)[:, None] // 40 % 2 * 160, 400, axis=1) + np.linspace(0, 60, 400)[None]
    assert blur.judge(View.of(np.repeat(shelves[:, :, None], 3, axis=2).astype(np.uint8))).ok


def test_a_texture_that_leaves_a_quarter_of_the_picture_alone_is_no_noise() -> None:
    meadow = np.random.default_rng(5).integers(40, 200, (400, 400, 1)) + np.zeros((400, 400, 3))
    meadow[:110] = np.linspace(150, 230, 110)[:, None, None]
    assert pixel_checks()["noise"].judge(View.of(meadow.astype(np.uint8))).ok


def test_a_photograph_of_more_colours_than_a_brand_has_is_judged_by_how_much_nearer_it_could_be() -> None:
    ramp = np.stack([np.linspace(0, 1, 400)] * 400)
    leaves = np.dstack([90 + 80 * ramp, 120 + 100 * ramp.T, 60 + 60 * ramp * ramp.T]).astype(np.uint8)
    brand = [colour for colour, _ in measured(View.of(leaves)).colours]
    found = [pixel_checks()["palette"].judge(View.of(each, palette=brand)) for each in (leaves, leaves[:, :, ::-1])]
    assert [verdict.ok for verdict in found] == [True, False]


def test_another_wall_is_found() -> None:
    blue = good().copy()
    blue[shape() == 0] = blue[shape() == 0][:, ::-1]
    assert failed(blue) == {"palette"}


def test_another_product_is_found() -> None:
    other = draw_bottle(good(), colour=(46, 75, 140))
    assert "fidelity" in failed(other)


def test_another_label_is_found() -> None:
    other = draw_bottle(good(), words=("Malz", "Nr. 9", "250 gr"))
    assert failed(other) == {"label"}


def failed(pixels: Pixels) -> set[str]:
    verdicts, _ = examine(view_of(pixels), asked=pixel_checks())
    return {verdict.check for verdict in verdicts if not verdict.ok}


def test_without_a_photo_nothing_is_said_against_the_product() -> None:
    verdicts, _ = examine(view_of(good(), photo=None), asked={"label", "fidelity"})
    said = {verdict.check: (verdict.ok, verdict.sentence) for verdict in verdicts}
    assert said["label"] == said["fidelity"] == (True, "There is no approved photo to compare with.")


@pytest.mark.parametrize("name", ["label", "fidelity"])
def test_without_the_photo_that_should_be_there_a_person_compares(name: str) -> None:
    (verdict,) = examine(view_of(good(), photo=None, photo_absent="is not stored any more"), asked={name})[0][-1:]
    assert (verdict.check, verdict.ok, verdict.blocking, verdict.advisory) == (name, False, True, False)
    assert verdict.sentence == "A person compares the product, since its approved photo is not stored any more."


@pytest.mark.parametrize("name", ["label", "fidelity"])
@pytest.mark.parametrize("unknown", [{"live": None, "mask": None}, {"photo": np.full((90, 90, 3), 255, np.uint8)}])
def test_what_cannot_be_compared_goes_to_a_person(name: str, unknown: dict[str, object]) -> None:
    (verdict,) = examine(view_of(good(), **unknown), asked={name})[0][-1:]
    assert (verdict.check, verdict.ok, verdict.blocking, verdict.number) == (name, False, True, None)


def test_only_what_is_usual_or_asked_for_is_looked_at() -> None:
    usual = {check.name for check in OURS if check.usual}
    assert {verdict.check for verdict in examine(view_of(good()))[0]} == usual
    assert {verdict.check for verdict in examine(view_of(good()), asked={"label"})[0]} == usual | {"label"}
    tiny = View.of(good()[:64, :64])
    assert examine(tiny)[0] == []
    assert [verdict.check for verdict in examine(tiny, asked={"blur"})[0]] == ["blur"]


def test_a_rubric_s_limit_takes_the_place_of_the_shipped_one() -> None:
    verdicts, _ = examine(view_of(good()), limits={"palette": 0.01})
    (palette,) = [verdict for verdict in verdicts if verdict.check == "palette"]
    assert (palette.ok, palette.limit) == (False, 0.01)


def test_a_check_that_errs_too_often_only_advises_and_says_so() -> None:
    for check in OURS:
        assert pixel_checks()[check.name].advisory == advises_only(check.name) == (check.name in ADVISORY)
    assert advises_only("never-measured")


def test_what_is_published_is_of_the_limits_that_are_shipped() -> None:
    assert {name: found["limit"] for name, found in figures().items() if name in pixel_checks()} == {
        check.name: check.limit for check in OURS
    }
