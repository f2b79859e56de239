import pytest
from PIL import Image
from pydantic import ValidationError

from services.postprocess.geometry import Point
from services.postprocess.operations import Frame, Materials, operations
from services.postprocess.pictures import Picture
from services.postprocess.pixels import pixels_of
from tests.postprocess.frames import applied, frame_of
from tests.postprocess.pictures import BLUE, GREEN, RED, WHITE, near, plain, with_spot


def seen(frame: Frame) -> Image.Image:
    return Image.fromarray(frame.pixels())


CROP: tuple[str, dict[str, object]] = ("crop", {})


@pytest.mark.parametrize("x", [0.1, 0.5, 0.9])
def test_a_square_of_a_wide_picture_keeps_what_matters(x: float) -> None:
    image = with_spot(400, 100, x=x, y=0.5)
    square = seen(applied(frame_of(image, (100, 100), focal=(x, 0.5)), CROP, ("resize", {})))
    assert square.size == (100, 100)
    assert any(square.getpixel((at, 50)) == RED for at in range(100))


def test_crop_takes_an_aspect_of_its_own() -> None:
    assert applied(frame_of(plain(400, 400), (10, 10)), ("crop", {"aspect": "2:1"})).size == (400, 200)


def test_crop_closes_in_until_the_product_fills_its_share() -> None:
    image = plain(400, 400, BLUE)
    image.paste(RED, (100, 100, 200, 200))
    frame = Frame.of(Picture(pixels_of(image)), wanted=(100, 100), live=(0.25, 0.25, 0.5, 0.5))
    square = seen(applied(frame, ("crop", {"fill": 0.8}), ("resize", {})))
    assert [square.getpixel((x, 50)) for x in (7, 12, 87, 93)] == [BLUE, RED, RED, BLUE]


def test_crop_touches_no_pixel() -> None:
    frame = frame_of(plain(400, 100), (100, 100))
    assert applied(frame, CROP).picture is frame.picture


def test_an_exact_resize_promises_its_size() -> None:
    frame = applied(frame_of(plain(400, 300), (200, 150)), ("resize", {}))
    assert (frame.size, frame.exact) == ((200, 150), True)


def test_resizing_inside_keeps_the_aspect_and_promises_only_a_bound() -> None:
    frame = applied(frame_of(plain(400, 200), (100, 100)), ("resize", {"mode": "inside"}))
    assert (frame.size, frame.exact) == ((100, 50), False)


def test_a_small_original_is_not_enlarged_unless_asked() -> None:
    frame = frame_of(plain(100, 100), (300, 300))
    assert applied(frame, ("resize", {})).size == (100, 100)
    assert applied(frame, ("resize", {"enlarge": 1.5})).size == (150, 150)
    assert applied(frame, ("resize", {"enlarge": 4})).size == (300, 300)


def test_a_picture_is_never_stretched_to_another_shape() -> None:
    assert applied(frame_of(plain(400, 200), (100, 100)), ("resize", {})).size == (100, 50)


def test_padding_lays_the_whole_picture_on_white() -> None:
    image = seen(applied(frame_of(plain(400, 200), (100, 100)), ("pad", {})))
    assert image.size == (100, 100)
    assert [image.getpixel((50, y)) for y in (5, 50, 95)] == [WHITE, RED, WHITE]


def test_padding_leaves_the_margin_it_is_told() -> None:
    image = seen(applied(frame_of(plain(200, 200), (100, 100)), ("pad", {"fill": 0.8})))
    assert [image.getpixel((x, 50)) for x in (9, 10, 89, 90)] == [WHITE, RED, RED, WHITE]


def test_padding_with_the_edge_colour_continues_the_ground() -> None:
    image = plain(200, 200, GREEN)
    image.paste(RED, (50, 50, 150, 150))
    padded = seen(applied(frame_of(image, (300, 100)), ("pad", {"background": "edge"})))
    assert near(padded.getpixel((2, 50)), GREEN, within=2)
    assert near(padded.getpixel((150, 50)), RED, within=2)


def test_what_is_see_through_shows_the_background_after_padding() -> None:
    image = plain(100, 100, (*BLUE, 0))
    padded = seen(applied(frame_of(image, (100, 100)), ("pad", {"background": "#1EA03C"})))
    assert padded.getpixel((50, 50)) == GREEN


def test_focal_point_and_live_area_move_with_the_pixels() -> None:
    frame = Frame.of(
        Picture(pixels_of(plain(400, 200))), wanted=(100, 100), focal=(0.75, 0.5), live=(0.7, 0.4, 0.8, 0.6)
    )
    moved = applied(frame, CROP, ("resize", {}), ("pad", {"fill": 0.5}))
    assert moved.focal == Point(50, 50)
    assert moved.live is not None and moved.live.centre == pytest.approx((50, 50))


def test_operations_can_follow_each_other_in_any_order() -> None:
    frame = applied(
        frame_of(plain(400, 200), (80, 80)), ("pad", {}), ("crop", {"aspect": "1:2"}), ("resize", {"mode": "inside"})
    )
    assert frame.size == (40, 80)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("crop", {"aspect": "wide"}),
        ("crop", {"gravity": "north"}),
        ("crop", {"fill": 1.5}),
        ("resize", {"mode": "stretch"}),
        ("resize", {"enlarge": 0.5}),
        ("resize", {"enlarge": 40}),
        ("pad", {"background": "white"}),
        ("pad", {"fill": 0}),
        ("pad", {"fill": "most"}),
        ("text", {"text": "subtitle"}),
        ("text", {"anchor": "north"}),
        ("text", {"colour": "rgb(0,0,0)"}),
        ("text", {"weight": 0}),
        ("logo", {"opacity": 0}),
        ("badge", {"height": 2}),
        ("watermark", {"text": {"en": "x" * 301}}),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        applied(frame_of(plain(), (10, 10)), (name, params))


# What every operation has to hold, from inside this tree or from outside it; overlays with something to lay.
DEFAULT = {"default": "Salt"}
EXAMPLES: dict[str, dict[str, object]] = {
    "text": {"text": DEFAULT, "least": 6, "scrim": "needed", "contrast": 21},
    "badge": {"text": DEFAULT, "least": 6, "height": 0.5, "width": 1},
    "watermark": {"text": DEFAULT},
}
BRAND = Materials(palette={"ink": "#24201D"}, marks={"logo": Picture(pixels_of(plain(9, 6, (*GREEN, 200))))})
every_operation = pytest.mark.parametrize("name", sorted(operations()))
every_shape = pytest.mark.parametrize("size", [(64, 64), (200, 10), (1, 300)])


def branded(image: Image.Image) -> Frame:
    return Frame.of(Picture(pixels_of(image)), wanted=(30, 20), materials=BRAND)


@every_operation
@every_shape
def test_an_operation_leaves_what_it_was_given_as_it_was(name: str, size: tuple[int, int]) -> None:
    image = with_spot(*size, x=0.5, y=0.5, radius=3)
    before = image.tobytes()
    frame = branded(image)
    window, focal = frame.window, frame.focal
    applied(frame, (name, EXAMPLES.get(name, {}))).pixels()
    assert frame.picture.full.tobytes() == before
    assert (frame.window, frame.focal) == (window, focal)


@every_operation
@every_shape
def test_an_operation_gives_the_same_pixels_each_time(name: str, size: tuple[int, int]) -> None:
    first, again = (
        applied(branded(with_spot(*size, x=0.3, y=0.5, radius=3)), (name, EXAMPLES.get(name, {}))).pixels()
        for _ in range(2)
    )
    assert first.shape == again.shape
    assert first.tobytes() == again.tobytes()


@every_operation
@every_shape
def test_an_operation_keeps_the_window_inside_its_picture(name: str, size: tuple[int, int]) -> None:
    frame = applied(branded(plain(*size)), (name, EXAMPLES.get(name, {})))
    box = frame.picture.box
    assert frame.window.within(box) == pytest.approx(frame.window)
    assert min(frame.size) >= 1


@every_operation
def test_an_operation_refuses_a_parameter_it_does_not_have(name: str) -> None:
    with pytest.raises(ValidationError, match="nonsense"):
        applied(frame_of(plain(), (10, 10)), (name, {"nonsense": 1}))
