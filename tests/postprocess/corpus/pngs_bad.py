"""PNGs that are not whole, not one picture or not sane, and those that were made to harm."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.postprocess.corpus.cases import Case, ramp, refused
from tests.postprocess.corpus.chunks import SIGNATURE, bounds, chunk, header, of_png, png_of, with_chunks
from tests.postprocess.corpus.pngs import BESIDE, packed, png, samples, small


def bad() -> Iterator[Case]:
    data = small()
    parts = of_png(data)
    beginning, pixels, end = (chunk(kind, body) for kind, body in parts)
    rich = with_chunks(data, *(chunk(kind, BESIDE[kind]) for kind in (b"gAMA", b"sRGB", b"pHYs", b"zTXt")))
    for cut in bounds(rich):
        code = "damaged_picture" if cut >= len(SIGNATURE) else "unsupported_media_type"
        yield refused(f"png: cut at {cut}", rich[:cut], code)
    for number, (kind, body) in enumerate(of_png(rich)):
        others = of_png(rich)
        wrong = chunk(kind, body)[:-4] + b"\1\2\3\4"
        whole = [chunk(*each) for each in others]
        yield refused(
            f"png: wrong sum of {kind.decode()}", SIGNATURE + b"".join([*whole[:number], wrong, *whole[number + 1 :]])
        )
    for name, body in HEADERS.items():
        yield refused(f"png: {name}", SIGNATURE + chunk(b"IHDR", body) + pixels + end)
    orders = {
        "no header": [pixels, end],
        "two headers": [beginning, beginning, pixels, end],
        "a header behind": [beginning, pixels, beginning, end],
        "no pixels": [beginning, end],
        "no end": [beginning, pixels],
        "pixels in two places": [
            beginning,
            chunk(b"IDAT", parts[1][1][:50]),
            chunk(b"tEXt", b"a\0b"),
            chunk(b"IDAT", parts[1][1][50:]),
            end,
        ],
        "pixels that are no zlib": [beginning, chunk(b"IDAT", b"\x78\x9cnothing" * 20), end],
        "pixels with a dictionary of nobody's": [beginning, chunk(b"IDAT", b"\x78\xbb" + bytes(200)), end],
        "half of its pixels": [beginning, chunk(b"IDAT", parts[1][1][: len(parts[1][1]) // 2]), end],
        "pixels of half its rows": [
            beginning,
            chunk(b"IDAT", zlib.compress(packed(ramp(24, 8).astype(np.uint16), 8))),
            end,
        ],
        "an unknown filter": [beginning, chunk(b"IDAT", zlib.compress(bytes([9] * 73 * 16))), end],
        "a critical chunk that nobody knows": [chunk(b"CgBI", bytes(4)), beginning, pixels, end],
        "another critical chunk that nobody knows": [beginning, chunk(b"NeWs", bytes(4)), pixels, end],
        "a chunk whose name is none": [beginning, chunk(b"\0\0\0\0"), pixels, end],
        "a palette of 257": [beginning, chunk(b"PLTE", bytes(771)), pixels, end],
        "a palette of 4 bytes": [beginning, chunk(b"PLTE", bytes(4)), pixels, end],
        "two palettes": [beginning, chunk(b"PLTE", bytes(3)), chunk(b"PLTE", bytes(3)), pixels, end],
        "a palette behind": [beginning, pixels, chunk(b"PLTE", bytes(3)), end],
        "a length that reaches beyond": [beginning, b"\x7f\xff\xff\xff" + pixels[4:], end],
        "a length beyond 32 bits' half": [beginning, b"\xff\xff\xff\xff" + pixels[4:], end],
    }
    for name, chunks in orders.items():
        yield refused(f"png: {name}", SIGNATURE + b"".join(chunks))
    without = [part for part in of_png(png(samples(8, 3), 8, 3)) if part[0] != b"PLTE"]
    yield refused("png: no palette", png_of(without))
    yield from _moving(data)


HEADERS = {
    "no width": struct.pack("!IIBBBBB", 0, 16, 8, 2, 0, 0, 0),
    "no height": struct.pack("!IIBBBBB", 24, 0, 8, 2, 0, 0, 0),
    "3 bits": struct.pack("!IIBBBBB", 24, 16, 3, 0, 0, 0, 0),
    "RGB of 4 bits": struct.pack("!IIBBBBB", 24, 16, 4, 2, 0, 0, 0),
    "palette of 16 bits": struct.pack("!IIBBBBB", 24, 16, 16, 3, 0, 0, 0),
    "type 7": struct.pack("!IIBBBBB", 24, 16, 8, 7, 0, 0, 0),
    "packing 1": struct.pack("!IIBBBBB", 24, 16, 8, 2, 1, 0, 0),
    "filtering 64": struct.pack("!IIBBBBB", 24, 16, 8, 2, 0, 64, 0),
    "interlacing 2": struct.pack("!IIBBBBB", 24, 16, 8, 2, 0, 0, 2),
    "a short header": struct.pack("!IIB", 24, 16, 8),
    "a long header": struct.pack("!IIBBBBB", 24, 16, 8, 2, 0, 0, 0) + b"\0",
}


def _moving(data: bytes) -> Iterator[Case]:
    frame = struct.pack("!IIIIHHBB", 24, 16, 0, 0, 1, 10, 0, 0)
    two = chunk(b"acTL", struct.pack("!II", 2, 0))
    first = chunk(b"fcTL", struct.pack("!I", 0) + frame)
    second = chunk(b"fcTL", struct.pack("!I", 1) + frame) + chunk(b"fdAT", struct.pack("!I", 2) + of_png(data)[1][1])
    whole = with_chunks(with_chunks(data, two, first), second, before=b"IEND")
    yield refused("apng: two frames", whole, "animated")
    yield refused(
        "apng: two frames and a picture that is none of them",
        with_chunks(with_chunks(data, two), second, before=b"IEND"),
        "animated",
    )
    yield refused("apng: four thousand million frames", with_chunks(data, chunk(b"acTL", b"\xff" * 8)), "animated")


def unpacks_to_more(extra: int) -> bytes:
    """A good picture behind whose last row its pixels unpack to as many bytes more."""
    packing = zlib.compressobj(9)
    piece = bytes(1_000_000)
    pixels = packing.compress(packed(ramp().astype(np.uint16), 8))
    pixels += b"".join(packing.compress(piece) for _ in range(extra // len(piece))) + packing.flush()
    return SIGNATURE + header(24, 16) + chunk(b"IDAT", pixels) + chunk(b"IEND")


def bombs() -> Iterator[Case]:
    """Each some kilobytes, refused before it is unpacked."""
    data = small()
    pixels = chunk(b"IDAT", zlib.compress(bytes(100_000), 9)) + chunk(b"IEND")
    for width, height in (
        (65_535, 65_535),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 1, 1),
        (1, 2**32 - 1),
        (8000, 5001),
        (40_000, 1000),
    ):
        start = SIGNATURE + header(width, height)
        yield refused(f"png bomb: {width} × {height}", start + pixels, "too_many_pixels")
    for adam7 in (0, 1):
        start = SIGNATURE + header(6300, 6300, depth=16, colour=6, interlaced=adam7)
        yield refused(f"png bomb: 300 MB of pixels out of few bytes{', interlaced' * adam7}", start + pixels)
    zeros = zlib.compress(bytes(30_000_000), 9)
    packed_bombs = {
        "a zTXt": [chunk(b"zTXt", b"Comment\0\0" + zeros)],
        "an iTXt": [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros)],
        "a profile": [chunk(b"iCCP", b"icc\0\0" + zeros)],
        "twenty texts just below the limit": [chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20), 9))] * 20,
        "70,000 chunks": [chunk(b"tEXt")] * 70_000,
        "17 MB of texts": [chunk(b"tEXt", b"a\0" + bytes(1_000_000))] * 17,
    }
    for name, chunks in packed_bombs.items():
        yield refused(f"png bomb: {name}", with_chunks(data, *chunks), "too_much_metadata")
