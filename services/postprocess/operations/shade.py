"""A soft darker or lighter patch under letters, only as strong as they need."""

from collections.abc import Iterable
from typing import NamedTuple

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
# One in so many of the pixels under the letters is tried.
THINNED = 4


class Shade(NamedTuple):
    """A patch of `tone`, `opacity` strong, under letters of `colour`; `found` is the contrast it gives."""

    opacity: float
    found: float
    tone: Colour
    colour: Colour


def weakest_shade(colours: Iterable[Colour], near: Pixels, *, wanted: float) -> Shade:
    """The colour and tone that need the weakest patch; `near` are the pixels that the letters stand on."""
    tried = [_enough(near[:, ::THINNED], tone, colour, wanted) for colour in colours for tone in (BLACK, WHITE)]
    return min(tried, key=lambda shade: (shade.opacity, -shade.found))


def shaded(pixels: Pixels, place: Area, shade: Shade, *, size: int) -> Pixels:
    """The picture with the patch around the letters' place."""
    spread = round(SPREAD * size)
    coverage = _patch(place, spread=spread, fade=round(FADE * size))
    left, top = place.left - spread, place.top - spread
    return inked(pixels, coverage, shade.tone, left=left, top=top, opacity=shade.opacity)


def _enough(near: Pixels, tone: Colour, colour: Colour, wanted: float) -> Shade:
    """The least opacity, in steps, that gives the contrast wanted, else the most."""
    opacity = found = 0.0
    while opacity < STRONGEST and found < wanted:
        opacity += STEP
        mixed = near * (1 - opacity * AT_EDGE) + np.array(tone) * opacity * AT_EDGE
        found = contrast(colour, mixed.round().astype(np.uint8))
    return Shade(opacity, found, tone, colour)


def _patch(place: Area, *, spread: int, fade: int) -> Pixels:
    across, down = (_ramp(length + 2 * spread, max(fade, 1)) for length in (place.width, place.height))
    return np.asarray((np.outer(down, across) * 255).round(), dtype=np.uint8)


def _ramp(length: int, fade: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Up, along and down again, without a corner (smoothstep)."""
    at = np.arange(length) + 0.5
    share = np.clip(np.minimum(at, length - at) / fade, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
