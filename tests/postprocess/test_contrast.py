import numpy as np
import pytest

from services.postprocess.contrast import BLACK, clearest, contrast, sampled
from services.postprocess.pixels import WHITE, Colour, Pixels, colour_of


def ground(*colours: Colour) -> Pixels:
    return np.array([colours], dtype=np.uint8)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#FFFFFF", 21),
        ("#767676", "#FFFFFF", 4.54),
        ("#777777", "#FFFFFF", 4.48),
        ("#FF0000", "#0000FF", 2.15),
    ],
)
def test_contrast_is_that_of_wcag_either_way_round(one: str, other: str, ratio: float) -> None:
    assert contrast(colour_of(one), ground(colour_of(other))) == pytest.approx(ratio, abs=0.01)
    assert contrast(colour_of(other), ground(colour_of(one))) == pytest.approx(ratio, abs=0.01)


def test_what_is_see_through_is_taken_to_lie_on_white() -> None:
    assert contrast((0, 0, 0), np.zeros((1, 1, 4), dtype=np.uint8)) == pytest.approx(21, abs=0.01)


def test_one_pixel_in_twenty_may_be_worse_and_no_more() -> None:
    white, black = [(255, 255, 255)], [(0, 0, 0)]
    assert contrast((0, 0, 0), ground(*white * 96, *black * 4)) == pytest.approx(21, abs=0.01)
    assert contrast((0, 0, 0), ground(*white * 94, *black * 6)) == 1


def test_a_colour_of_ones_own_is_taken_where_it_is_clear_enough_and_the_clearest_of_all_where_not() -> None:
    own = colour_of("#2E4B52"), colour_of("#C9CFCB")
    assert clearest(own, ground((255, 255, 255)), wanted=4.5) == own[0]
    assert clearest(own, ground((255, 255, 255)), wanted=12) == BLACK
    assert clearest((), ground((0, 0, 0)), wanted=4.5) == WHITE


def test_a_large_area_is_looked_at_on_an_even_grid() -> None:
    pixels = np.zeros((1000, 1000, 3), dtype=np.uint8)
    pixels[:, 500:] = 255
    found = sampled(pixels, np.ones((1000, 1000), dtype=bool))
    assert 10_000 < found.shape[1] < 40_000 and found.mean() == pytest.approx(127.5, abs=1)
