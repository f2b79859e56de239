"""Real child processes: what strangers send as a picture, what is kept of it, and what it is told."""

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from services.intake.pictures import Pictures
from shared.errors import Rejected
from tests.postprocess.pictures import BLUE, RED, grainy, near, plain, read, written

pytestmark = pytest.mark.live
GOOD = written(plain(40, 30))


async def refused(data: bytes, pictures: Pictures | None = None) -> Rejected:
    with pytest.raises(Rejected) as error:
        await (pictures or Pictures()).rewritten(data)
    assert error.value.what and error.value.remedy and error.value.where == "body"
    return error.value


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_becomes_a_png_of_ours_that_looks_the_same(format: str) -> None:
    made = await Pictures().rewritten(written(plain(40, 30, BLUE), format))
    picture = read(made.data)
    assert (made.width, made.height) == picture.size == (40, 30)
    assert picture.format == "PNG" and near(picture.getpixel((20, 15)), BLUE)


async def test_the_same_bytes_give_the_same_picture_whatever_was_written_beside_the_pixels() -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Author", "somebody")
    pictures = Pictures()
    first = await pictures.rewritten(GOOD)
    assert first == await pictures.rewritten(GOOD)
    assert first == await pictures.rewritten(written(plain(40, 30), pnginfo=words))


async def test_a_picture_is_turned_upright_and_says_nothing_of_who_took_it_where() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010F] = "a camera of somebody"
    exif.get_ifd(0x8825)[1] = "N"
    image = plain(40, 30)
    image.paste(BLUE, (0, 0, 20, 30))  # the left half, which is the upper one
    made = await Pictures().rewritten(written(image, "JPEG", exif=exif, comment=b"a secret", quality=95))
    picture = read(made.data)
    assert picture.size == (30, 40)
    assert near(picture.getpixel((15, 5)), BLUE, within=20) and near(picture.getpixel((15, 35)), RED, within=20)
    assert not picture.getexif() and not picture.info
    assert b"camera" not in made.data and b"secret" not in made.data


async def test_colours_of_another_profile_are_kept_as_they_look() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    made = await Pictures().rewritten(written(plain(8, 8), icc_profile=lab.tobytes()))
    assert near(read(made.data).getpixel((4, 4)), RED) and "icc_profile" not in read(made.data).info


async def test_a_see_through_picture_stays_so() -> None:
    made = await Pictures().rewritten(written(plain(8, 8, (10, 20, 30, 40))))
    assert read(made.data).getpixel((4, 4)) == (10, 20, 30, 40)


async def test_a_photograph_with_a_preview_behind_it_is_its_first_picture() -> None:
    both = written(plain(40, 30, BLUE), "MPO", save_all=True, append_images=[plain(8, 6)])
    assert (await Pictures().rewritten(both)).width == 40


@pytest.mark.parametrize("size", [(200_000, 200_000), (2**31 - 1, 1), (8000, 5001)])
async def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    assert (await refused(png_that_claims(*size))).code == "too_many_pixels"


async def test_a_text_that_unpacks_to_gigabytes_takes_nothing_with_it() -> None:
    text = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(200_000_000), 9))
    assert (await refused(GOOD[:33] + text + GOOD[33:])).code == "too_much_metadata"


async def test_forty_million_pixels_are_taken() -> None:
    made = await Pictures().rewritten(written(Image.new("RGB", (8000, 5000), RED)))
    assert (made.width, made.height) == (8000, 5000)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_a_truncated_picture_is_refused_as_damaged(format: str) -> None:
    whole = written(grainy(), format)
    assert (await refused(whole[: len(whole) // 2])).code == "damaged_picture"
    assert (await refused(whole[:20])).code == "damaged_picture"


@pytest.mark.parametrize(
    "data",
    [written(plain(), "GIF"), written(plain(), "BMP"), written(plain(), "TIFF"), b"<svg></svg>", b"\x00" * 100, b"a,b"],
    ids=["gif", "bmp", "tiff", "svg", "zeros", "csv"],
)
async def test_what_is_no_png_jpeg_or_webp_is_refused_whatever_it_is(data: bytes) -> None:
    assert (await refused(data)).code == "unsupported_media_type"


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF"])
async def test_an_animation_is_refused(format: str) -> None:
    moving = written(plain(), format, save_all=True, append_images=[plain(colour=BLUE), plain()])
    assert (await refused(moving)).code == ("unsupported_media_type" if format == "GIF" else "animated")


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("payload.sh", "rm -rf /")
    return out.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "other",
    [archive(), b"<html><script>alert(1)</script>", b"<?php system($_GET['c']);"],
    ids=["zip", "html", "php"],
)
async def test_a_picture_that_is_something_else_too_is_refused(format: str, other: bytes) -> None:
    assert (await refused(written(plain(), format) + other)).code == "disguised"


async def test_a_picture_that_is_a_pdf_too_is_refused() -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("a", "%PDF-1.7 ...")
    assert (await refused(written(plain(), pnginfo=words))).code == "disguised"


async def test_whatever_hangs_behind_a_picture_is_not_kept() -> None:
    made = await Pictures().rewritten(written(plain(), "JPEG") + b"a trailer of a phone, or of something worse")
    assert b"trailer" not in made.data


async def test_a_picture_that_takes_too_much_is_named_and_its_neighbours_go_on() -> None:
    pictures = Pictures(at_once=2, memory_mb=160)
    large, good = await asyncio.gather(
        refused(written(Image.new("RGBA", (8000, 5000))), pictures), pictures.rewritten(GOOD)
    )
    assert large.code == "too_much_memory" and good == await pictures.rewritten(GOOD)


async def test_a_picture_that_takes_too_long_is_named_and_leaves_no_process() -> None:
    pictures = Pictures(at_once=1, seconds=0.05)
    assert (await refused(GOOD, pictures)).code == "unreadable_picture"
    assert not children()


async def test_a_picture_that_takes_its_decoder_too_long_is_named_and_its_neighbours_go_on() -> None:
    pictures = Pictures(decode_seconds=0.1)
    large, good = await asyncio.gather(
        refused(written(Image.new("RGB", (8000, 5000))), pictures), pictures.rewritten(GOOD)
    )
    assert large.code == "too_slow" and "0.1 s" in large.what
    assert good.data


async def test_who_hangs_up_leaves_no_process_and_the_next_is_served() -> None:
    pictures = Pictures(at_once=1)
    gone = asyncio.create_task(pictures.rewritten(written(Image.new("RGB", (8000, 5000)))))
    os.kill(await at_work(), signal.SIGSTOP)  # it would not end by itself
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert not children()
    assert (await pictures.rewritten(GOOD)).data


async def test_a_decoder_that_is_killed_is_named() -> None:
    pictures = Pictures(at_once=1)
    doomed = asyncio.create_task(refused(written(Image.new("RGB", (8000, 5000))), pictures))
    os.kill(await at_work(), signal.SIGKILL)
    assert (await doomed).code == "unreadable_picture"
    assert (await pictures.rewritten(GOOD)).data


async def at_work() -> int:
    """The one child there is, once its decoder is loaded."""
    while not (found := children()) or "_imaging" not in Path(f"/proc/{found[0]}/maps").read_text():
        await asyncio.sleep(0)
    return found[0]


def children() -> list[int]:
    """The processes that this one has started to decode and that have not ended; other tests' servers are not meant."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(pid) for listing in found for pid in listing.read_text().split()]
    return [pid for pid in pids if b"picture" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_the_service_itself_loads_no_decoder() -> None:
    program = "import sys, services.intake.app; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
