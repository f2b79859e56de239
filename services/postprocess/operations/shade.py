"""A soft darker or lighter patch under letters, only as strong as they need."""

import numpy as np

from services.postprocess.compositing import inked
from services.postprocess.contrast import BLACK, WHITE, contrast
from services.postprocess.operations.layout import Area
from services.postprocess.pixels import Colour, Pixels

# Beyond this a patch looks like a box that somebody forgot; the verdict says what is still missing.
STRONGEST = 0.75
STEP = 0.05
# How far the patch stands out beyond the letters, and over how much of that it fades, in sizes of them.
SPREAD, FADE = 1.6, 2.0
# What is left of its strength where the outermost letters stand.
AT_EDGE = 0.85


def shaded(pixels: Pixels, place: Area, near: Pixels, colour: Colour, *, size: int, wanted: float) -> Pixels:
    """The picture with a patch around the letters' place; `near` are the pixels that they stand on."""
    tried = [(*_enough(near, tone, colour, wanted), tone) for tone in (BLACK, WHITE)]
    opacity, _, tone = min(tried, key=lambda each: (each[0], -each[1]))
    spread = round(SPREAD * size)
    coverage = _patch(place, spread=spread, fade=round(FADE * size))
    return inked(pixels, coverage, tone, left=place.left - spread, top=place.top - spread, opacity=opacity)


def _enough(near: Pixels, tone: Colour, colour: Colour, wanted: float) -> tuple[float, float]:
    """The least opacity, in steps, that gives the contrast wanted, else the most; and what it gives."""
    opacity = found = 0.0
    while opacity < STRONGEST and found < wanted:
        opacity += STEP
        mixed = near * (1 - opacity * AT_EDGE) + np.array(tone) * opacity * AT_EDGE
        found = contrast(colour, mixed.round().astype(np.uint8))
    return opacity, found


def _patch(place: Area, *, spread: int, fade: int) -> Pixels:
    across, down = (_ramp(length + 2 * spread, max(fade, 1)) for length in (place.width, place.height))
    return np.asarray((np.outer(down, across) * 255).round(), dtype=np.uint8)


def _ramp(length: int, fade: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Up, along and down again, without a corner (smoothstep)."""
    at = np.arange(length) + 0.5
    share = np.clip(np.minimum(at, length - at) / fade, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
