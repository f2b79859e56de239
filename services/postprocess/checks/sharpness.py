"""How soft the edges of a picture are.

Softness is how little a further blur takes from the strongest edges (Crété-Roffet, Dolmière, Ladret & Nicolas 2007),
across or down, whichever is worse: one edge is as good as many, and a shake cannot hide behind the edges along it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

# Height × width of one number each.
Plane = NDArray[np.float32]

# Grain is no edge: one pixel of smoothing takes it away.
GRAIN = 1.0
REACH = 9
# Only the strongest tenth of differences are edges; the rest is shading.
EDGES = 90
# With less contrast than this (of 255) there is no edge to be sharp.
CONTRAST = 24.0


def softness(luma: Plane) -> float | None:
    """0 where edges are one pixel wide, 1 where there are none left; None where nothing has an edge."""
    if min(luma.shape) < 2 * REACH:
        return None
    smooth = np.asarray(cv2.GaussianBlur(luma, (0, 0), GRAIN), dtype=np.float32)
    low, high = np.percentile(smooth, (2, 98))
    if high - low < CONTRAST:
        return None
    return max(_kept(smooth, axis) for axis in (0, 1))


def _kept(luma: Plane, axis: int) -> float:
    """How much of the differences along an axis is left after blurring along it."""
    window = (1, REACH) if axis == 0 else (REACH, 1)
    blurred = cv2.blur(luma, window)
    before, after = np.abs(np.diff(luma, axis=axis)), np.abs(np.diff(blurred, axis=axis))
    edges = before >= np.percentile(before, EDGES)
    strong = before[edges]
    return 1.0 - float(np.maximum(0, strong - after[edges]).sum() / max(float(strong.sum()), 1e-6))
