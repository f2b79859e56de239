"""The chunks of a PNG (ISO/IEC 15948): all of them looked at, those that make pixels kept."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.pictures import metadata
from shared.pictures.size import refuse_too_large
from shared.pictures.words import Admitted, Limits, Refused, damaged

SIGNATURE = 8
KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# What says in numbers which colours are meant, each as long as it is: cICP, cHRM and gAMA, or sRGB in their place.
COLOURS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
TRANSPARENT = {0: 2, 2: 6}  # bytes of a tRNS by colour type; a palette has one for each of its colours or fewer
# Left, top, across, down of Adam7's passes.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
DEFLATE = 1032  # no byte of deflate unpacks to more
PIECE = 1024 * 1024


class Chunk(NamedTuple):
    kind: bytes
    start: int  # of its length
    end: int  # behind its sum

    def body(self, data: bytes) -> bytes:
        return data[self.start + 8 : self.end - 4]


class Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    def unpacked(self) -> int:
        """Bytes of all rows with their filters."""
        bits = self.depth * CHANNELS[self.colour]
        passes = PASSES if self.interlaced else ((0, 0, 1, 1),)
        sizes = (
            (-((left - self.width) // across), -((top - self.height) // down)) for left, top, across, down in passes
        )
        return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


@dataclass(slots=True)
class Found:
    """What the walk has met so far."""

    kept: list[Chunk] = field(default_factory=list)
    colours: int | None = None  # of a palette
    pixels: int = 0  # bytes of IDAT
    is_past: bool = False  # the pixels, which stand together
    beside: int = 0  # bytes that are not pixels, texts unpacked
    orientation: int = 1
    profile: bytes | None = None
    said: dict[bytes, bytes] = field(default_factory=dict)  # of the colours, whole chunks

    def has(self, kind: bytes) -> bool:
        return any(chunk.kind == kind for chunk in self.kept)


def walked(data: bytes, limits: Limits) -> Admitted:
    """Raises Refused for what is no whole, single picture within the limits."""
    chunks = _chunks(data, limits)
    first = next(chunks)
    header = _header(first, data, limits)
    found = Found([first])
    for chunk in chunks:
        _take(chunk, data, found, header, limits)
    if header.colour == 3 and found.colours is None:
        raise damaged("it has no palette")
    if found.pixels * DEFLATE < header.unpacked():
        raise damaged("it is cut short, or never was whole: so few bytes make no such picture")
    kept = sum(chunk.end - chunk.start for chunk in found.kept)
    bare = data
    if kept < len(data) - SIGNATURE:
        bare = data[:SIGNATURE] + b"".join(data[chunk.start : chunk.end] for chunk in found.kept)
    colours = b"".join(found.said.values())
    return Admitted("PNG", header.width, header.height, bare, header.depth, found.orientation, found.profile, colours)


def chunk(kind: bytes, body: bytes) -> bytes:
    """As a file has it: length, kind, body and their sum."""
    return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(body, zlib.crc32(kind)))


def is_whole(bare: bytes) -> bool:
    """Whether pixels were packed for every row. Pillow does not mind, and leaves what is missing black."""
    chunks = list(_chunks(bare, Limits()))
    missing, unpacking = _header(chunks[0], bare, Limits()).unpacked(), zlib.decompressobj()
    for chunk in chunks:
        packed = chunk.body(bare) if chunk.kind == b"IDAT" else b""
        while packed and missing > 0:
            missing -= len(unpacking.decompress(packed, min(missing, PIECE)))
            packed = unpacking.unconsumed_tail
    return missing <= 0


def _chunks(data: bytes, limits: Limits) -> Iterator[Chunk]:
    """Up to and with IEND, each with a sum that is right."""
    view, at = memoryview(data), SIGNATURE
    for _ in range(limits.parts):
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(kind) < 4 or end > len(data):
            raise damaged("it is cut short")
        if not kind.isalpha():
            raise damaged("what should be a chunk is none")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise damaged(f"the sum of its chunk {kind.decode()} is wrong")
        yield Chunk(kind, at, end)
        if kind == b"IEND":
            return
        at = end
    raise Refused("too_much_metadata", f"the file has more than {limits.parts:,} chunks")


def _header(chunk: Chunk, data: bytes, limits: Limits) -> Header:
    body = chunk.body(data)
    if chunk.kind != b"IHDR" or len(body) != 13:
        raise damaged("it does not begin with its header")
    width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
    depth, colour, packing, filtering, interlacing = body[8:]
    if depth not in DEPTHS.get(colour, ()) or packing or filtering or interlacing > 1:
        raise damaged("its header says what no PNG says")
    refuse_too_large(width, height, limits)
    return Header(width, height, depth, colour, bool(interlacing))


def _take(chunk: Chunk, data: bytes, found: Found, header: Header, limits: Limits) -> None:
    if chunk.kind == b"IDAT":
        if found.is_past:
            raise damaged("its pixels stand in two places")
        found.pixels += chunk.end - chunk.start - 12
        found.kept.append(chunk)
    elif chunk.kind in KEPT:
        _keep(chunk, found, header)
    elif chunk.kind[:1].isupper():
        raise damaged(f"nobody knows its chunk {chunk.kind.decode()}")
    else:
        found.is_past = bool(found.pixels)
        _look_at(chunk, data, found, limits)


def _keep(chunk: Chunk, found: Found, header: Header) -> None:
    size = chunk.end - chunk.start - 12
    if chunk.kind == b"IHDR" or (chunk.kind == b"PLTE" and (found.colours is not None or found.pixels)):
        raise damaged(f"its chunk {chunk.kind.decode()} stands where none may")
    if chunk.kind == b"PLTE":
        found.colours = size // 3
        if size % 3 or not 1 <= found.colours <= 256:
            raise damaged("its palette is none")
    if chunk.kind == b"tRNS":
        fits = 0 < size <= (found.colours or 0) if header.colour == 3 else size == TRANSPARENT.get(header.colour)
        if not fits or found.pixels or found.has(b"tRNS"):
            return  # it says nothing of this picture: left out, as libpng does
    found.kept.append(chunk)


def _look_at(chunk: Chunk, data: bytes, found: Found, limits: Limits) -> None:
    """At what is left out: for what it says of the pixels, and whether it was made to harm."""
    body = chunk.body(data)
    found.beside += len(body)
    match chunk.kind:
        case b"acTL" if not found.pixels and int.from_bytes(body[:4], "big") > 1:
            raise Refused("animated", "the file is an animation, not one picture")
        case b"eXIf":
            found.orientation = metadata.orientation(body)
        case b"iCCP":
            packed = body[body.find(b"\0") + 2 :]
            unpacked = metadata.inflated(packed, most=limits.profile, what="its colour profile")
            found.profile = metadata.profile(unpacked, limits) if unpacked else None
        case kind if len(body) == COLOURS.get(kind) and not found.pixels and found.colours is None:
            found.said.setdefault(kind, data[chunk.start : chunk.end])
        case b"zTXt" | b"iTXt":
            found.beside += len(metadata.inflated(_packed(chunk.kind, body), most=limits.text, what="a text") or b"")
    if found.beside > limits.metadata:
        raise Refused("too_much_metadata", f"the file has more than {limits.metadata:,} bytes beside its pixels")


def _packed(kind: bytes, body: bytes) -> bytes:
    """The compressed part of a text: behind its keyword, and in an iTXt behind two more words if it is compressed."""
    _, _, rest = body.partition(b"\0")
    if kind == b"zTXt":
        return rest[1:]
    return rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""
