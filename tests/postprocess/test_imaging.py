import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from services.postprocess import encoding
from services.postprocess.decoding import decode, inspect
from services.postprocess.encoding import Encoded, Format
from services.postprocess.geometry import Box
from services.postprocess.operations.pad import edge_colour
from services.postprocess.pictures import Picture
from services.postprocess.pixels import pixels_of
from shared.pictures import Limits, Refused
from tests.postprocess.pictures import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    grainy,
    near,
    plain,
    read,
    swapped_profile,
    with_spot,
    written,
)

LIMITS = Limits()
FORMATS: tuple[Format, ...] = ("jpeg", "png", "webp", "avif")


def decoded(data: bytes) -> Image.Image:
    return Image.fromarray(decode(data, LIMITS)[0].full)


def encode_within(image: Image.Image, format: Format, **wanted: int | None) -> Encoded:
    return encoding.encode_within(pixels_of(image), format, **wanted)  # type: ignore[arg-type]


def encode(image: Image.Image, format: Format, quality: int) -> Encoded:
    return encoding.encode(pixels_of(image), format, quality)


@pytest.mark.parametrize(
    ("format", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_the_three_formats_decode_and_say_what_they_are(format: str, media_type: str) -> None:
    picture, facts = decode(written(plain(40, 30), format), LIMITS)
    assert facts == (media_type, 40, 30)
    assert picture.full.shape == (30, 40, 3)
    assert near(picture.full[15, 20].tolist(), RED)


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PDF", "AVIF"])
def test_other_decoders_are_never_tried(format: str) -> None:
    with pytest.raises(Refused, match="no PNG, JPEG or WebP"):
        decode(written(plain(), format), LIMITS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_a_truncated_file_is_corrupt(format: str, share: float) -> None:
    data = written(grainy(), format)
    with pytest.raises(Refused):
        decode(data[: int(len(data) * share)], LIMITS)


@settings(max_examples=300, deadline=None)
@given(
    format=st.sampled_from(["PNG", "JPEG", "WEBP"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_whatever_is_changed_in_a_file_it_decodes_or_is_corrupt(format: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(written(plain(), format))
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        image = decoded(bytes(data))
    except Refused:
        return
    assert image.mode in {"RGB", "RGBA"}


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(Refused, match="bytes are more than the 10 a picture may have"):
        decode(written(plain()), Limits(bytes=10))


def test_a_bomb_is_refused_by_its_header() -> None:
    header = struct.pack("!IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack("!I", 13) + chunk + struct.pack("!I", zlib.crc32(chunk))
    with pytest.raises(Refused):
        decode(bomb + written(plain())[33:], LIMITS)


def test_more_pixels_than_the_limit_are_refused() -> None:
    with pytest.raises(Refused, match="64 × 64 pixels are more than 4,095"):
        decode(written(plain(64, 64)), Limits(pixels=4095))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_animation_is_refused(format: str) -> None:
    data = written(plain(), format, save_all=True, append_images=[plain(colour=BLUE)])
    with pytest.raises(Refused, match="animation"):
        decode(data, LIMITS)


def test_orientation_is_applied_and_forgotten() -> None:
    image = plain(40, 20)
    image.paste(BLUE, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown rotated clockwise
    upright = decoded(written(image, "JPEG", exif=exif, quality=95))
    assert upright.size == (20, 40)
    assert near(upright.getpixel((10, 5)), BLUE)
    assert near(upright.getpixel((10, 35)), RED)
    assert not upright.getexif()


def test_nothing_a_camera_or_editor_wrote_travels_into_a_derivative() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    image = decoded(written(plain(), "JPEG", exif=exif, comment=b"a secret note"))
    assert not any(b"secret" in encode(image, each, 80).data for each in FORMATS)


def test_a_foreign_colour_profile_is_converted_to_srgb() -> None:
    source, target = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(swapped_profile()))
    tagged = ImageCms.profileToProfile(plain(), source, target)
    assert tagged is not None and not near(tagged.getpixel((0, 0)), RED, within=3)
    assert near(decoded(written(tagged, "PNG", icc_profile=target.tobytes())).getpixel((0, 0)), RED, within=3)


@pytest.mark.parametrize("profile", [b"", b"rubbish", b"\x00" * 200])
def test_an_unreadable_profile_is_ignored(profile: bytes) -> None:
    assert near(decoded(written(plain(), "PNG", icc_profile=profile)).getpixel((0, 0)), RED, within=0)


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    image = Image.new("I;16", (8, 8), 32768)
    assert near(decoded(written(image)).getpixel((0, 0)), (127, 127, 127), within=1)


def test_cmyk_becomes_rgb() -> None:
    assert decoded(written(plain().convert("CMYK"), "JPEG")).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_a_png_becomes_rgb_where_nothing_is_see_through(mode: str) -> None:
    image = decoded(written(plain(colour=WHITE).convert(mode)))
    assert image.mode == "RGB"
    assert near(image.getpixel((0, 0)), WHITE, within=0)


def test_see_through_pixels_keep_their_alpha() -> None:
    assert decoded(written(plain(colour=(*RED, 100)))).getpixel((0, 0)) == (*RED, 100)


def test_jpeg_lays_what_is_see_through_on_white() -> None:
    image = plain(colour=(0, 0, 0, 0))
    assert near(read(encode(image, "jpeg", 90).data).getpixel((5, 5)), WHITE)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_picture_is_written_to_the_same_bytes(format: Format) -> None:
    image = grainy()
    first, again = encode(image, format, 80), encode(image.copy(), format, 80)
    assert first == again
    assert inspect(first.data) == (f"image/{format}", 256, 256)


def test_lossless_is_lossless() -> None:
    image = grainy()
    assert read(encode(image, "png", 1).data).tobytes() == image.tobytes()


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_the_budget_search_finds_the_best_quality_that_fits(format: Format) -> None:
    image = grainy()
    sizes = {quality: len(encode(image, format, quality).data) for quality in range(40, 91)}
    budget = (sizes[40] + sizes[90]) // 2
    best = encode_within(image, format, quality=90, floor=40, budget=budget)
    assert len(best.data) <= budget
    assert best.quality is not None and sizes[best.quality + 1] > budget


def test_a_budget_that_holds_at_once_costs_no_quality() -> None:
    image = plain()
    assert encode_within(image, "jpeg", quality=85, floor=40, budget=10**6) == encode(image, "jpeg", 85)


def test_an_impossible_budget_gives_the_floor() -> None:
    image = grainy()
    assert encode_within(image, "jpeg", quality=85, floor=40, budget=256) == encode(image, "jpeg", 40)


def test_lossless_files_have_no_quality_to_search() -> None:
    assert encode_within(plain(), "png", quality=85, floor=40, budget=1).quality is None


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    out=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    left=st.floats(0, 0.9),
    top=st.floats(0, 0.9),
)
def test_any_window_renders_at_any_size(width: int, height: int, out: tuple[int, int], left: float, top: float) -> None:
    image = Image.fromarray(
        Picture(pixels_of(plain(width, height))).render(Box(left * width, top * height, width, height), *out)
    )
    assert image.size == out
    assert image.getextrema() == tuple((value, value) for value in RED)  # no border of another colour creeps in


def test_the_pyramid_gives_what_resampling_the_full_picture_gives() -> None:
    image = with_spot(1000, 700, x=0.4, y=0.6, radius=90)
    box = Box(33.4, 12.25, 933.4, 612.25)
    ours = Picture(pixels_of(image)).render(box, 150, 100)
    theirs = image.resize((150, 100), Image.Resampling.LANCZOS, box=box)
    differences = [abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 0.5
    assert max(differences) < 64  # of 170 between disc and ground: an edge lies within half a pixel


def test_a_picture_asked_for_as_it_is_is_not_copied() -> None:
    picture = Picture(pixels_of(plain()))
    assert picture.render(picture.box, 64, 64) is picture.full


def test_the_edge_colour_is_that_of_the_outermost_pixels() -> None:
    image = plain(50, 50, GREEN)
    image.paste(RED, (1, 1, 49, 49))
    assert near(edge_colour(pixels_of(image)), GREEN, within=0)
