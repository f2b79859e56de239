"""Sharpen for the size at which it is seen: an unsharp mask on luma, the stronger the smaller the picture."""

import cv2
import numpy as np

from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from services.postprocess.pixels import Pixels
from shared.library.operations import Sharpen

# What shrinking takes from an edge, and a small picture shows most: amounts by longest side, linear between.
SIDES, AMOUNTS = (320.0, 1024.0, 2048.0), (0.6, 0.4, 0.25)


def sharpen(frame: Frame, wanted: Sharpen) -> Frame:
    whole = frame.whole()
    amount = wanted.amount if wanted.amount is not None else float(np.interp(max(whole.size), SIDES, AMOUNTS))
    return whole.replaced(sharpened(whole.pixels(), amount=amount, radius=wanted.radius, threshold=wanted.threshold))


def sharpened(pixels: Pixels, *, amount: float, radius: float, threshold: int) -> Pixels:
    """Luma's edges added to all three channels alike, so that no colour changes its hue."""
    luma = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)
    edges = cv2.subtract(luma, cv2.GaussianBlur(luma, (0, 0), radius), dtype=cv2.CV_16S)
    edges[np.abs(edges) <= threshold] = 0
    added = np.rint(edges.astype(np.float32) * amount).astype(np.int16)
    made = pixels.copy()
    made[..., :3] = cv2.add(np.ascontiguousarray(pixels[..., :3]), cv2.merge([added, added, added]), dtype=cv2.CV_8U)
    return made


SHARPEN = Operation.of("sharpen", Sharpen, sharpen)
