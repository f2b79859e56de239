"""JPEGs of every kind that Pillow writes, and by hand what it does not."""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.postprocess.corpus.cases import Case, Decodes, Pixels, ramp, refused
from tests.postprocess.corpus.chunks import bounds, exif, of_jpeg, place_of, segment, with_segments
from tests.postprocess.corpus.pngs import upright
from tests.postprocess.pictures import written

NEAR = 16  # what JPEG may change
SOF, SOS, DQT, EOI = 0xC0, 0xDA, 0xDB, b"\xff\xd9"


def jpeg(pixels: Pixels | None = None, **options: Any) -> bytes:
    told = {"quality": 95, "subsampling": 0, **options}
    return written(Image.fromarray(ramp() if pixels is None else pixels), "JPEG", **told)


def small() -> bytes:
    """What others are made from."""
    return jpeg()


def good() -> Iterator[Case]:
    expected = Decodes(ramp(), NEAR)
    data = small()
    kinds: dict[str, dict[str, Any]] = {
        "4:4:4": {},
        "4:2:2": {"subsampling": 1},
        "4:2:0": {"subsampling": 2},
        "progressive": {"progressive": True},
        "progressive, 4:2:0": {"progressive": True, "subsampling": 2},
        "tables of its own": {"optimize": True},
        "restarts": {"restart_marker_blocks": 1},
        "restarts by rows, progressive": {"restart_marker_rows": 1, "progressive": True},
        "RGB as it is": {"keep_rgb": True},
    }
    for name, options in kinds.items():
        yield Case(f"jpeg: {name}", jpeg(**options), expected)
    for width, height in ((1, 1), (7, 9), (8, 8), (17, 1), (1, 17), (33, 31)):
        flat = np.full((height, width, 3), (90, 140, 60), np.uint8)
        yield Case(f"jpeg: {width} × {height}", jpeg(flat, subsampling=2), Decodes(flat, 4))
    grey = np.repeat(ramp()[..., :1], 3, axis=2)
    yield Case("jpeg: grey", jpeg(ramp()[..., 0]), Decodes(grey, NEAR))
    progressive_grey = jpeg(ramp()[..., 0], progressive=True)
    yield Case("jpeg: grey, progressive", progressive_grey, Decodes(grey, NEAR))
    beside = {
        "a comment": segment(0xFE, b"some words"),
        "sixteen segments of programs": b"".join(segment(marker, b"some") for marker in range(0xE0, 0xF0)),
        "an empty segment": segment(0xE5),
        "a thumbnail in JFXX": segment(0xE0, b"JFXX\0\x10" + data),
        "a picture in EXIF": segment(0xE1, b"Exif\0\0" + exif(1) + data),
        "fill bytes": b"\xff" * 40,
        "bytes between segments": segment(0xFE, b"a") + b"\0some\0",
        "a profile that lacks a part": segment(0xE2, b"ICC_PROFILE\0\2\2" + bytes(200)),
        "a profile that is none": segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(200)),
        "EXIF that is none": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "EXIF with 65,535 entries": segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60_000)),
        "an orientation of four bytes": segment(0xE1, b"Exif\0\0" + exif(6, size=4)),
    }
    for name, parts in beside.items():
        yield Case(f"jpeg: {name}", with_segments(data, parts), expected)
    yield Case("jpeg: something behind its end", data + b"a trailer of a phone", expected)
    yield Case("jpeg: another behind its end", data + jpeg(np.zeros((8, 8, 3), np.uint8)), expected)
    second = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    two = written(Image.fromarray(ramp()), "MPO", save_all=True, append_images=[second], quality=95, subsampling=0)
    yield Case("mpo: two pictures", two, expected)
    half = data[: (place_of(data, SOS) + len(data)) // 2] + EOI
    yield Case("jpeg: an end after half of its pixels", half, Decodes(None))  # grey from there, as in a browser
    yield from _inks()


def _inks() -> Iterator[Case]:
    """Four channels, as Adobe writes them: inverted. Without a profile they are what Pillow takes them for."""
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0], inks[..., 3] = 200, 30
    bare = np.round((255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:]) / 255).astype(np.uint8)
    image = Image.frombytes("CMYK", (16, 16), inks.tobytes())
    yield Case("jpeg: CMYK", written(image, "JPEG", quality=98, subsampling=0), Decodes(bare, NEAR))
    # The same as YCCK: brightness and colour of what cyan, magenta and yellow would be as red, green and blue.
    luma = Image.frombytes("RGB", (16, 16), inks[..., :3].tobytes()).convert("YCbCr")
    stored = np.dstack([np.asarray(luma), 255 - inks[..., 3]])
    turned = Image.frombytes("CMYK", (16, 16), (255 - stored).tobytes())
    data = bytearray(written(turned, "JPEG", quality=98, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    yield Case("jpeg: YCCK", bytes(data), Decodes(bare, NEAR))


def turned() -> Iterator[Case]:
    for orientation in range(9):
        block = segment(0xE1, b"Exif\0\0" + exif(orientation, order="<>"[orientation % 2]))
        expected = Decodes(upright(ramp(), orientation), NEAR)
        yield Case(f"jpeg: EXIF orientation {orientation}", with_segments(small(), block), expected)


def bad() -> Iterator[Case]:
    data = small()
    for progressive in (False, True):
        kind = ", progressive" * progressive
        whole = jpeg(progressive=progressive)
        for cut in bounds(whole):
            code = "damaged_picture" if cut >= 3 else "unsupported_media_type"
            yield refused(f"jpeg: cut at {cut}{kind}", whole[:cut], code)
    at = place_of(data, SOF)
    for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF):
        yield refused(
            f"jpeg: SOF{marker - 0xC0}", data[: at + 1] + bytes([marker]) + data[at + 2 :], "unsupported_coding"
        )
    yield refused("jpeg: hierarchical", with_segments(data, segment(0xDE, bytes(6))), "unsupported_coding")
    frames = {
        "12 bits": (_frame(depth=12), "unsupported_coding"),
        "two channels": (_frame(channels=2), "unsupported_coding"),
        "five channels": (_frame(channels=5), "unsupported_coding"),
        "no channels": (_frame(channels=0), "unsupported_coding"),
        "no height": (_frame(height=0), "damaged_picture"),
        "no width": (_frame(width=0), "damaged_picture"),
        "a header of three bytes": (segment(SOF, b"\x08\0\x10"), "damaged_picture"),
        "a header shorter than its channels": (segment(SOF, b"\x08\0\x10\0\x18\3\1\x11\0"), "damaged_picture"),
        "a sampling of none": (_frame(sampling=0), "damaged_picture"),
        "65,500 × 65,500": (_frame(65_500, 65_500), "too_many_pixels"),
        "8000 × 5001": (_frame(8000, 5001), "too_many_pixels"),
        "40,000 × 1000": (_frame(40_000, 1000), "too_many_pixels"),
        "40 million pixels out of few bytes": (_frame(8000, 5000), "damaged_picture"),
    }
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    for name, (frame, code) in frames.items():
        yield refused(f"jpeg: {name}", data[:at] + frame + data[end:], code)
    yield refused("jpeg: two headers", data[:at] + data[at:end] * 2 + data[end:])
    yield refused("jpeg: no header", data[:at] + data[end:])
    yield refused("jpeg: no end", data[:-2])
    yield refused("jpeg: no pixels", data[: place_of(data, SOS)] + EOI)
    tables = place_of(data, DQT)
    yield refused("jpeg: no tables", data[:tables] + data[tables + 4 + 65 - 2 + 2 :])
    yield refused("jpeg: a segment of length 1", with_segments(data, b"\xff\xe5\0\1"))
    yield refused("jpeg: a segment that reaches beyond", with_segments(data, b"\xff\xe5\xff\xff"))


def _frame(width: int = 24, height: int = 16, *, depth: int = 8, channels: int = 3, sampling: int = 0x11) -> bytes:
    body = struct.pack("!BHHB", depth, height, width, channels)
    return segment(SOF, body + b"".join(bytes([number + 1, sampling, 0]) for number in range(channels)))


def bombs() -> Iterator[Case]:
    data = small()
    progressive = jpeg(progressive=True)
    parts = of_jpeg(progressive)
    scans = progressive[parts[-1][0] : -2]
    again = progressive[: parts[-1][0]] + scans + scans[: scans.index(b"\xff\xc4", 4)] * 200 + EOI
    yield refused("jpeg bomb: hundreds of scans", again, "too_slow")
    numbered = [segment(0xE2, b"ICC_PROFILE\0" + bytes([n + 1, 80]) + bytes(60_000)) for n in range(80)]
    yield refused("jpeg bomb: a profile of 5 MB", with_segments(data, *numbered), "too_much_metadata")
    yield refused("jpeg bomb: 70,000 segments", with_segments(data, *[segment(0xE5)] * 70_000), "too_much_metadata")
    comments = [segment(0xFE, bytes(65_000))] * 270
    yield refused("jpeg bomb: 17 MB of comments", with_segments(data, *comments), "too_much_metadata")
