"""What checks look at: one picture at a size of its own, and what is known of what it shows."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

# Height × width × 3, sRGB.
Pixels = NDArray[np.uint8]
# left, top, right, bottom, 0..1 of width and height.
Area = tuple[float, float, float, float]

# Enough for what a person sees at arm's length, and a check costs milliseconds.
SIDE = 512


def seen(pixels: Pixels, *, side: int = SIDE) -> Pixels:
    """At most `side` pixels on its longest side, laid on white where it is see-through; never enlarged."""
    height, width = pixels.shape[:2]
    shrink = side / max(height, width)
    if shrink < 1:
        pixels = resized(pixels, max(1, round(width * shrink)), max(1, round(height * shrink)))
    return on_white(pixels) if pixels.shape[2] == 4 else pixels


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def lab_of(pixels: Pixels) -> NDArray[np.float32]:
    """CIE L*a*b* (D65), L* 0..100."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def on_white(pixels: Pixels) -> Pixels:
    cover = pixels[:, :, 3:].astype(np.uint16)
    laid = pixels[:, :, :3] * cover + 255 * (255 - cover)
    return ((laid + 127) // 255).astype(np.uint8)


def cut(pixels: Pixels, area: Area, *, air: float = 0.0) -> Pixels:
    """The part of an area, with `air` around it (a share of its longer side), at least one pixel."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = area[0] * width, area[1] * height, area[2] * width, area[3] * height
    more = air * max(right - left, bottom - top)
    first, last = _span(left - more, right + more, width)
    upper, lower = _span(top - more, bottom + more, height)
    return pixels[upper:lower, first:last]


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    start = min(max(math.floor(low), 0), size - 1)
    return start, min(max(math.ceil(high), start + 1), size)
