"""The fingerprint of a picture, by which it is known again when made smaller, brighter or shifted a little.

112 hex digits: 144 bits of the whole picture and 112 of the product alone (signs of its lowest DCT coefficients, after
Zauner 2010), then sixteen Lab colours of 12 bits, 4 × 3 of the picture and 2 × 2 of the product. Bits alone would call
the same bottle before another wall a twin; the whole alone would miss another bottle before the same wall. Where nobody
says where the product is, two digits more name the rule by which a place was taken for it.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.alike import LEVELS, PRODUCT_BITS, PRODUCT_GRID, SPREAD, WHOLE_BITS, WHOLE_GRID
from services.postprocess.checks.view import Area, cut, lab_of, resized
from services.postprocess.pixels import Pixels

SIDE = 64
# Without a live area the middle stands for the product; a smaller one would hardly overlap itself once it is shifted.
MIDDLE: Area = (0.1, 0.1, 0.9, 0.9)
# Another with another MIDDLE. Prints by the first rule, (0.25, 0.25, 0.75, 0.75), bear none.
RULE = "02"
AIR = 0.05


def fingerprint(pixels: Pixels, *, live: Area | None = None) -> str:
    """Of RGB pixels; `live` is where the product is, 0..1. Compare with `alike`."""
    product = cut(pixels, live or MIDDLE, air=AIR)
    bits = np.concatenate([_bits(pixels, WHOLE_BITS), _bits(product, PRODUCT_BITS)])
    codes = np.concatenate([_codes(pixels, WHOLE_GRID), _codes(product, PRODUCT_GRID)])
    digits = np.packbits(bits).tobytes().hex() + "".join(f"{code:x}" for code in codes.ravel())
    return digits if live else digits + RULE


def _bits(pixels: Pixels, count: int) -> NDArray[np.bool_]:
    """Signs of the lowest frequencies, the lowest first, without the mean."""
    luma = cv2.cvtColor(resized(pixels, SIDE, SIDE), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.dct(luma.astype(np.float32))[_lowest(count)] > 0)


@cache
def _lowest(count: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the lowest frequencies but the mean."""
    side = range(24)  # its triangle holds more than are asked for
    order = sorted(((row, column) for row in side for column in side), key=lambda at: (sum(at), at))[1 : count + 1]
    return [row for row, _ in order], [column for _, column in order]


def _codes(pixels: Pixels, grid: tuple[int, int]) -> NDArray[np.int64]:
    """Lab of each cell in 4 bits a channel."""
    lab = lab_of(resized(pixels, *grid)).reshape(-1, 3)
    lab[:, 0] *= LEVELS / 100
    lab[:, 1:] = LEVELS / 2 * (1 + np.tanh(lab[:, 1:] / SPREAD))
    return np.clip(np.rint(lab), 0, LEVELS).astype(np.int64)
