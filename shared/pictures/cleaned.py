"""A file to hand on: the picture as it came, which way is up, which colours are meant, and nothing else that came."""

import zlib
from collections.abc import Iterator

from shared.pictures import jpeg, metadata, png, webp
from shared.pictures.words import Admitted

# What one segment of a JPEG holds of a colour profile: its length counts itself, the name, a number and how many.
ICC_PART = 65_535 - 2 - len(jpeg.PROFILE[1]) - 2
HAS_PROFILE, HAS_EXIF = 0x20, 0x08  # of VP8X's first byte, beside alpha


def cleaned(let_in: Admitted) -> bytes:
    """Every pixel stays packed as it was, so nothing is lost by it. The same bytes each time."""
    if not let_in.profile and not let_in.colours and let_in.orientation == 1:
        return let_in.data
    return b"".join({"PNG": _png, "JPEG": _jpeg, "WEBP": _webp}[let_in.format](let_in))


def segments(profile: bytes) -> bytes:
    """A colour profile as a JPEG keeps it."""
    parts = [profile[at : at + ICC_PART] for at in range(0, len(profile), ICC_PART)]
    marker, name = jpeg.PROFILE
    return b"".join(
        jpeg.segment(marker, name + bytes((number, len(parts))) + part) for number, part in enumerate(parts, 1)
    )


def _png(let_in: Admitted) -> Iterator[bytes | memoryview]:
    after = png.SIGNATURE + 25  # the header, which comes first and is always as long
    yield let_in.data[:after]
    # A profile says more than the numbers that stand in for it.
    yield png.chunk(b"iCCP", b"icc\0\0" + zlib.compress(let_in.profile)) if let_in.profile else let_in.colours
    if let_in.orientation != 1:
        yield png.chunk(b"eXIf", metadata.turned(let_in.orientation))
    yield memoryview(let_in.data)[after:]


def _jpeg(let_in: Admitted) -> Iterator[bytes | memoryview]:
    """Behind JFIF's segment, which has to stay first."""
    data, after = let_in.data, 2
    if data[2:4] == b"\xff\xe0":
        after = 4 + int.from_bytes(data[4:6], "big")
    yield data[:after]
    if let_in.orientation != 1:
        yield jpeg.segment(jpeg.EXIF[0], metadata.EXIF + metadata.turned(let_in.orientation))
    if let_in.profile:
        yield segments(let_in.profile)
    yield memoryview(data)[after:]


def _webp(let_in: Admitted) -> Iterator[bytes | memoryview]:
    """In the extended form, whose order is header, profile, picture, EXIF."""
    pieces = list(_riff(let_in))
    yield b"RIFF" + (4 + sum(map(len, pieces))).to_bytes(4, "little") + b"WEBP"
    yield from pieces


def _riff(let_in: Admitted) -> Iterator[bytes | memoryview]:
    data, picture = let_in.data, webp.START
    if data.startswith(webp.EXTENDED, picture):
        flags, picture = data[picture + 8] & webp.HAS_ALPHA, picture + 18
    else:
        # A picture alone: losslessly packed it says itself whether it has alpha (RFC 9649, section 3.4).
        has_alpha = data.startswith(webp.LOSSLESS, picture) and data[picture + 12] & 0x10
        flags = webp.HAS_ALPHA if has_alpha else 0
    flags |= (HAS_PROFILE if let_in.profile else 0) | (HAS_EXIF if let_in.orientation != 1 else 0)
    sizes = (let_in.width - 1).to_bytes(3, "little") + (let_in.height - 1).to_bytes(3, "little")
    yield webp.chunk(webp.EXTENDED, bytes((flags, 0, 0, 0)) + sizes)
    if let_in.profile:
        yield webp.chunk(b"ICCP", let_in.profile)
    yield memoryview(data)[picture:]
    yield bytes(len(data) % 2)
    if let_in.orientation != 1:
        yield webp.chunk(b"EXIF", metadata.turned(let_in.orientation))
