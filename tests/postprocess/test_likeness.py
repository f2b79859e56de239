"""A picture is known again when it comes back a little changed, and another picture is not taken for it."""

import cv2
import numpy as np
import pytest

from services.postprocess.checks.alike import DIGITS, RULED, alike
from services.postprocess.checks.likeness import fingerprint
from services.postprocess.checks.view import Area
from services.postprocess.pixels import Pixels

# What twins have at least in docs/checks.md.
TWIN = 0.5
LIVE: Area = (0.35, 0.3, 0.65, 0.9)
BRINE, CLAY, BONE, AMBER = (46, 75, 82), (196, 112, 74), (242, 236, 224), (150, 67, 13)


def scene(*, wall: tuple[int, int, int] = CLAY, product: str = "bottle") -> Pixels:
    """A disc on a wall, lit from the left, and before it a bottle or a box with a label."""
    picture = np.empty((240, 240, 3), dtype=np.uint8)
    picture[:] = wall
    cv2.circle(picture, (80, 80), 60, BONE, -1)
    if product == "bottle":
        cv2.rectangle(picture, (108, 72), (132, 108), (36, 32, 29), -1)
        cv2.rectangle(picture, (90, 108), (150, 210), AMBER, -1)
        cv2.rectangle(picture, (98, 135), (142, 185), BONE, -1)
    else:
        cv2.rectangle(picture, (84, 150), (156, 210), AMBER, -1)
        cv2.rectangle(picture, (94, 165), (146, 190), BONE, -1)
    light = np.linspace(1.0, 0.8, 240)[None, :, None]
    return np.asarray((picture * light).astype(np.uint8))


def written_again(pixels: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def made_smaller(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.resize(pixels, (150, 150), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def brighter(pixels: Pixels) -> Pixels:
    return np.asarray(np.clip(pixels * 1.05, 0, 255).astype(np.uint8))


def test_a_fingerprint_is_the_same_each_time_and_fits_its_column() -> None:
    print_ = fingerprint(scene(), live=LIVE)
    assert print_ == fingerprint(scene(), live=LIVE)
    assert len(print_) == DIGITS
    assert alike(print_, print_) == 1


@pytest.mark.parametrize("changed", [written_again, made_smaller, brighter])
def test_a_picture_that_comes_back_a_little_changed_is_known(changed: object) -> None:
    assert callable(changed)
    twin = fingerprint(changed(scene()), live=LIVE)
    assert alike(fingerprint(scene(), live=LIVE), twin) >= TWIN


def test_a_picture_shifted_by_two_in_a_hundred_is_known() -> None:
    shifted = np.roll(scene(), (4, 4), axis=(0, 1))
    moved = (LIVE[0] + 1 / 60, LIVE[1] + 1 / 60, LIVE[2] + 1 / 60, LIVE[3] + 1 / 60)
    assert alike(fingerprint(scene(), live=LIVE), fingerprint(shifted, live=moved)) >= TWIN


def test_the_same_product_before_another_wall_is_another_picture() -> None:
    assert alike(fingerprint(scene(), live=LIVE), fingerprint(scene(wall=BRINE), live=LIVE)) < TWIN


def test_another_product_before_the_same_wall_is_another_picture() -> None:
    box = fingerprint(scene(product="box"), live=(0.33, 0.6, 0.67, 0.9))
    assert alike(fingerprint(scene(), live=LIVE), box) < TWIN


def test_both_say_the_same_of_each_other() -> None:
    one, other = fingerprint(scene(), live=LIVE), fingerprint(brighter(scene()), live=LIVE)
    assert alike(one, other) == pytest.approx(alike(other, one), abs=1e-4) != 0


def test_a_print_of_the_middle_names_its_rule_and_is_compared_with_its_like_alone() -> None:
    middle = fingerprint(scene())
    assert (len(middle), alike(middle, middle)) == (RULED, 1)
    assert alike(middle, middle[:DIGITS]) == alike(middle[:DIGITS], middle) == 0, "as it was kept by the first rule"


@pytest.mark.parametrize("size", [(1, 1), (3, 64), (64, 2)])
def test_the_smallest_picture_has_a_fingerprint(size: tuple[int, int]) -> None:
    assert len(fingerprint(np.zeros((*size, 3), dtype=np.uint8))) == RULED


@pytest.mark.parametrize("wrong", ["", "ab" * 55, "xy" * 56])
def test_what_is_no_fingerprint_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        alike(wrong, fingerprint(scene(), live=LIVE))
