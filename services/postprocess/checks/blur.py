"""Whether the product is soft: out of focus, shaken, or painted over.

Softness is how little a further blur takes from the strongest edges (Crete, Dolmiere, Ladret & Nicolas 2007), across or
down, whichever is worse: one edge is as good as many, and a shake cannot hide behind the edges that lie along it.
"""

import cv2
import numpy as np

from services.postprocess.checks.check import Check
from services.postprocess.checks.view import Plane, View
from shared.events import Verdict

# Grain is no edge: one pixel of smoothing takes it away.
GRAIN = 1.0
REACH = 9
# Only the strongest tenth of differences are edges; the rest is shading.
EDGES = 90
# With less contrast than this (of 255) there is no edge to be sharp.
CONTRAST = 24.0
# With a Laplacian as strong as this against the product's own contrast, something in it is sharp.
CRISP = 0.02


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


def crispness(luma: Plane) -> float:
    """Variance of the Laplacian against that of the product itself: of what is told apart, how much by fine detail."""
    smooth = np.asarray(cv2.GaussianBlur(luma, (0, 0), GRAIN), dtype=np.float32)
    return float(cv2.Laplacian(smooth, cv2.CV_32F).var() / max(float(smooth.var()), 1.0))


def look(view: View, limit: float) -> Verdict:
    soft = softness(view.product)
    if soft is None:
        return Verdict(check="blur", ok=True, limit=limit, sentence="There is no edge to be sharp.")
    number = round(soft, 3)
    ok = number <= limit
    sentence = "The product is sharp." if ok else "The product is soft."
    return Verdict(check="blur", ok=ok, number=number, limit=limit, unit="of 1", sentence=sentence)


BLUR = Check(name="blur", look=look, limit=0.53, code="soft", usual=True)
