import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from services.postprocess.containers import Unembeddable, with_xmp
from services.postprocess.xmp import packet
from shared.events import SourceType
from shared.pictures.png import chunk
from tests.postprocess.pictures import grainy, plain, read, written

SAID = packet(SourceType.COMPOSITE, alt_text='A "jar" & <lid>', caption="Öl 花", manifest="a" * 64, recipe="b" * 64)
OTHER = packet(SourceType.TRAINED, alt_text=None, caption=None, manifest="c" * 64, recipe=None)
EXIF = Image.Exif()
EXIF[0x010E] = "a scene"
SEE_THROUGH = plain(48, 31, (200, 30, 30, 120))


def files() -> Iterator[tuple[str, bytes]]:
    profile = b"p" * 301
    for name, image in {"opaque": grainy(48, 31), "see-through": SEE_THROUGH}.items():
        yield f"png {name}", written(image, "PNG")
        yield f"webp {name}", written(image, "WEBP")
        yield f"webp lossless {name}", written(image, "WEBP", lossless=True)
        yield f"webp profile {name}", written(image, "WEBP", icc_profile=profile)
        yield f"avif {name}", written(image, "AVIF", speed=10)
    yield "jpeg", written(grainy(48, 31), "JPEG")
    yield "jpeg profile", written(grainy(48, 31), "JPEG", icc_profile=profile, exif=EXIF)


FILES = dict(files())


def media_type(name: str) -> str:
    return f"image/{name.split(maxsplit=1)[0]}"


@pytest.mark.parametrize("name", FILES)
def test_a_file_carries_what_is_said_and_not_a_pixel_is_another(name: str) -> None:
    said = with_xmp(FILES[name], media_type(name), SAID)
    before, after = read(FILES[name]), read(said)
    assert after.info["xmp"] == SAID
    assert np.array_equal(np.asarray(before), np.asarray(after))
    assert (before.mode, before.info.get("icc_profile")) == (after.mode, after.info.get("icc_profile"))
    assert len(said) - len(FILES[name]) - len(SAID) <= 100


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("avif")])
def test_what_a_file_said_before_is_replaced(name: str) -> None:
    twice = with_xmp(with_xmp(FILES[name], media_type(name), OTHER), media_type(name), SAID)
    assert twice == with_xmp(FILES[name], media_type(name), SAID)


def test_jpeg_keeps_its_own_first_segments_first() -> None:
    said = with_xmp(FILES["jpeg profile"], "image/jpeg", SAID)
    names = [said[place + 4 : place + 8] for place in _segments(said)]
    assert names[:3] == [b"JFIF", b"Exif", b"http"]


def _segments(data: bytes) -> Iterator[int]:
    place = 2
    while data[place + 1] != 0xDA:
        yield place
        place += 2 + struct.unpack_from("!H", data, place + 2)[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_too_early_is_refused_or_carries_what_is_said(name: str) -> None:
    for end in range(0, min(len(FILES[name]), 400), 7):
        try:
            assert SAID in with_xmp(FILES[name][:end], media_type(name), SAID)
        except Unembeddable:
            continue


def test_what_is_no_picture_is_refused() -> None:
    for unknown in ("image/png", "image/jpeg", "image/webp", "image/avif", "image/gif", ""):
        with pytest.raises(Unembeddable):
            with_xmp(b"<html>" + bytes(100), unknown, SAID)


def test_too_much_for_a_jpeg_segment_is_refused() -> None:
    with pytest.raises(Unembeddable):
        with_xmp(FILES["jpeg"], "image/jpeg", bytes(65_600))


def test_however_long_the_words_they_fit_a_jpeg() -> None:
    long = packet(SourceType.TRAINED, alt_text="&" * 9000, caption="𝄞" * 9000, manifest="a" * 64, recipe="b" * 64)
    assert read(with_xmp(FILES["jpeg"], "image/jpeg", long)).info["xmp"] == long


def test_what_xml_cannot_say_is_left_out() -> None:
    assert b">ab<" in packet(SourceType.TRAINED, alt_text="a\x00\x0b\ufffeb", caption=None, manifest="", recipe=None)


def test_a_source_type_of_a_newer_release_is_not_said() -> None:
    assert b"DigitalSourceType" not in packet(SourceType.UNKNOWN, alt_text=None, caption=None, manifest="", recipe=None)


def test_a_chunk_ends_in_its_checksum() -> None:
    assert chunk(b"iTXt", b"x")[-4:] == struct.pack("!I", zlib.crc32(b"iTXtx"))


def test_an_avif_says_it_of_its_picture() -> None:
    said = with_xmp(FILES["avif opaque"], "image/avif", SAID)
    assert b"cdsc" in said and b"application/rdf+xml\0" in said
