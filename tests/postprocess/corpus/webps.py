"""WebPs of every kind that libwebp writes, and by hand what it does not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.postprocess.corpus.cases import Case, Decodes, Pixels, ramp, refused
from tests.postprocess.corpus.chunks import bounds, exif, extended, of_webp, riff, webp_of
from tests.postprocess.corpus.pngs import upright
from tests.postprocess.pictures import written

NEAR = 24  # what lossy WebP may change: it halves the colours


def webp(pixels: Pixels | None = None, **options: Any) -> bytes:
    return written(Image.fromarray(ramp() if pixels is None else pixels), "WEBP", **options)


def small() -> bytes:
    """What others are made from."""
    return webp(lossless=True)


def see_through() -> Pixels:
    return np.dstack([ramp(), np.tile(np.arange(24, dtype=np.uint8) * 10, (16, 1))])


def good() -> Iterator[Case]:
    yield Case("webp: lossless", small(), Decodes(ramp(), 0))
    yield Case("webp: lossy", webp(quality=95), Decodes(ramp(), NEAR))
    clear = see_through()
    yield Case("webp: lossless, see-through", webp(clear, lossless=True, exact=True), Decodes(clear, 0))
    lossy = webp(np.dstack([np.full((16, 24, 3), 120, np.uint8), clear[..., 3]]), quality=95)
    yield Case(
        "webp: lossy, see-through",
        lossy,
        Decodes(np.dstack([np.full((16, 24, 3), 120), clear[..., 3]]).astype(np.uint8), 4),
    )
    yield Case("webp: 1 × 1", webp(ramp(1, 1), lossless=True), Decodes(ramp(1, 1), 0))
    (kind, body), *_ = of_webp(small())
    start, pixels = extended(0, 24, 16), riff(kind, body)
    beside = {
        "nothing beside": (start, pixels),
        "XMP": (extended(4, 24, 16), pixels, riff(b"XMP ", b"<x:xmpmeta/>")),
        "EXIF that is none": (extended(8, 24, 16), pixels, riff(b"EXIF", b"rubbish")),
        "a profile that is none": (extended(32, 24, 16), riff(b"ICCP", bytes(200)), pixels),
        "a chunk that nobody knows": (start, riff(b"junk", b"odd"), pixels, riff(b"more", b"")),
        "flags of everything, and nothing there": (extended(0x3C, 24, 16), pixels),
    }
    for name, parts in beside.items():
        yield Case(f"webp: {name}", webp_of(*parts), Decodes(ramp(), 0))
    yield Case("webp: something behind its end", small() + b"a trailer", Decodes(ramp(), 0))


def turned() -> Iterator[Case]:
    (kind, body), *_ = of_webp(small())
    for orientation in range(9):
        block = riff(b"EXIF", exif(orientation, order="<>"[orientation % 2]))
        data = webp_of(extended(8, 24, 16), riff(kind, body), block)
        yield Case(f"webp: EXIF orientation {orientation}", data, Decodes(upright(ramp(), orientation), 0))


def bad() -> Iterator[Case]:
    (kind, body), *_ = of_webp(small())
    (_, lossy), *_ = of_webp(webp(quality=90))
    pixels = riff(kind, body)
    for whole in (webp(see_through(), quality=90), small()):
        for cut in bounds(whole):
            code = "damaged_picture" if cut >= 12 else "unsupported_media_type"
            yield refused(f"webp: cut at {cut} of {len(whole)}", whole[:cut], code)
    moving: dict[str, dict[str, Any]] = {"lossless": {"lossless": True}, "lossy": {"quality": 50}}
    frames = [Image.fromarray(255 - ramp()), Image.fromarray(ramp() // 2)]
    for name, options in moving.items():
        data = written(Image.fromarray(ramp()), "WEBP", save_all=True, append_images=frames, **options)
        yield refused(f"webp: three frames, {name}", data, "animated")
    yield refused("webp: pixels that say they are larger", webp_of(extended(0, 24, 16), _larger(body, 25, 16)))
    yield refused("webp: a header that says it is larger", webp_of(extended(0, 25, 16), pixels))
    yield refused("webp: a header that is cut short", webp_of(riff(b"VP8X", bytes(4)), pixels))
    yield refused("webp: two pictures", webp_of(extended(0, 24, 16), pixels, pixels))
    yield refused("webp: no picture", webp_of(extended(0, 24, 16)))
    yield refused("webp: nothing", webp_of())
    yield refused("webp: a lossless picture with another beginning", webp_of(riff(b"VP8L", b"\0" + body[1:])))
    yield refused(
        "webp: a lossy picture with another beginning", webp_of(riff(b"VP8 ", lossy[:3] + bytes(3) + lossy[6:]))
    )
    yield refused("webp: a lossy picture of no width", webp_of(riff(b"VP8 ", lossy[:6] + b"\0\0" + lossy[8:])))
    yield refused("webp: half its pixels", webp_of(riff(kind, body[: len(body) // 2])))
    yield refused("webp: half its pixels, lossy", webp_of(riff(b"VP8 ", lossy[: len(lossy) // 2])))
    yield refused("webp: rubbish for pixels", webp_of(riff(kind, body[:5] + b"\xa5" * 200)))
    whole = small()
    yield refused("webp: a length that reaches beyond", whole[:4] + b"\xff\xff\xff\xff" + whole[8:])
    yield refused("webp: a length of nothing", whole[:4] + bytes(4) + whole[8:])
    yield refused("webp: a chunk that reaches beyond", whole[:16] + b"\xff\xff\xff\x7f" + whole[20:])


def _larger(body: bytes, width: int, height: int) -> bytes:
    bits = int.from_bytes(body[1:5], "little") & ~0xFFFFFFF | (width - 1) | (height - 1) << 14
    return riff(b"VP8L", body[:1] + bits.to_bytes(4, "little") + body[5:])


def bombs() -> Iterator[Case]:
    (_, body), *_ = of_webp(small())
    (_, lossy), *_ = of_webp(webp(quality=90))
    yield refused("webp bomb: 16,384 × 16,384", webp_of(_larger(body, 16_384, 16_384)), "too_many_pixels")
    sides = (16_383).to_bytes(2, "little") * 2
    yield refused(
        "webp bomb: 16,383 × 16,383, lossy", webp_of(riff(b"VP8 ", lossy[:6] + sides + lossy[10:])), "too_many_pixels"
    )
    start, pixels = extended(0, 24, 16), riff(b"VP8L", body)
    profile, text = riff(b"ICCP", bytes(5_000_000)), riff(b"XMP ", bytes(17_000_000))
    yield refused("webp bomb: a profile of 5 MB", webp_of(start, profile, pixels), "too_much_metadata")
    yield refused("webp bomb: 17 MB of text", webp_of(start, pixels, text), "too_much_metadata")
    yield refused("webp bomb: 70,000 chunks", webp_of(start, pixels, riff(b"junk", b"") * 70_000), "too_much_metadata")
