"""The two things beside pixels that change how a picture looks, read within bounds: which way is up, which colours."""

import struct
import zlib
from collections.abc import Iterable

from shared.pictures.words import Limits, Refused

EXIF = b"Exif\x00\x00"
ORIENTATION = 0x0112
SHORT = 3
HEADER = 128  # bytes of an ICC profile's header, with `acsp` at 36 (ICC.1:2022, 7.2)


def orientation(exif: bytes) -> int:
    """What the first directory of an EXIF block says, 1 to 8; 1 where it says nothing that can be read."""
    block = exif.removeprefix(EXIF)
    if block[:4] not in {b"II*\x00", b"MM\x00*"}:
        return 1
    is_little = block.startswith(b"II")

    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], "little" if is_little else "big")

    start = number(4, 4)
    for entry in range(start + 2, min(start + 2 + 12 * number(start, 2), len(block) - 11), 12):
        if (number(entry, 2), number(entry + 2, 2)) == (ORIENTATION, SHORT):
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def turned(orientation: int) -> bytes:
    """An EXIF block that says which way is up and nothing else."""
    return struct.pack("<4sIHHHIHHI", b"II*", 8, 1, ORIENTATION, SHORT, 1, orientation, 0, 0)


def profile(data: bytes, limits: Limits) -> bytes | None:
    """A profile that looks like one; what does not is left out, as browsers do. Raises Refused for a huge one."""
    if len(data) > limits.profile:
        raise Refused("too_much_metadata", f"its colour profile has more than {limits.profile:,} bytes")
    is_one = HEADER < len(data) >= int.from_bytes(data[:4], "big") and data[36:40] == b"acsp"
    return data if is_one else None


def joined(segments: Iterable[bytes], limits: Limits) -> bytes | None:
    """The profile that a JPEG keeps in numbered segments (`number, of how many, data`); None where one is missing."""
    ordered = sorted(segments, key=lambda segment: segment[:1])
    numbered = [tuple(segment[:2]) for segment in ordered]
    if not ordered or numbered != [(number, len(ordered)) for number in range(1, len(ordered) + 1)]:
        return None
    return profile(b"".join(segment[2:] for segment in ordered), limits)


def inflated(packed: bytes, *, most: int, what: str) -> bytes | None:
    """What is packed, never more than `most` bytes of it; None for what does not unpack. Raises Refused for more."""
    try:
        unpacked = zlib.decompressobj().decompress(packed, most + 1)
    except zlib.error:
        return None
    if len(unpacked) > most:
        raise Refused("too_much_metadata", f"{what} unpacks to more than {most:,} bytes")
    return unpacked
