"""Files that were good, changed at random: the same seed gives the same files in the same order."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tests.postprocess.corpus.chunks import SIGNATURE, chunk, of_jpeg, of_png, of_webp, png_of, riff, webp_of

ODD = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFE, 0xFF)
NUMBERS = (0, 1, 12, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
MARKERS = (0x01, 0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE)
PNG_KINDS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"zTXt", b"iTXt", b"quer")
WEBP_KINDS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ", b"none")
MOST = 4  # changes to a file
MENDED = 0.8  # of the files

Part = TypeVar("Part")
Change = Callable[[random.Random, bytes, bytes], bytes]  # of a file, with another at hand


def mutations(files: Sequence[bytes], *, seed: int, count: int) -> Iterator[bytes]:
    """So many files, none of them as it was."""
    draw = random.Random(seed)
    kinds = [[file for file in files if file[:1] == first] for first in sorted({file[:1] for file in files})]
    for _ in range(count):
        data = original = draw.choice(draw.choice(kinds))
        while data == original:
            for _ in range(min(draw.randint(1, MOST), draw.randint(1, MOST))):
                changes = (*ANYWHERE, *AMONG_PARTS.get(data[:1], ()), *AMONG_PARTS.get(data[:1], ()))
                data = draw.choice(changes)(draw, data, draw.choice(files)) or b"\0"
            if draw.random() < MENDED:
                data = mended(data)
        yield data


def mended(data: bytes) -> bytes:
    """With sums, lengths and an end as they should be, so that what is wrong reaches a decoder."""
    match data[:1]:
        case b"\x89":
            return SIGNATURE + b"".join(_summed(data))
        case b"\xff":
            return data if data.endswith(b"\xff\xd9") else data + b"\xff\xd9"
        case b"R":
            return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    return data


def _summed(data: bytes) -> Iterator[bytes]:
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size = min(int.from_bytes(data[at : at + 4], "big"), max(0, len(data) - at - 12))
        yield chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size])
        at += 12 + size


def flip(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def overwrite(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    at, many = draw.randrange(len(data)), draw.randint(1, 4)
    return data[:at] + bytes(draw.choice(ODD) for _ in range(many)) + data[at + many :]


def number(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    at, value = draw.randrange(len(data)), draw.choice(NUMBERS)
    packed = struct.pack(draw.choice("<>") + "I", value)
    return data[:at] + packed + data[at + 4 :]


def cut(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def drop(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + data[at + draw.randint(1, 64) :]


def double(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    at, many = draw.randrange(len(data)), draw.randint(1, 64)
    return data[:at] + data[at : at + many] * draw.randint(2, 20) + data[at + many :]


def insert(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(draw.randint(1, 32)) + data[at:]


def splice(draw: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]


ANYWHERE: tuple[Change, ...] = (flip, flip, flip, overwrite, overwrite, number, cut, drop, double, insert, splice)


def shuffled(draw: random.Random, among: Sequence[Part]) -> list[Part]:
    """Two parts exchanged, one left out or one twice."""
    parts = list(among)
    if not parts:
        return parts
    one, two = draw.randrange(len(parts)), draw.randrange(len(parts))
    match draw.randrange(3):
        case 0:
            parts[one], parts[two] = parts[two], parts[one]
        case 1:
            del parts[one]
        case _:
            parts.insert(two, parts[one])
    return parts


def png_parts(draw: random.Random, data: bytes, other: bytes) -> bytes:
    parts = shuffled(draw, of_png(data))
    if other[:1] == data[:1] and draw.random() < 0.5 and (more := of_png(other)):
        parts.insert(draw.randint(0, len(parts)), draw.choice(more))
    return png_of(parts)


def png_body(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """One chunk changed, renamed, or changed under its compression; its sum is right."""
    parts = of_png(data)
    if not parts:
        return data
    at = draw.randrange(len(parts))
    kind, body = parts[at]
    how = draw.randrange(3)
    if how == 0:
        kind = draw.choice(PNG_KINDS)
    elif how == 1 and body:
        body = draw.choice(ANYWHERE)(draw, body, other)
    else:
        body = repacked(draw, body, other)
    return png_of([*parts[:at], (kind, body), *parts[at + 1 :]])


def repacked(draw: random.Random, body: bytes, other: bytes) -> bytes:
    start = max(0, body.find(b"\x78"))
    try:
        raw = zlib.decompressobj().decompress(body[start:], 1_000_000)
    except zlib.error:
        return body
    return body[:start] + zlib.compress(draw.choice(ANYWHERE)(draw, raw, other) if raw else b"\0")


def png_length(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    """A length that lies, over a sum that is right."""
    parts = of_png(data)
    at = draw.randrange(len(parts) or 1)
    whole = [chunk(kind, body) for kind, body in parts]
    if not whole:
        return data
    lie = (len(parts[at][1]) + draw.choice((-4, -1, 1, 4, 12, 1 << 16, 1 << 31))) & 0xFFFFFFFF
    whole[at] = struct.pack("!I", lie) + whole[at][4:]
    return data[:8] + b"".join(whole)


def jpeg_parts(draw: random.Random, data: bytes, other: bytes) -> bytes:
    parts: list[bytes] = [data[start:end] for start, end in of_jpeg(data)]
    if other[:1] == data[:1]:
        parts.insert(draw.randint(0, len(parts)), draw.choice([other[start:end] for start, end in of_jpeg(other)]))
    return data[:2] + b"".join(shuffled(draw, parts))


def jpeg_marker(draw: random.Random, data: bytes, _other: bytes) -> bytes:
    """One marker becomes another, or a length lies."""
    start, _ = draw.choice(of_jpeg(data))
    if draw.random() < 0.5:
        return data[: start + 1] + bytes([draw.choice(MARKERS)]) + data[start + 2 :]
    lie = int.from_bytes(data[start + 2 : start + 4], "big") + draw.choice((-3, -1, 1, 3, 64))
    return data[: start + 2] + struct.pack("!H", lie & 0xFFFF) + data[start + 4 :]


def webp_parts(draw: random.Random, data: bytes, other: bytes) -> bytes:
    parts = of_webp(data)
    if other[:4] == data[:4]:
        parts.insert(draw.randint(0, len(parts)), draw.choice(of_webp(other) or [(b"none", b"")]))
    return webp_of(*(riff(*part) for part in shuffled(draw, parts)))


def webp_body(draw: random.Random, data: bytes, other: bytes) -> bytes:
    parts = of_webp(data)
    if not parts:
        return data
    at = draw.randrange(len(parts))
    kind, body = parts[at]
    if draw.random() < 0.3 or not body:
        kind = draw.choice(WEBP_KINDS)
    else:
        body = draw.choice(ANYWHERE)(draw, body, other)
    whole = [riff(*part) for part in (*parts[:at], (kind, body), *parts[at + 1 :])]
    if draw.random() < 0.2:
        whole[at] = kind + struct.pack("<I", draw.choice(NUMBERS)) + body
    return webp_of(*whole)


AMONG_PARTS: dict[bytes, tuple[Change, ...]] = {
    b"\x89": (png_parts, png_body, png_body, png_body, png_length),
    b"\xff": (jpeg_parts, jpeg_marker, jpeg_marker),
    b"R": (webp_parts, webp_body, webp_body),
}
