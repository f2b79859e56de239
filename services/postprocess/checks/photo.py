"""The brand's approved photo of a product, laid over the product in a picture.

Both are cut to the product, so its box says where it is, and a homography from features (SIFT, Lowe 2004, with RANSAC,
Fischler & Bolles 1981) says it better where there are enough of them. Photos are cut out, or stand on one colour.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.sharpness import Plane
from services.postprocess.checks.view import covered, cut, lab_of, luma_of, resized, seen
from services.postprocess.compositing import flatten
from services.postprocess.pixels import Pixels, is_transparent

Matrix = NDArray[np.float64]

# ΔE*ab from the rim at which a photo's ground ends.
GROUND = 12.0
FEATURES = 600
RATIO = 0.8
# Pixels that a feature may lie off, and how many have to agree.
REACH, AGREEING = 4.0, 10
# Labels are printed in both directions, reeds and edges run in one; strokes stronger than this count as this.
STROKE = 120.0


@dataclass(frozen=True)
class Photo:
    """`shape` is 255 where the product is."""

    pixels: Pixels
    shape: Pixels

    @classmethod
    def of(cls, pixels: Pixels) -> Self | None:
        """Cut to the product; None where nothing can be told from the ground."""
        shape = pixels[:, :, 3] if is_transparent(pixels) else _from_ground(pixels)
        area = covered(shape)
        if area is None:
            return None
        close = seen(cut(pixels, area))
        return cls(close, resized(cut(shape, area), close.shape[1], close.shape[0]))

    @cached_property
    def label(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of where most is printed."""
        density = self._printed()
        _, parts, boxes, _ = cv2.connectedComponentsWithStats((density > 0.5 * density.max()).astype(np.uint8))
        sums = np.bincount(parts.ravel(), weights=density.ravel(), minlength=len(boxes))
        left, top, width, height = (int(edge) for edge in boxes[1 + int(np.argmax(sums[1:]))][:4])
        return left, top, left + width, top + height

    def _printed(self) -> Plane:
        smooth = cv2.GaussianBlur(luma_of(self.pixels), (0, 0), 0.7)
        framed = cv2.copyMakeBorder(self.shape, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=[0])
        inside = cv2.erode(framed, np.ones((15, 15), dtype=np.uint8))[1:-1, 1:-1] > 127
        window = max(self.pixels.shape[:2]) // 9 | 1
        ways = [
            cv2.blur(np.minimum(np.abs(cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x)), STROKE) * inside, (window, window))
            for x in (1, 0)
        ]
        return np.asarray(np.minimum(*ways), dtype=np.float32) + np.float32(1e-6)

    def lain_over(self, picture: Pixels, shape: Pixels) -> list[Matrix]:
        """How the photo may lie over a picture of the product: by its box, and by its features where they agree."""
        found = [_between(cv2.boundingRect(_solid(self.shape)), cv2.boundingRect(_solid(shape)))]
        return found + _by_features(self, picture, shape)

    def warped(self, matrix: Matrix, picture: Pixels) -> tuple[Pixels, Pixels]:
        """The photo and its shape as they lie over the picture."""
        size = picture.shape[1], picture.shape[0]
        pixels, shape = (cv2.warpPerspective(each, matrix, size) for each in (self.pixels, self.shape))
        return np.asarray(pixels, dtype=np.uint8), np.asarray(shape, dtype=np.uint8)


def _from_ground(pixels: Pixels) -> Pixels:
    """What differs from the rim, without holes."""
    lab = lab_of(flatten(pixels))
    rim = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    differs = (np.sqrt(((lab - np.median(rim, axis=0)) ** 2).sum(axis=2)) > GROUND).astype(np.uint8) * 255
    closed = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((9, 9), dtype=np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((5, 5), dtype=np.uint8))
    outlines, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(np.zeros_like(opened), outlines, -1, [255], cv2.FILLED), dtype=np.uint8)


def _solid(shape: Pixels) -> Pixels:
    return (shape > 127).astype(np.uint8)


def _between(one: "cv2.typing.Rect", other: "cv2.typing.Rect") -> Matrix:
    x, y = other[2] / max(one[2], 1), other[3] / max(one[3], 1)
    return np.array([[x, 0, other[0] - one[0] * x], [0, y, other[1] - one[1] * y], [0, 0, 1]], dtype=np.float64)


def _by_features(photo: Photo, picture: Pixels, shape: Pixels) -> list[Matrix]:
    sift = cv2.SIFT.create(nfeatures=FEATURES, contrastThreshold=0.02)
    here, said = sift.detectAndCompute(cv2.cvtColor(photo.pixels, cv2.COLOR_RGB2GRAY), photo.shape)
    there, heard = sift.detectAndCompute(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), shape)
    if min(len(here), len(there)) < AGREEING:
        return []
    pairs = [pair for pair in cv2.BFMatcher().knnMatch(said, heard, k=2) if len(pair) == 2]
    sure = [best for best, next_ in pairs if best.distance < RATIO * next_.distance]
    if len(sure) < AGREEING:
        return []
    ours = np.array([here[match.queryIdx].pt for match in sure], dtype=np.float32)
    theirs = np.array([there[match.trainIdx].pt for match in sure], dtype=np.float32)
    cv2.setRNGSeed(0)  # RANSAC draws lots
    matrix, agreeing = cv2.findHomography(ours, theirs, cv2.RANSAC, REACH)
    return [np.asarray(matrix, dtype=np.float64)] if int(agreeing.sum()) >= AGREEING else []
