"""The segments of a JPEG (ITU-T T.81): tables, frame and scans kept, all else taken out."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.pictures import metadata
from shared.pictures.size import refuse_too_large
from shared.pictures.words import Admitted, Limits, Refused, damaged

# A marker: no stuffed byte, no fill byte, and no restart, which belongs to the pixels it stands among.
MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
BASELINE, PROGRESSIVE = (0xC0, 0xC1), 0xC2
TABLES, SCAN, END, BEGINNING = (0xC4, 0xDB, 0xDD), 0xDA, 0xD9, 0xD8
# Arithmetic, lossless, hierarchical: browsers show none of them, and few have ever tried to break their decoders.
RARE = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xD0), 0xDE, 0xDF)
JFIF, EXIF, PROFILE, ADOBE = (0xE0, b"JFIF\0"), (0xE1, metadata.EXIF), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")

JFIF_SIZE, ADOBE_SIZE = 16, 14  # with the two bytes that say so


class Segment(NamedTuple):
    marker: int
    start: int  # of the marker
    end: int  # behind its last byte, and behind a scan's pixels

    def body(self, data: bytes) -> bytes:
        return data[self.start + 4 : self.end]

    def begins(self, data: bytes, what: tuple[int, bytes]) -> bool:
        return self.marker == what[0] and data.startswith(what[1], self.start + 4)

    def shortened(self, data: bytes) -> bytes | memoryview:
        """The segment without what no decoder reads: JFIF has a place for a thumbnail, and Adobe's may go on."""
        size = self.end - self.start - 2
        if self.begins(data, JFIF) and size > JFIF_SIZE:
            return b"\xff\xe0" + JFIF_SIZE.to_bytes(2, "big") + data[self.start + 4 : self.start + 16] + b"\0\0"
        if self.begins(data, ADOBE) and size > ADOBE_SIZE:
            return b"\xff\xee" + ADOBE_SIZE.to_bytes(2, "big") + data[self.start + 4 : self.start + 16]
        return memoryview(data)[self.start : self.end]


def segment(marker: int, body: bytes) -> bytes:
    """As a file has it; raises struct.error for more than 65,533 bytes."""
    return struct.pack("!BBH", 0xFF, marker, 2 + len(body)) + body


@dataclass(slots=True)
class Found:
    """What the walk has met so far."""

    kept: list[Segment] = field(default_factory=list)
    size: tuple[int, int] | None = None
    least: int = 0  # bytes that the pixels take in any case
    scans: int = 0
    pixels: int = 0  # bytes of scans
    beside: int = 0
    orientation: int = 1
    profiles: list[bytes] = field(default_factory=list)


def walked(data: bytes, limits: Limits) -> Admitted:
    """Raises Refused for what is no whole, single picture within the limits."""
    found = Found()
    for segment in _segments(data, limits):
        _take(segment, data, found, limits)
    if found.size is None or not found.scans:
        raise damaged("it has no pixels")
    if found.pixels < found.least:
        raise damaged("it is cut short, or never was whole: so few bytes make no such picture")
    width, height = found.size
    kept = (segment.shortened(data) for segment in found.kept)
    bare = b"".join((data[:2], *kept, b"\xff\xd9"))
    profile = metadata.joined(found.profiles, limits)
    return Admitted("JPEG", width, height, data if len(bare) == len(data) else bare, 8, found.orientation, profile)


def _segments(data: bytes, limits: Limits) -> Iterator[Segment]:
    """Up to the end of the picture. What stands between two segments and belongs to neither is passed over."""
    at = 2
    for _ in range(limits.parts):
        found = MARKER.search(data, at)
        if found is None:
            raise damaged("it is cut short")
        marker, start = found[1][0], found.start()
        if marker == END:
            return
        at = found.end()
        if marker == BEGINNING:
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        at += size
        if size < 2 or at > len(data):
            raise damaged("it is cut short")
        if marker == SCAN:
            following = MARKER.search(data, at)
            at = following.start() if following else len(data)
        yield Segment(marker, start, at)
    raise Refused("too_much_metadata", f"the file has more than {limits.parts:,} segments")


def _take(segment: Segment, data: bytes, found: Found, limits: Limits) -> None:
    marker = segment.marker
    if marker in BASELINE or marker == PROGRESSIVE:
        _frame(segment, data, found, limits)
    elif marker in RARE:
        raise Refused("unsupported_coding", "the file is an arithmetic, lossless or hierarchical JPEG")
    elif marker == SCAN:
        found.scans += 1
        found.pixels += segment.end - segment.start
        if found.size is None:
            raise damaged("its pixels stand before its header")
        if found.scans > limits.scans:
            raise Refused("too_slow", f"the JPEG has more than {limits.scans} scans")
    elif marker not in TABLES and not segment.begins(data, JFIF) and not segment.begins(data, ADOBE):
        _look_at(segment, data, found, limits)
        return
    found.kept.append(segment)


def _frame(segment: Segment, data: bytes, found: Found, limits: Limits) -> None:
    """Size, precision and colours. Raises Refused for those that we do not decode."""
    body = segment.body(data)
    if found.size is not None or len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise damaged("its header is none")
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if body[0] != 8 or body[5] not in {1, 3, 4}:
        raise Refused(
            "unsupported_coding", f"the JPEG has {body[5]} channels of {body[0]} bits, and not 1, 3 or 4 of 8"
        )
    refuse_too_large(width, height, limits)
    across, down = (max(factors) for factors in zip(*(divmod(each, 16) for each in body[7::3]), strict=True))
    found.size = width, height
    # Each block of each unit takes a bit at the very least, and there is a block or more to a unit.
    found.least = -(-width // (8 * max(across, 1))) * -(-height // (8 * max(down, 1))) // 8


def _look_at(segment: Segment, data: bytes, found: Found, limits: Limits) -> None:
    """At what is left out, for what it says of the pixels."""
    found.beside += segment.end - segment.start
    if found.beside > limits.metadata:
        raise Refused("too_much_metadata", f"the file has more than {limits.metadata:,} bytes beside its pixels")
    body = segment.body(data)
    if segment.begins(data, EXIF) and found.orientation == 1:
        found.orientation = metadata.orientation(body)
    elif segment.begins(data, PROFILE):
        found.profiles.append(body[len(PROFILE[1]) :])
