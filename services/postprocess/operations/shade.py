"""A soft darker or lighter patch under letters, only as strong as they need."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.postprocess.compositing import inked
from services.postprocess.contrast import BLACK, contrast
from services.postprocess.operations.layout import Area
from services.postprocess.pixels import WHITE, Colour, Pixels

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
    spread, fade = round(SPREAD * size), max(1, round(FADE * size))
    left, across = _ramp(place.left - spread, place.right + spread, fade, end=pixels.shape[1])
    top, down = _ramp(place.top - spread, place.bottom + spread, fade, end=pixels.shape[0])
    coverage = np.asarray((np.outer(down, across) + 127) // 255, dtype=np.uint8)
    return inked(pixels, coverage, shade.tone, left=left, top=top, opacity=shade.opacity)


def _enough(near: Pixels, tone: Colour, colour: Colour, wanted: float) -> Shade:
    """The least opacity, in steps, that gives the contrast wanted, else the most."""
    opacity = found = 0.0
    while opacity < STRONGEST and found < wanted:
        opacity += STEP
        mixed = near * (1 - opacity * AT_EDGE) + np.array(tone) * opacity * AT_EDGE
        found = contrast(colour, mixed.round().astype(np.uint8))
    return Shade(opacity, found, tone, colour)


def _ramp(first: int, last: int, fade: int, *, end: int) -> tuple[int, npt.NDArray[np.uint16]]:
    """Up, along and down again without a corner (smoothstep), 0 to 255; what the picture has of it, and from where."""
    start = max(first, 0)
    at = np.arange(start, min(last, end)) + 0.5
    share = np.clip(np.minimum(at - first, last - at) / fade, 0, 1)
    return start, np.asarray((share * share * (3 - 2 * share) * 255).round(), dtype=np.uint16)
