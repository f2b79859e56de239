import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.postprocess.geometry import Box, Point, crop_to_aspect, fit_inside
from shared.library.operations import parse_aspect

sides = st.integers(1, 8192)
fractions = st.floats(0, 1)


@given(width=sides, height=sides, aspect=st.floats(0.02, 50), x=fractions, y=fractions)
def test_a_crop_lies_inside_has_its_aspect_and_touches_two_edges(
    width: int, height: int, aspect: float, x: float, y: float
) -> None:
    window = Box(0, 0, width, height)
    cut = crop_to_aspect(window, aspect, focal=Point(x * width, y * height))
    assert cut.width / cut.height == pytest.approx(aspect, rel=1e-6)
    assert cut.left >= -1e-6 and cut.top >= -1e-6
    assert cut.right <= width + 1e-6 and cut.bottom <= height + 1e-6
    assert cut.width == pytest.approx(width) or cut.height == pytest.approx(height)


@given(width=sides, height=sides, aspect=st.floats(0.02, 50), x=fractions, y=fractions)
def test_a_crop_never_loses_the_focal_point(width: int, height: int, aspect: float, x: float, y: float) -> None:
    focal = Point(x * width, y * height)
    cut = crop_to_aspect(Box(0, 0, width, height), aspect, focal=focal)
    assert cut.left - 1e-6 <= focal.x <= cut.right + 1e-6
    assert cut.top - 1e-6 <= focal.y <= cut.bottom + 1e-6


@given(
    aspect=st.floats(0.1, 10), x=fractions, y=fractions, corners=st.tuples(fractions, fractions, fractions, fractions)
)
def test_a_live_area_that_fits_is_never_cut(
    aspect: float, x: float, y: float, corners: tuple[float, float, float, float]
) -> None:
    left, right = sorted((corners[0] * 1000, corners[2] * 1000))
    top, bottom = sorted((corners[1] * 800, corners[3] * 800))
    live = Box(left, top, right, bottom)
    cut = crop_to_aspect(Box(0, 0, 1000, 800), aspect, focal=Point(x * 1000, y * 800), live=live)
    if live.width <= cut.width:
        assert cut.left - 1e-6 <= live.left and live.right <= cut.right + 1e-6
    if live.height <= cut.height:
        assert cut.top - 1e-6 <= live.top and live.bottom <= cut.bottom + 1e-6


def test_a_crop_is_centred_on_the_focal_point_where_edges_allow_it() -> None:
    cut = crop_to_aspect(Box(0, 0, 1000, 500), 1.0, focal=Point(600, 10))
    assert cut == Box(350, 0, 850, 500)


def test_a_live_area_too_wide_for_the_crop_keeps_its_middle() -> None:
    cut = crop_to_aspect(Box(0, 0, 1000, 500), 1.0, focal=Point(900, 250), live=Box(100, 0, 800, 500))
    assert cut.centre.x == 450


@given(aspect=st.floats(0.2, 5), fill=st.floats(0.2, 1), left=st.floats(0, 0.8), top=st.floats(0, 0.8))
def test_closing_in_gives_the_live_area_its_share_as_far_as_the_picture_reaches(
    aspect: float, fill: float, left: float, top: float
) -> None:
    window, live = Box(0, 0, 1000, 800), Box(left * 1000, top * 800, left * 1000 + 100, top * 800 + 120)
    cut = crop_to_aspect(window, aspect, focal=Point(0, 0), live=live, fill=fill)
    widest = crop_to_aspect(window, aspect, focal=Point(0, 0))
    share = max(live.width / cut.width, live.height / cut.height)
    assert share == pytest.approx(fill) or (share > fill and cut.width == pytest.approx(widest.width))
    assert cut.width / cut.height == pytest.approx(aspect)
    assert cut.within(window) == pytest.approx(cut)
    if share <= 1:
        assert live.within(cut) == pytest.approx(live)


def test_without_a_live_area_there_is_nothing_to_close_in_on() -> None:
    window = Box(0, 0, 1000, 800)
    assert crop_to_aspect(window, 1.0, focal=Point(500, 400), fill=0.5).width == 800


@given(width=sides, height=sides, bound_width=sides, bound_height=sides)
def test_fitting_inside_keeps_the_bound_and_never_enlarges(
    width: int, height: int, bound_width: int, bound_height: int
) -> None:
    fitted = fit_inside(width, height, within=(bound_width, bound_height))
    assert 1 <= fitted[0] <= min(width, bound_width)
    assert 1 <= fitted[1] <= min(height, bound_height)


def test_enlarging_stops_at_its_factor() -> None:
    assert fit_inside(100, 50, within=(1000, 1000), enlarge=1.5) == (150, 75)


@pytest.mark.parametrize("text", ["", "4", "4:", ":5", "4:0", "0:4", "-4:5", "a:b", "nan:1", "1:inf", "4:5:6"])
def test_what_is_no_aspect_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no aspect ratio"):
        parse_aspect(text)


def test_an_aspect_is_width_over_height() -> None:
    assert parse_aspect("4:5") == 0.8
