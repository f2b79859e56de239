"""How soft the edges of a picture are.

Softness is how little a further blur takes from the strongest edges (Crété-Roffet, Dolmière, Ladret & Nicolas 2007),
across, down or aslant, whichever is worst: one edge is as good as many, so a ground out of focus makes nothing soft,
and a shake cannot hide behind the edges along it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

# Height × width of one number each.
Plane = NDArray[np.float32]

# Grain is no edge: one pixel of smoothing takes it away.
GRAIN = 1.0
REACH = 9
# Only the strongest fiftieth of differences are edges; the rest is shading, or out of focus on purpose.
EDGES = 0.98
# A direction whose edges are this much weaker than the strongest has none: roofs and horizons run one way.
NO_EDGE = 0.25
# With less contrast than this (of 255) there is no edge to be sharp.
CONTRAST = 24.0
# Columns and rows from one pixel to the next.
WAYS = ((1, 0), (0, 1), (1, 1), (-1, 1))


def softness(luma: Plane) -> float | None:
    """0 where edges are one pixel wide, 1 where there are none left; None where nothing has an edge."""
    if min(luma.shape) < 2 * REACH:
        return None
    smooth = np.asarray(cv2.GaussianBlur(luma, (0, 0), GRAIN), dtype=np.float32)
    low, high = np.percentile(smooth[::2, ::2], (2, 98))
    if high - low < CONTRAST:
        return None
    found = [_kept(smooth, across, down) for across, down in WAYS]
    strongest = max(strength for _, strength in found)
    return max(kept for kept, strength in found if strength >= NO_EDGE * strongest)


def _kept(luma: Plane, across: int, down: int) -> tuple[float, float]:
    """How much of the strongest differences one way is left after blurring that way, and how strong an edge is there.

    A mean of nine in a row moves by a ninth of what its two ends differ by.
    """
    before = np.abs(_step(luma, across, down, 4, 5) - _step(luma, across, down, 5, 4))
    after = np.abs(_step(luma, across, down, 0, 9) - _step(luma, across, down, 9, 0)) / REACH
    strength = float(np.partition(before.ravel(), int(EDGES * before.size))[int(EDGES * before.size)])
    edges = before >= strength
    strong = before[edges]
    return 1.0 - float(np.maximum(0, strong - after[edges]).sum() / max(float(strong.sum()), 1e-6)), strength


def _step(luma: Plane, across: int, down: int, start: int, stop: int) -> Plane:
    """The plane without so many rows and columns before and behind: all that are taken add up to a reach."""
    height, width = luma.shape
    x, y = abs(across), abs(down)
    left, right = (start, stop) if across >= 0 else (stop, start)
    return luma[start * y : height - stop * y, left * x : width - right * x]
