"""Whether there is a picture at all: blank says nothing, noise says nothing either.

Blank: what stands out from the ground (luma and colour, less what is smooth over a tenth of the picture) has little
entropy, however far a gradient of the ground goes (Shannon 1948). Noise: neighbours have little in common, at a fine
scale or at a coarse one, where latents that were never denoised are blots; and nearly everywhere, where grass and sand
leave a quarter of the picture to what is smooth or has outlines.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.check import Check
from services.postprocess.checks.sharpness import Plane
from services.postprocess.checks.view import View, cut, luma_of, resized
from services.postprocess.pixels import Pixels
from shared.events import Verdict

SIDE = 128
# What changes more slowly than this, in pixels of 128, is ground.
GROUND = 10.0
BINS = 256
PARTS = 4
# The finest scale that grain leaves alone, and one at which blots of latents are a pixel or two.
FINE, COARSE = 192, 48
# Each scale in so many parts a side; of the parts the quarter that is least like noise counts.
PLACES = 8
LEAST_NOISY = 0.75
# Variance (of 255²) of a place that has nothing to tell; a flat one is no noise.
QUIET = 4.0


def bits(levels: NDArray[np.intp]) -> float:
    """Entropy of so many pixels of each level."""
    shares = levels[levels > 0] / levels.sum()
    return float(-(shares * np.log2(shares)).sum())


def told(pixels: Pixels) -> float:
    """Bits of what stands out from the ground, in the sixteenth of the picture and the channel of Lab that says most.

    The second of each sixteen: a speck in one corner is no picture.
    """
    lab = np.asarray(cv2.cvtColor(resized(pixels, SIDE, SIDE), cv2.COLOR_RGB2LAB), dtype=np.float32)
    out = lab - np.asarray(cv2.GaussianBlur(lab, (0, 0), GROUND), dtype=np.float32)
    levels = np.clip(np.rint(out) + BINS // 2, 0, BINS - 1).astype(np.int64)
    parts = (
        levels.reshape(PARTS, SIDE // PARTS, PARTS, SIDE // PARTS, 3).transpose(4, 0, 2, 1, 3).reshape(3, PARTS**2, -1)
    )
    return max(sorted(bits(np.bincount(part, minlength=BINS)) for part in channel)[-2] for channel in parts)


def likeness_of_neighbours(pixels: Pixels) -> float:
    """1 where every pixel tells the next, 0 where none does: the lower of two scales, weighted by contrast.

    Blots have colours of their own, which at that scale leaves and stones have not.
    """
    fine, coarse = (resized(pixels, side, side) for side in (FINE, COARSE))
    blots = (_correlation([luma_of(coarse)]) + _correlation(_differences(coarse))) / 2
    return min(_correlation([luma_of(fine)]), blots)


def _differences(pixels: Pixels) -> list[Plane]:
    red, green, blue = cv2.split(pixels.astype(np.float32))
    return [np.asarray(red - green, dtype=np.float32), np.asarray(blue - green, dtype=np.float32)]


def _correlation(planes: Sequence[Plane]) -> float:
    """Autocorrelation at one pixel, of what blocks of nine have about their mean, in the places least like noise."""
    told, power = np.full((2, PLACES, PLACES), QUIET * len(planes), dtype=np.float32)
    for plane in planes:
        rest = plane - np.asarray(cv2.blur(plane, (9, 9)), dtype=np.float32)
        shared = np.zeros_like(rest)
        shared[:, :-1] += rest[:, 1:] * rest[:, :-1] / 2
        shared[:-1] += rest[1:] * rest[:-1] / 2
        told += cv2.resize(shared, (PLACES, PLACES), interpolation=cv2.INTER_AREA)
        power += cv2.resize(rest**2, (PLACES, PLACES), interpolation=cv2.INTER_AREA)
    return float(np.quantile(told / power, LEAST_NOISY))


def look(view: View, limit: float) -> Verdict:
    # A small product before a plain wall says all that there is in one part of the whole, so it is looked at by itself.
    shown = [view.pixels, cut(view.pixels, view.live)] if view.live else [view.pixels]
    number = round(max(map(told, shown)), 2)
    ok = number >= limit
    sentence = "There is a picture." if ok else "The picture is blank."
    return Verdict(check="entropy", ok=ok, number=number, limit=limit, unit="bits", sentence=sentence)


def look_for_noise(view: View, limit: float) -> Verdict:
    number = round(likeness_of_neighbours(view.pixels), 3)
    ok = number >= limit
    sentence = "There is more than noise." if ok else "The picture is noise, or too much of it is."
    return Verdict(check="noise", ok=ok, number=number, limit=limit, unit="of 1", sentence=sentence)


ENTROPY = Check(name="entropy", look=look, limit=4.75, code="artefact", least=True, usual=True)
NOISE = Check(name="noise", look=look_for_noise, limit=0.54, code="artefact", least=True, usual=True)
