"""How alike two pictures are by their fingerprints (`likeness.py`), without a picture and without numpy."""

import math
from statistics import fmean, median

DIGITS, RULED = 112, 114
WHOLE_BITS, PRODUCT_BITS = 144, 112
WHOLE_GRID, PRODUCT_GRID = (4, 3), (2, 2)
CELLS = WHOLE_GRID[0] * WHOLE_GRID[1]
# Half of each is as far as twins go in the labelled set (docs/checks.md): share of bits, and mean ΔE*ab of the cells.
BITS_APART = (0.58, 0.44)
COLOURS_APART = (14.0, 17.0)
# A picture that is as a whole this much brighter (L*) may be the same picture.
EXPOSURE = 6.0
# Colours near grey, where walls are, are told finer than strong ones.
SPREAD = 40.0
LEVELS = 15

Colour = tuple[float, float, float]


def alike(one: str, other: str) -> float:
    """1 for the same picture, 0 for another; the part that differs most decides. Raises ValueError: no fingerprint.

    Prints by two rules show two places, and tell nothing of each other.
    """
    (bits, colours), (other_bits, other_colours) = _read(one), _read(other)
    if rule(one) != rule(other):
        return 0.0
    differing = bits ^ other_bits
    distances = _distances(colours, other_colours)
    parts = (
        (differing >> PRODUCT_BITS).bit_count() / WHOLE_BITS / BITS_APART[0],
        (differing & ((1 << PRODUCT_BITS) - 1)).bit_count() / PRODUCT_BITS / BITS_APART[1],
        fmean(distances[:CELLS]) / COLOURS_APART[0],
        fmean(distances[CELLS:]) / COLOURS_APART[1],
    )
    return round(max(0.0, 1.0 - max(parts)), 4)


def rule(fingerprint: str) -> str:
    """By which a place was taken for the product; "" where it was said, and of the first rule."""
    return fingerprint[DIGITS:]


def _distances(colours: list[Colour], others: list[Colour]) -> list[float]:
    brighter = median(one[0] - other[0] for one, other in zip(colours[:CELLS], others[:CELLS], strict=True))
    brighter = min(max(brighter, -EXPOSURE), EXPOSURE)
    return [math.dist((one[0] - brighter, *one[1:]), other) for one, other in zip(colours, others, strict=True)]


def _read(fingerprint: str) -> tuple[int, list[Colour]]:
    if len(fingerprint) not in (DIGITS, RULED):
        raise ValueError(f"a fingerprint has {DIGITS} or {RULED} hex digits, this has {len(fingerprint)}")
    edge = (WHOLE_BITS + PRODUCT_BITS) // 4
    codes = [int(digit, 16) for digit in fingerprint[edge:DIGITS]]
    colours = [
        (light * 100 / LEVELS, _unfolded(a), _unfolded(b))
        for light, a, b in zip(codes[0::3], codes[1::3], codes[2::3], strict=True)
    ]
    return int(fingerprint[:edge], 16), colours


def _unfolded(code: int) -> float:
    middle = LEVELS / 2
    return SPREAD * math.atanh(min(max((code - middle) / middle, -0.99), 0.99))
