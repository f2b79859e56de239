"""What a picture measures, of pictures in which all of it is known."""

import numpy as np
import pytest

from services.postprocess.checks.measures import measured
from services.postprocess.checks.view import View
from services.postprocess.pixels import Pixels


def halves(width: int = 400, height: int = 200) -> Pixels:
    """Red on the left, grey on the right."""
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:, : width // 2] = (200, 30, 30)
    picture[:, width // 2 :] = (128, 128, 128)
    return picture


def test_colours_come_with_their_shares() -> None:
    found = dict(measured(View.of(halves())).colours)
    assert found == {"#c81e1e": pytest.approx(0.5, abs=0.03), "#808080": pytest.approx(0.5, abs=0.03)}


def test_exposure_is_of_luma() -> None:
    mean, low, high = measured(View.of(np.full((80, 80, 3), 51, dtype=np.uint8))).exposure
    assert (mean, low, high) == (0.2, 0.2, 0.2)


def test_the_product_is_where_the_live_area_is() -> None:
    found = measured(View.of(halves(), live=(0.5, 0.2, 0.9, 0.7)))
    assert (found.product_scale, found.centre) == (0.2, (0.7, 0.45))


def test_without_a_live_area_it_is_where_its_mask_is() -> None:
    mask = np.zeros((200, 400), dtype=np.uint8)
    mask[50:150, 200:300] = 255
    found = measured(View.of(halves(), mask=mask))
    assert (found.product_scale, found.centre) == (0.125, (0.625, 0.5))


def test_an_empty_mask_says_nothing() -> None:
    found = measured(View.of(halves(), mask=np.zeros((200, 400), dtype=np.uint8)))
    assert (found.product_scale, found.centre) == (None, None)


def test_two_colours_are_one_bit() -> None:
    assert measured(View.of(halves())).entropy == 1


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (3, 700), (1500, 900)])
def test_any_picture_is_measured_in_few_bytes(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    found = measured(View.of(picture, live=(0.123456, 0.2, 0.87654321, 0.9)))
    assert len(found.model_dump_json()) <= 600
    assert found == measured(View.of(picture, live=(0.123456, 0.2, 0.87654321, 0.9)))


def test_what_is_see_through_lies_on_white() -> None:
    clear = np.zeros((80, 80, 4), dtype=np.uint8)
    assert measured(View.of(clear)).colours == [("#ffffff", 1.0)]
