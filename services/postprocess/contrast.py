"""How well a colour stands out from what it is laid on: relative luminance and contrast as WCAG 2.2 defines them."""

import math
from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from services.postprocess.compositing import flatten
from services.postprocess.pixels import WHITE, Colour, Pixels

Light = NDArray[np.float32]

# About so many pixels of a large area are looked at: enough for a percentile, cheap for a hero's whole width.
SAMPLES = 16_000
# The weakest twentieth of the places says how a text reads: a mean hides the letter that stands on a window.
WEAKEST = 0.05
BLACK: Colour = (17, 17, 17)  # near-black


def luminance(colour: Colour) -> float:
    return float(light(np.array([[colour]], dtype=np.uint8))[0])


def light(pixels: Pixels) -> Light:
    """Of every pixel, in one row; what is see-through is taken to lie on white."""
    red, green, blue = (_curve()[channel] for channel in flatten(pixels)[..., :3].reshape(-1, 3).T)
    return np.asarray(0.2126 * red + 0.7152 * green + 0.0722 * blue, dtype=np.float32)


def sampled(pixels: Pixels, places: NDArray[np.bool_]) -> Pixels:
    """The pixels at some places, or those on an even grid of them, in one row."""
    step = max(1, math.isqrt(places.size // SAMPLES))
    return pixels[::step, ::step][places[::step, ::step]][None]


def contrast(colour: Colour, ground: Pixels) -> float:
    """From 1 to 21: what nineteen in twenty pixels of the ground have at least."""
    return _weakest(luminance(colour), light(ground))


def _weakest(own: float, ground: Light) -> float:
    if not ground.size:
        return 1.0
    ratios = (np.maximum(ground, own) + 0.05) / (np.minimum(ground, own) + 0.05)
    at = int(WEAKEST * (ratios.size - 1))
    return float(np.partition(ratios, at)[at])


def clearest(colours: Iterable[Colour], ground: Pixels, *, wanted: float) -> Colour:
    """Of these colours the one that stands out most; white or near-black where none does as wanted and they do more."""
    below = light(ground)
    found = {colour: _weakest(luminance(colour), below) for colour in (*colours, WHITE, BLACK)}
    own = max((colour for colour in found if colour not in {WHITE, BLACK}), key=found.__getitem__, default=WHITE)
    return own if found[own] >= wanted else max(found, key=found.__getitem__)


@cache
def _curve() -> Light:
    """From 8-bit sRGB to linear light."""
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
