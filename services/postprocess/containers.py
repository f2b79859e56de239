"""XMP into a finished file, its pixels untouched: PNG, JPEG, WebP, AVIF. Pure.

What a file says of itself already under the same name is replaced. Where each container keeps XMP: XMP Specification
part 3 (2020); WebP's extended form: RFC 9649.
"""

import struct
from collections.abc import Callable, Iterator, Mapping

from services.postprocess import avif
from shared.pictures import jpeg, png, webp

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_KEYWORD = b"XML:com.adobe.xmp\0"
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
JPEG_SEGMENT = 65_533  # of a segment, after the two bytes that say how long it is
# VP8X's flags.
WEBP_XMP, WEBP_ALPHA = 0x04, 0x10


class Unembeddable(Exception):
    """The file has no place for XMP that we know."""


def with_xmp(data: bytes, media_type: str, packet: bytes) -> bytes:
    """Raises Unembeddable for what is no whole file of its type."""
    try:
        return _WRITERS[media_type](data, packet)
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise Unembeddable(f"no place for XMP was found in this {media_type}: {error!r}") from error


def _png(data: bytes, packet: bytes) -> bytes:
    """An iTXt chunk right after the header, where readers that stop at the pixels find it."""
    if not data.startswith(PNG_MAGIC):
        raise ValueError("another beginning")
    first = 8 + 25  # magic and IHDR, which comes first and is always as long
    parts = [data[:first], png.chunk(b"iTXt", PNG_KEYWORD + b"\0\0\0\0" + packet)]
    kept = first
    for name, start, end in png_chunks(data, first):
        if name == b"iTXt" and data.startswith(PNG_KEYWORD, start + 8):
            parts.append(data[kept:start])
            kept = end
    return b"".join([*parts, data[kept:]])


def png_chunks(data: bytes, start: int = 8) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk."""
    while start < len(data):
        end = start + 12 + struct.unpack_from("!I", data, start)[0]
        yield data[start + 4 : start + 8], start, end
        start = end


def _jpeg(data: bytes, packet: bytes) -> bytes:
    """An APP1 segment after JFIF's and Exif's, which want to be first."""
    content = JPEG_XMP + packet
    if not data.startswith(b"\xff\xd8\xff") or len(content) > JPEG_SEGMENT:
        raise ValueError("another beginning, or too much to say")
    parts, place = [data[:2]], 2
    while data[place] == 0xFF and (0xE0 <= data[place + 1] <= 0xEF or data[place + 1] == 0xFE):
        end = place + 2 + struct.unpack_from("!H", data, place + 2)[0]
        if not data.startswith((JPEG_XMP, JPEG_MORE_XMP), place + 4):
            parts.append(data[place:end])
        place = end
    before = [part for part in parts[1:] if part[1] == 0xE0 or part[4:9] == b"Exif\0"]
    others = [part for part in parts[1:] if part not in before]
    return b"".join([data[:2], *before, jpeg.segment(0xE1, content), *others, data[place:]])


def _webp(data: bytes, packet: bytes) -> bytes:
    """An XMP chunk at the end, announced in the extended header, which a plain file has not."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("another beginning")
    chunks = [(name, data[start:end]) for name, start, end in _webp_chunks(data) if name != b"XMP "]
    name, first = chunks[0]
    if name == b"VP8X":
        header = first[:8] + bytes([first[8] | WEBP_XMP]) + first[9:]
        chunks = chunks[1:]
    else:
        width, height, alpha = _webp_size(name, first)
        flags = WEBP_XMP | (WEBP_ALPHA if alpha else 0)
        sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        header = webp.chunk(webp.EXTENDED, bytes([flags, 0, 0, 0]) + sizes)
    body = b"".join([b"WEBP", header, *(chunk for _, chunk in chunks), webp.chunk(b"XMP ", packet)])
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    start = 12
    while start + 8 <= len(data):
        length = struct.unpack_from("<I", data, start + 4)[0]
        end = start + 8 + length + length % 2
        yield data[start : start + 4], start, end
        start = end


def _webp_size(name: bytes, chunk: bytes) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha, of a bitstream alone (RFC 6386, section 9.1; RFC 9649, section 3.4)."""
    if name == b"VP8L":
        bits = struct.unpack_from("<I", chunk, 9)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if name != b"VP8 ":
        raise ValueError(f"begins with {name!r}")
    width, height = struct.unpack_from("<HH", chunk, 14)
    return width & 0x3FFF, height & 0x3FFF, False


_WRITERS: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
    "image/avif": avif.with_xmp,
}
