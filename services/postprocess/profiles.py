"""Colour profiles that derivatives carry, written by hand.

lcms writes the time into those it makes, and the same order has to make the same bytes.

ICC.1:2010 (v4.3), matrix and curve; colorants are those of sRGB (IEC 61966-2-1) and of Display P3 (SMPTE EG 432-1
primaries, D65), adapted to D50 by Bradford as the specification asks.
"""

import struct
from functools import cache

Primaries = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

SRGB: Primaries = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3: Primaries = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
D50 = (0.96420, 1.0, 0.82491)
# D65 to D50 by Bradford: what a reader needs to know which white was meant.
BRADFORD = (1.04788, 0.02292, -0.05022, 0.02959, 0.99048, -0.01707, -0.00925, 0.01508, 0.75168)
# IEC 61966-2-1: a line near black, then a power; both spaces use it. Parametric curve type 3: g, a, b, c, d.
CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
HEADER = 128


@cache
def srgb() -> bytes:
    return _profile("sRGB", SRGB)


@cache
def display_p3() -> bytes:
    return _profile("Display P3", DISPLAY_P3)


def _profile(name: str, primaries: Primaries) -> bytes:
    curve = b"para" + bytes(4) + struct.pack("!HH", 3, 0) + _fixed(*CURVE)
    red, green, blue = (_xyz(colorant) for colorant in primaries)
    tags = [
        (b"desc", _text(name)),
        (b"cprt", _text("CC0")),
        (b"wtpt", _xyz(D50)),
        (b"chad", b"sf32" + bytes(4) + _fixed(*BRADFORD)),
        (b"rXYZ", red),
        (b"gXYZ", green),
        (b"bXYZ", blue),
        (b"rTRC", curve),
        (b"gTRC", curve),
        (b"bTRC", curve),
    ]
    at, body, where, index = HEADER + 4 + 12 * len(tags), b"", {}, b""
    for signature, data in tags:
        if data not in where:  # the three curves are one
            where[data] = at + len(body)
            body += data + bytes(-len(data) % 4)
        index += signature + struct.pack("!II", where[data], len(data))
    size = at + len(body)
    header = struct.pack("!I4xI", size, 0x04300000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += _fixed(*D50) + bytes(HEADER - len(header) - 12)
    return header + struct.pack("!I", len(tags)) + index + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _text(text: str) -> bytes:
    """multiLocalizedUnicodeType with one record."""
    return b"mluc" + struct.pack("!4xII2s2sII", 1, 12, b"en", b"US", 2 * len(text), 28) + text.encode("utf-16-be")


def _fixed(*values: float) -> bytes:
    """s15Fixed16Number each."""
    return struct.pack(f"!{len(values)}i", *(round(value * 65536) for value in values))
