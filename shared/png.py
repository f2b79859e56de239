"""PNG, lossless and fast: up-filtered rows, deflated by ISA-L.

A fortieth of the time of zlib's level 6 for a tenth more bytes on photographs. The bytes depend on the version of
ISA-L, as those of any encoder on its own.
"""

import struct
import zlib
from itertools import chain

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

# Colour type by channels; the filter of the rows: each byte minus the one above (PNG specification, 9.2).
COLOUR_TYPE = {1: 0, 3: 2, 4: 6}
UP = 2
# ISA-L's levels 0 to 3: 1 is as fast as 0 and smaller, 2 and 3 gain 2 % more.
LEVEL = 1


def encode(pixels: npt.NDArray[np.uint8], *, profile: bytes | None = None) -> bytes:
    """(height, width) or (height, width, 3 or 4) of uint8, in the colours of an ICC profile or in sRGB."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = pixels.reshape(height, width * channels)
    filtered = np.empty((height, 1 + rows.shape[1]), dtype=np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPE[channels], 0, 0, 0)
    colours = _chunk(b"iCCP", b"icc\x00\x00" + zlib.compress(profile)) if profile else _chunk(b"sRGB", b"\x00")
    packed = isal_zlib.compress(filtered.data, LEVEL)
    del filtered  # of 4096² it is 50 MB
    parts = (_chunk(b"IHDR", header), colours, _chunk(b"IDAT", packed), _chunk(b"IEND", b""))
    return b"".join((b"\x89PNG\r\n\x1a\n", *chain.from_iterable(parts)))


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
