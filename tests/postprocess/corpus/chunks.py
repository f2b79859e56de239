"""PNG, JPEG and RIFF taken apart and put together by hand: what no library writes can be written here."""

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))


def header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def of_png(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and bodies, as far as they are whole."""
    found, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def png_of(parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    return SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts)


def with_chunks(png: bytes, *added: bytes, before: bytes = b"IDAT") -> bytes:
    """Other chunks before the first of a kind."""
    at = png.index(before) - 4
    return png[:at] + b"".join(added) + png[at:]


def segment(marker: int, body: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + struct.pack("!H", len(body) + 2) + body


def with_segments(jpeg: bytes, *added: bytes) -> bytes:
    """Other segments right behind the beginning."""
    return jpeg[:2] + b"".join(added) + jpeg[2:]


def of_jpeg(data: bytes) -> list[tuple[int, int]]:
    """Where each segment begins and ends, in front of the pixels of the first scan; those are the last."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((at, end))
        at = end
    return [*found, (at, len(data))]


def place_of(jpeg: bytes, *markers: int) -> int:
    """Where the first segment with such a marker begins."""
    return next(start for start, _ in of_jpeg(jpeg) if jpeg[start + 1] in markers)


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp_of(*parts: bytes) -> bytes:
    return riff(b"RIFF", b"WEBP" + b"".join(parts))


def of_webp(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def extended(flags: int, width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(b"VP8X", bytes([flags, 0, 0, 0]) + sizes)


def exif(orientation: int, *, order: str = "<", size: int = 3) -> bytes:
    """The least block that turns a picture, and a name that must not leave with it."""
    start = b"II*\x00" if order == "<" else b"MM\x00*"
    maker = b"Secret Camera\x00"
    entries = struct.pack(f"{order}HHII", 0x010F, 2, len(maker), 38)
    entries += struct.pack(f"{order}HHIHH", 0x0112, size, 1, orientation, 0)
    return start + struct.pack(f"{order}IH", 8, 2) + entries + struct.pack(f"{order}I", 0) + maker


def bounds(data: bytes) -> list[int]:
    """Where a file may be cut: at each chunk or segment, in front of it, in its head and in its middle."""
    match data[:1]:
        case b"\x89":
            edges = [len(SIGNATURE)]
            for _, body in of_png(data):
                edges.append(edges[-1] + 12 + len(body))
        case b"\xff":
            edges = [start for start, _ in of_jpeg(data)] + [len(data)]
        case _:
            edges = [12]
            for _, body in of_webp(data):
                edges.append(edges[-1] + 8 + len(body) + len(body) % 2)
    inside = [place for start, end in pairwise(edges) for place in (start, start + 5, (start + end) // 2, end - 1)]
    return sorted({0, 1, *inside} - {len(data)})
