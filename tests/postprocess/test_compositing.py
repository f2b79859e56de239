import numpy as np
import pytest

from services.postprocess.compositing import inked, stamped
from services.postprocess.pixels import Pixels

EVERY = np.arange(256, dtype=np.uint8)


def ground(height: int, width: int, *colour: int) -> Pixels:
    return np.full((height, width, len(colour)), colour, dtype=np.uint8)


def test_colours_mix_as_the_fraction_says_rounded_for_every_value_and_alpha() -> None:
    below = np.repeat(EVERY[:, None, None], 256, axis=1).repeat(3, axis=2)
    coverage = np.repeat(EVERY[None, :], 256, axis=0)
    made = inked(below, coverage, (200, 0, 255), left=0, top=0)
    share = coverage[..., None] / 255
    assert np.array_equal(made, np.floor(below * (1 - share) + np.array((200, 0, 255)) * share + 0.5).astype(np.uint8))


def test_see_through_over_see_through_keeps_straight_colours() -> None:
    made = stamped(ground(1, 1, 0, 0, 255, 128), ground(1, 1, 255, 0, 0, 128), [(0, 0)])
    red, green, blue, alpha = (int(value) for value in made[0, 0])
    assert alpha == 192 and green == 0 and abs(red - 170) <= 1 and abs(blue - 85) <= 1


def test_over_nothing_the_colour_is_its_own() -> None:
    made = stamped(ground(1, 1, 9, 9, 9, 0), ground(1, 1, 10, 20, 30, 40), [(0, 0)])
    assert made[0, 0].tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize(("left", "top", "touched"), [(-3, -3, 1), (8, 8, 4), (-9, 0, 0), (0, 40, 0), (3, 3, 16)])
def test_what_hangs_over_the_edge_is_cut_off(left: int, top: int, touched: int) -> None:
    made = stamped(ground(10, 10, 0, 0, 0), ground(4, 4, 255, 255, 255), [(left, top)])
    assert int((made[..., 0] == 255).sum()) == touched


def test_opacity_thins_what_is_laid() -> None:
    made = stamped(ground(2, 2, 0, 0, 0), ground(2, 2, 255, 255, 255), [(0, 0)], opacity=0.2)
    assert np.unique(made).tolist() == [51]


def test_a_tall_picture_is_mixed_in_bands_without_a_seam() -> None:
    made = inked(ground(600, 2, 10, 20, 30), np.full((600, 2), 100, dtype=np.uint8), (250, 250, 250), left=0, top=0)
    assert len(np.unique(made.reshape(-1, 3), axis=0)) == 1


def test_what_was_given_is_not_touched() -> None:
    below = ground(4, 4, 1, 2, 3)
    inked(below, np.full((4, 4), 255, dtype=np.uint8), (9, 9, 9), left=0, top=0)
    assert np.unique(below).tolist() == [1, 2, 3]
