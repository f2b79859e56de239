import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from services.postprocess import profiles
from services.postprocess.decoding import decode
from services.postprocess.encoding import Format, encode
from services.postprocess.operations import Frame, Materials
from services.postprocess.operations.colour import converted
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels, pixels_of
from services.postprocess.saliency import most_salient, salient
from shared.pictures import Limits
from tests.postprocess.frames import applied, frame_of
from tests.postprocess.pictures import BLUE, GREEN, RED, grainy, near, plain, read, with_spot, written

BONE = (0xF2, 0xEC, 0xE0)


def disc(size: int = 400, *, x: int = 200, y: int = 200, radius: int = 80) -> tuple[Image.Image, Picture]:
    """A red disc on a green ground, and its mask, both with soft edges."""
    big = Image.new("L", (4 * size, 4 * size))
    ImageDraw.Draw(big).ellipse(tuple(4 * side for side in (x - radius, y - radius, x + radius, y + radius)), fill=255)
    mask = big.resize((size, size), Image.Resampling.BOX)
    image = plain(size, size, GREEN)
    image.paste(RED, mask=mask)
    return image, Picture(pixels_of(mask))


# Saliency


@pytest.mark.parametrize("x", [0.15, 0.5, 0.85])
def test_nobody_said_where_to_look_and_the_crop_finds_the_one_thing_there_is(x: float) -> None:
    square = applied(frame_of(with_spot(400, 100, x=x, y=0.5), (100, 100)), ("crop", {}))
    assert square.window.left <= x * 400 <= square.window.right
    assert square.notes == (("crop", "by saliency"),)


def test_a_plain_picture_is_cut_in_the_middle() -> None:
    picture = Picture(pixels_of(plain(400, 100)))
    box = most_salient(salient(picture), picture.box, within=picture.box, width=100, height=100)
    assert box.centre == pytest.approx((200, 50), abs=8)


def test_what_somebody_said_counts_more_than_what_draws_the_eye() -> None:
    frame = frame_of(with_spot(400, 100, x=0.9, y=0.5), (100, 100), focal=(0.2, 0.5))
    assert applied(frame, ("crop", {})).window.centre.x == 80


# Cut-out and canvas


def test_a_product_is_cut_out_along_the_shape_that_came_with_the_image() -> None:
    image, mask = disc()
    made = applied(frame_of(image, (100, 100), mask=mask), ("cut-out", {}))
    assert (made.pixels()[..., 3] == mask.full).all()
    assert made.notes == (("cut-out", "shape"),)
    assert made.verdicts == ()


def test_no_rim_of_the_old_ground_is_left_around_what_is_cut_out() -> None:
    image, mask = disc()
    pixels = applied(frame_of(image, (100, 100), mask=mask), ("cut-out", {})).pixels()
    rim = (mask.full > 60) & (mask.full < 250)
    assert rim.sum() > 200
    assert np.abs(pixels[rim][:, :3].astype(int) - RED).mean() < 8
    assert np.abs(np.asarray(image)[rim].astype(int) - RED).mean() > 20  # as it was


def test_without_a_shape_the_product_is_found_and_a_person_is_told_to_look() -> None:
    image, mask = disc()
    made = applied(frame_of(image, (100, 100), live=(0.3, 0.3, 0.7, 0.7)), ("cut-out", {}))
    found, true = made.pixels()[..., 3] > 127, mask.full > 127
    assert (found & true).sum() / (found | true).sum() > 0.97
    (verdict,) = made.verdicts
    assert verdict.ok
    assert "look at its edge" in verdict.sentence


def test_what_stands_right_behind_the_product_is_ground_however_little_of_the_picture_it_takes() -> None:
    image, mask = disc(600, x=150, y=450, radius=45)
    wall = Image.new("RGB", image.size, BONE)
    wall.paste(GREEN, (0, 0, 200, 600))
    wall.paste(BLUE, (200, 0, 400, 600))
    wall.paste((235, 190, 70), (80, 380, 220, 520))  # an arch, a little wider than the box
    wall.paste(image, mask=Image.fromarray(mask.full))
    made = applied(frame_of(wall, (100, 100), live=(0.15, 0.65, 0.35, 0.85)), ("cut-out", {}))
    found, true = made.pixels()[..., 3] > 127, mask.full > 127
    assert (found & true).sum() / (found | true).sum() > 0.97


def test_a_shape_that_is_hardly_a_product_fails_its_check() -> None:
    mask = Picture(np.zeros((400, 400), dtype=np.uint8))
    (verdict,) = applied(frame_of(disc()[0], (100, 100), mask=mask), ("cut-out", {})).verdicts
    assert not verdict.ok
    assert verdict.number == 0


def test_a_recipe_may_take_no_shape_but_the_one_that_came() -> None:
    made = applied(frame_of(disc()[0], (100, 100)), ("cut-out", {"by": "shape"}))
    assert not made.verdicts[0].ok
    assert made.pixels().shape[2] == 3


def test_a_canvas_lays_the_product_on_a_colour_of_the_brand() -> None:
    image, mask = disc(x=120)
    frame = frame_of(image, (200, 200), mask=mask, materials=Materials(palette={"bone": "#F2ECE0"}))
    pixels = applied(frame, ("cut-out", {}), ("canvas", {"background": "bone", "fill": 0.5})).pixels()
    assert pixels.shape == (200, 200, 3)
    assert [tuple(pixels[100, x]) for x in (5, 45, 155)] == [BONE] * 3
    assert all(near(pixels[100, x].tolist(), RED, within=2) for x in (55, 100, 145))


@pytest.mark.parametrize(("locale", "column"), [("en", 150), ("ar", 50)])
def test_the_product_stands_where_it_is_told_at_the_end_of_the_line_that_people_read(locale: str, column: int) -> None:
    image, mask = disc()
    frame = frame_of(image, (200, 100), mask=mask, materials=Materials(locale=locale))
    made = applied(frame, ("cut-out", {}), ("canvas", {"fill": 0.5, "anchor": "end"}))
    reds = np.argwhere(made.pixels()[..., 1] < 100)
    assert reds[:, 1].mean() == pytest.approx(column, abs=2)
    assert made.mask is not None
    assert np.argwhere(made.mask.full > 127)[:, 1].mean() == pytest.approx(reds[:, 1].mean(), abs=1)


def test_a_colour_that_the_brand_lacks_is_told_and_leaves_the_ground_white() -> None:
    image, mask = disc()
    made = applied(frame_of(image, (100, 100), mask=mask), ("cut-out", {}), ("canvas", {"background": "plum"}))
    assert tuple(made.pixels()[2, 2]) == (255, 255, 255)
    assert [(verdict.check, verdict.ok) for verdict in made.verdicts] == [("canvas", False)]


def test_a_shadow_lies_under_the_product_and_nowhere_else() -> None:
    image, mask = disc()
    frame = frame_of(image, (200, 200), mask=mask)
    pixels = applied(frame, ("cut-out", {}), ("canvas", {"fill": 0.5, "shadow": 0.6})).pixels()
    assert pixels[152, 100].max() < 200
    assert pixels[20, 100].min() == 255


def test_a_blurred_ground_has_the_pictures_own_colours() -> None:
    frame = applied(frame_of(plain(400, 200, BLUE), (100, 100)), ("canvas", {"background": "blur"}))
    assert near(frame.pixels()[3, 50].tolist(), BLUE, within=2)


# Upscale and sharpen


def test_what_was_upscaled_shrinks_back_to_what_it_was() -> None:
    image = grainy(120, 120)
    made = applied(frame_of(image, (240, 240)), ("upscale", {})).pixels()
    back = cv2.resize(made, (120, 120), interpolation=cv2.INTER_AREA).astype(int)
    plainly = cv2.resize(pixels_of(image), (240, 240), interpolation=cv2.INTER_CUBIC)
    without = cv2.resize(plainly, (120, 120), interpolation=cv2.INTER_AREA).astype(int)
    original = pixels_of(image).astype(int)
    assert np.abs(back - original).mean() < 0.35 * np.abs(without - original).mean()


def test_what_is_large_enough_is_not_upscaled() -> None:
    frame = frame_of(plain(400, 400), (200, 200))
    assert applied(frame, ("upscale", {})) is frame


def test_upscaling_ends_at_its_factor() -> None:
    assert applied(frame_of(plain(100, 100), (1000, 1000)), ("upscale", {"factor": 3})).size == (300, 300)


def test_sharpening_steepens_an_edge_and_leaves_flat_and_grain_alone() -> None:
    image = plain(200, 200, BLUE)
    image.paste((240, 240, 240), (60, 60, 140, 140))
    soft = np.asarray(cv2.GaussianBlur(pixels_of(image), (0, 0), 1), np.uint8)
    frame = Frame.of(Picture(soft), wanted=(200, 200))
    sharp = applied(frame, ("sharpen", {"amount": 1})).pixels()
    assert _steepest(sharp) > 1.1 * _steepest(soft)
    assert (sharp[:20] == soft[:20]).all()
    grain = soft[:20] ^ np.random.default_rng(1).integers(0, 2, soft[:20].shape, dtype=np.uint8)
    assert (applied(Frame.of(Picture(grain), wanted=(9, 9)), ("sharpen", {})).pixels() == grain).all()


def _steepest(pixels: Pixels) -> float:
    return float(np.abs(np.diff(pixels[100].astype(int).sum(axis=1))).max())


# Colour


@pytest.mark.parametrize("profile", [profiles.srgb(), profiles.display_p3()])
def test_a_profile_written_by_hand_is_one_that_lcms_reads(profile: bytes) -> None:
    found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    assert ImageCms.getProfileDescription(found).strip() in {"sRGB", "Display P3"}
    assert ImageCms.isIntentSupported(found, ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Direction.INPUT) == 1


def test_our_srgb_is_the_srgb_of_lcms() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    theirs = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(converted(pixels, profiles.srgb(), theirs).astype(int) - pixels).max() <= 1


def test_display_p3_has_other_numbers_for_the_same_colour() -> None:
    # Pure red of sRGB in Display P3, by the two matrices: 0.9175, 0.2003, 0.1386.
    pixels = np.array([[[255, 0, 0]]], dtype=np.uint8)
    assert converted(pixels, profiles.srgb(), profiles.display_p3())[0, 0].tolist() == pytest.approx(
        (234, 51, 35), abs=1
    )


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
def test_a_file_in_another_colour_space_carries_its_profile(format: Format) -> None:
    frame = applied(frame_of(plain(), (64, 64)), ("colour", {"profile": "display-p3"}), ("resize", {}))
    data = encode(frame.pixels(), format, 95, profile=frame.picture.profile).data
    assert read(data).info["icc_profile"] == profiles.display_p3()


def test_the_originals_own_colours_are_kept_where_a_recipe_asks() -> None:
    data = written(plain(colour=(234, 51, 35)), "PNG", icc_profile=profiles.display_p3())
    picture, _ = decode(data, Limits(), wide=True)
    assert near(picture.full[5, 5].tolist(), (255, 0, 0), within=2)
    kept = applied(Frame.of(picture, wanted=(64, 64)), ("colour", {"profile": "keep"}))
    assert kept.pixels()[5, 5].tolist() == [234, 51, 35]
    assert kept.picture.profile == profiles.display_p3()


def test_a_file_in_srgb_says_so_unless_told_not_to() -> None:
    frame = frame_of(plain(), (64, 64))
    assert applied(frame, ("colour", {})).picture.profile == profiles.srgb()
    assert applied(frame, ("colour", {"embed": False})).picture.profile is None
