"""The chunks of a WebP (RFC 9649): the picture and its alpha kept, all else taken out."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from shared.pictures import metadata
from shared.pictures.size import refuse_too_large
from shared.pictures.words import Admitted, Limits, Refused, damaged

START = 12
LOSSY, LOSSLESS, EXTENDED, ALPHA = b"VP8 ", b"VP8L", b"VP8X", b"ALPH"
HAS_ALPHA = 0x10  # of VP8X's first byte
KEYFRAME = b"\x9d\x01\x2a"


class Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int  # behind its last byte; one of padding may follow

    def body(self, data: bytes) -> bytes:
        return data[self.start + 8 : self.end]


def chunk(kind: bytes, body: bytes) -> bytes:
    """As a file has it, padded to an even length."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def walked(data: bytes, limits: Limits) -> Admitted:
    """Raises Refused for what is no whole, single picture within the limits."""
    chunks = list(_chunks(data, limits))
    if any(chunk.kind in {b"ANIM", b"ANMF"} for chunk in chunks):
        raise Refused("animated", "the file is an animation, not one picture")
    pictures = [chunk for chunk in chunks if chunk.kind in {LOSSY, LOSSLESS}]
    if len(pictures) != 1:
        raise damaged(f"it has {len(pictures)} pictures")
    size = _size(pictures[0], data)
    refuse_too_large(*size, limits)
    extended = chunks[0] if chunks[0].kind == EXTENDED else None
    if extended and _canvas(extended, data) != size:
        raise damaged("its picture has another size than its header says")
    orientation, profile = _looked_at(chunks, data, limits)
    return Admitted("WEBP", *size, _bare(chunks, data, extended), 8, orientation, profile)


def _chunks(data: bytes, limits: Limits) -> Iterator[Chunk]:
    at, last = START, 8 + int.from_bytes(data[4:8], "little")
    if last > len(data) or last <= START:
        raise damaged("it is cut short")
    for _ in range(limits.parts):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 > last or end > last:
            raise damaged("it is cut short")
        yield Chunk(data[at : at + 4], at, end)
        at = end + end % 2
        if at >= last:
            return
    raise Refused("too_much_metadata", f"the file has more than {limits.parts:,} chunks")


def _size(chunk: Chunk, data: bytes) -> tuple[int, int]:
    body = data[chunk.start + 8 : min(chunk.end, chunk.start + 18)]
    if chunk.kind == LOSSLESS:
        if len(body) < 5 or body[0] != 0x2F:
            raise damaged("its header is none")
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(body) < 10 or body[3:6] != KEYFRAME:
        raise damaged("its header is none")
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _canvas(chunk: Chunk, data: bytes) -> tuple[int, int]:
    body = chunk.body(data)
    if len(body) < 10:
        raise damaged("its header is none")
    return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1


def _looked_at(chunks: list[Chunk], data: bytes, limits: Limits) -> tuple[int, bytes | None]:
    """Orientation and profile, from what is left out."""
    orientation, profile, beside = 1, None, 0
    for chunk in chunks:
        if chunk.kind in {LOSSY, LOSSLESS, ALPHA}:
            continue
        beside += chunk.end - chunk.start
        if beside > limits.metadata:
            raise Refused("too_much_metadata", f"the file has more than {limits.metadata:,} bytes beside its pixels")
        if chunk.kind == b"EXIF":
            orientation = metadata.orientation(chunk.body(data))
        elif chunk.kind == b"ICCP":
            profile = metadata.profile(chunk.body(data), limits)
    return orientation, profile


def _bare(chunks: list[Chunk], data: bytes, extended: Chunk | None) -> bytes:
    """A file of the picture and its alpha alone, its header telling of nothing else."""
    if len(chunks) == 1 and chunks[0].end == len(data):
        return data
    parts = []
    if extended:
        body = extended.body(data)
        parts.append(EXTENDED + (10).to_bytes(4, "little") + bytes([body[0] & HAS_ALPHA]) + bytes(3) + body[4:10])
    for chunk in chunks:
        if chunk.kind in {LOSSY, LOSSLESS} or (chunk.kind == ALPHA and extended):
            parts += [data[chunk.start : chunk.end], bytes(chunk.end % 2)]
    held = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(held).to_bytes(4, "little") + held
