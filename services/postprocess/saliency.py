"""Where a picture draws the eye: the spectral residual of its luma, on a map of 64 × 64.

Xiaodi Hou, Liqing Zhang: Saliency Detection: A Spectral Residual Approach, CVPR 2007.
"""

import cv2
import numpy as np
import numpy.typing as npt

from services.postprocess.compositing import flatten
from services.postprocess.geometry import Box
from services.postprocess.pictures import Picture

Map = npt.NDArray[np.float32]

SIDE = 64  # the size the paper uses: what is smaller than a 64th of the picture draws no eye
SIGMA = 2.5  # of the map's smoothing, in its own pixels; the paper's 8 at a map of 64 blurs two things into one
# How much a place in the middle counts against one in the corner: people compose so, and a flat picture then stays
# where it is.
CENTRE = 0.35


def salient(picture: Picture) -> Map:
    """How much each place draws the eye; all of it sums to 1."""
    small = picture.render(picture.box, SIDE, SIDE)
    luma = cv2.cvtColor(flatten(small), cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = np.fft.fft2(luma)
    amplitude = np.log(np.abs(spectrum) + 1e-6).astype(np.float32)
    residual = amplitude - cv2.blur(amplitude, (3, 3), borderType=cv2.BORDER_REPLICATE)
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(found.astype(np.float32), (0, 0), SIGMA)
    middle = cv2.getGaussianKernel(SIDE, SIDE / 3, cv2.CV_32F)
    weighted = smooth / max(float(smooth.sum()), 1e-9) + CENTRE * (middle @ middle.T)
    return np.asarray(weighted / weighted.sum(), dtype=np.float32)


def most_salient(found: Map, window: Box, *, within: Box, width: float, height: float) -> Box:
    """The box of this size inside the window that holds most of the map; `within` is the picture that the map shows.

    Of several as good the middle one, so that a plain picture is cut in the middle.
    """
    x, y = SIDE / within.width, SIDE / within.height
    total = np.pad(found.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    lefts = _starts(window.left, window.right - width)
    tops = _starts(window.top, window.bottom - height)
    left, top = lefts[None, :], tops[:, None]
    held = _sum(total, left * x, top * y, (left + width) * x, (top + height) * y)
    best = np.argwhere(held >= held.max() - 1e-6)
    middle = np.array([(len(tops) - 1) / 2, (len(lefts) - 1) / 2])
    row, column = best[np.argmin(((best - middle) ** 2).sum(axis=1))]
    return Box(float(lefts[column]), float(tops[row]), float(lefts[column] + width), float(tops[row] + height))


def _starts(low: float, high: float) -> npt.NDArray[np.float64]:
    return np.linspace(low, high, SIDE + 1) if high - low > 1e-6 else np.array([low])


def _sum(total: npt.NDArray[np.float64], left: object, top: object, right: object, bottom: object) -> Map:
    """Of the map inside each box, edges rounded to its pixels."""
    x0, y0, x1, y1 = (np.clip(np.rint(np.asarray(edge)), 0, SIDE).astype(int) for edge in (left, top, right, bottom))
    return np.asarray(total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0], dtype=np.float32)
