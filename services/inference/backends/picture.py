"""What a file from a provider is, by its structure alone: no pixel is decoded, so no stranger's bytes meet a codec.

Enough to tell a whole picture of the asked size from a torn or a wrong one; postprocess decodes it, in a child process.
"""

import struct
import zlib
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers of JPEG (ITU T.81, table B.1): all of C0–CF but DHT (C4), JPG (C8) and DAC (CC).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


class NotAPicture(ValueError):
    """These bytes are not one whole PNG, JPEG or WebP; the message says why."""


class Facts(NamedTuple):
    media_type: str
    width: int
    height: int


def inspect(data: bytes) -> Facts:
    """Type and size in pixels. Raises NotAPicture."""
    try:
        if data.startswith(PNG):
            return Facts("image/png", *_png(data))
        if data.startswith(b"\xff\xd8"):
            return Facts("image/jpeg", *_jpeg(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return Facts("image/webp", *_webp(data))
    except (struct.error, IndexError):
        raise NotAPicture("the file ends in the middle") from None
    raise NotAPicture("it is neither PNG, JPEG nor WebP")


def _png(data: bytes) -> tuple[int, int]:
    """Every chunk has a checksum, so a changed byte anywhere is seen."""
    at, name, pixels = len(PNG), b"", False
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        body = memoryview(data)[at + 4 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(body) != checksum:
            raise NotAPicture(f"the PNG's chunk {name!r} is damaged")
        pixels |= name == b"IDAT"
        at += 12 + length
    if data[12:16] != b"IHDR" or not pixels:
        raise NotAPicture("the PNG holds no picture")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    if b"\xff\xd9" not in data[-32:]:  # some writers pad behind the end
        raise NotAPicture("the JPEG ends in the middle")
    at = 2
    while True:
        if data[at] != 0xFF:
            raise NotAPicture("the JPEG's segments are damaged")
        marker = data[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 if marker in ALONE else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp(data: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < length + 8:
        raise NotAPicture("the WebP ends in the middle")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise NotAPicture(f"the WebP begins with {kind!r}")
