"""Whether there is a picture at all: blank says nothing, noise says nothing either.

Blank: what stands out from the ground (luma and colour, less what is smooth over a tenth of the picture) has little
entropy, however far a gradient of the ground goes (Shannon 1948). Noise: neighbours have little in common, at a fine
scale or at a coarse one, where latents that were never denoised are blots.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.view import Pixels, Plane, luma_of, resized

SIDE = 128
# What changes more slowly than this, in pixels of 128, is ground.
GROUND = 10.0
BINS = 256
# The finest scale that grain leaves alone, and one at which blots of latents are a pixel or two.
FINE, COARSE = 192, 48


def bits(luma: Plane) -> float:
    """Entropy of luma, 0..8."""
    counts = np.bincount(luma.astype(np.uint8).ravel(), minlength=BINS)
    return _entropy(counts)


def told(pixels: Pixels) -> float:
    """Bits of what stands out from the ground, of the channel of Lab that says most."""
    small = resized(pixels, SIDE, SIDE)
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), dtype=np.float32)
    out = lab - np.asarray(cv2.GaussianBlur(lab, (0, 0), GROUND), dtype=np.float32)
    levels = np.clip(np.rint(out) + BINS // 2, 0, BINS - 1).astype(np.uint8)
    return max(_entropy(np.bincount(levels[:, :, channel].ravel(), minlength=BINS)) for channel in range(3))


def likeness_of_neighbours(pixels: Pixels) -> float:
    """1 where every pixel tells the next, 0 where none does: the lower of two scales, weighted by contrast."""
    return min(_correlation(luma_of(resized(pixels, side, side))) for side in (FINE, COARSE))


def _correlation(luma: Plane) -> float:
    """Autocorrelation at one pixel, of what blocks of eight have about their mean."""
    rest = luma - np.asarray(cv2.blur(luma, (9, 9)), dtype=np.float32)
    power = float((rest**2).mean())
    if power < 1e-3:
        return 1.0
    right, down = float((rest[:, 1:] * rest[:, :-1]).mean()), float((rest[1:] * rest[:-1]).mean())
    return (right + down) / 2 / power


def _entropy(counts: NDArray[np.intp]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
