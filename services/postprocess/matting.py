"""The product's shape where nobody drew it, and its colours without the ground that shone through at its edge.

Carsten Rother, Vladimir Kolmogorov, Andrew Blake: GrabCut, SIGGRAPH 2004 (OpenCV's); Kaiming He, Jian Sun, Xiaoou Tang:
Guided Image Filtering, ECCV 2010.
"""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from services.postprocess.geometry import Box
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels

Plane = npt.NDArray[np.floating[Any]]

SIDE = 512  # the longest side that GrabCut works at: a fifth of a second there, ten times that at 1024
ROUNDS = 3
# How much of what is around the box it learns the ground from, a share of the box's longer side. A wall on the other
# side of the picture would outweigh what stands behind the product: of 24 proofs the shapes' mean IoU is 0.97 so, and
# 0.90 with all of the picture.
AROUND = 0.25
SEED = 7  # of OpenCV's random numbers, from which GrabCut's clusters begin
# Beyond the box that is said to hold the product, so that one drawn a little tight cuts nothing off.
AIR = 0.04
# Side at which the edge is fitted to the picture's own, its window there in pixels, and how flat counts as flat.
FITTED, WINDOW, FLAT = 1536, 4, 1e-4
# What a hole or a crumb may measure of the whole shape before it is one.
CRUMB = 0.05


def shape_of(picture: Picture, box: Box) -> Pixels:
    """A soft mask of the thing inside the box, told from what lies outside of it; of the picture's size."""
    part = _surroundings(box).within(picture.box)
    small = _bounded(picture, SIDE, part)
    across, down = small.shape[1] / part.width, small.shape[0] / part.height
    inside = box.moved(-part.left, -part.top).scaled(across, down)
    left, top, right, bottom = _around(inside, small.shape[1], small.shape[0])
    marked = np.full(small.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    marked[top:bottom, left:right] = cv2.GC_PR_FGD
    if (marked == cv2.GC_BGD).any():
        cv2.setRNGSeed(SEED)
        cv2.grabCut(small, marked, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.where((marked == cv2.GC_FGD) | (marked == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    return fitted(picture, _placed(_without_crumbs(found), part, picture))


def fitted(picture: Picture, mask: Pixels) -> Pixels:
    """A rough mask of any size, at the picture's and with its edges where the picture has them."""
    return _enlarged(_fitted(_bounded(picture, FITTED), mask), *picture.size)


def without_ground(pixels: Pixels, alpha: Pixels) -> Pixels:
    """The picture with this alpha, and in pixels that are part ground the product's own colour.

    Seen is alpha · own + (1 - alpha) · ground; the ground near by is that of pixels which are nothing else.
    """
    seen = np.ascontiguousarray(pixels[..., :3])
    made = np.dstack([seen, alpha])
    mixed = (alpha > 0) & (alpha < 255)
    if not mixed.any():
        return made
    bare = (alpha == 0).astype(np.float32)
    reach = (0, 0), max(2.0, max(alpha.shape) / 250)
    weight = cv2.GaussianBlur(bare, *reach)[mixed]
    share = (alpha[mixed].astype(np.float32) / 255)[:, None]
    ground = np.stack([cv2.GaussianBlur(plane * bare, *reach)[mixed] for plane in np.moveaxis(seen, 2, 0)], axis=1)
    known = weight > 0.01
    own = (seen[mixed] - (1 - share) * ground / np.maximum(weight, 0.01)[:, None]) / np.maximum(share, 0.1)
    made[mixed, :3] = np.where(known[:, None], np.clip(np.rint(own), 0, 255), seen[mixed]).astype(np.uint8)
    return made


def _bounded(picture: Picture, side: int, part: Box | None = None) -> Pixels:
    """The picture, or a part of it, no larger than this."""
    part = part or picture.box
    factor = min(1.0, side / max(part.width, part.height))
    width, height = (max(8, round(length * factor)) for length in (part.width, part.height))
    return np.ascontiguousarray(picture.render(part, width, height)[..., :3])


def _surroundings(box: Box) -> Box:
    """In whole pixels, at least one each way."""
    more = max(1.0, AROUND * max(box.width, box.height))
    left, top = math.floor(box.left - more), math.floor(box.top - more)
    return Box(left, top, math.ceil(box.right + more), math.ceil(box.bottom + more))


def _placed(mask: Pixels, part: Box, picture: Picture) -> Pixels:
    """The mask of a part as one of the whole picture."""
    width, height = picture.size
    left, top, right, bottom = round(part.left), round(part.top), round(part.right), round(part.bottom)
    whole = np.zeros((height, width), dtype=np.uint8)
    whole[top:bottom, left:right] = _enlarged(mask, right - left, bottom - top)
    return whole


def _around(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The box with air around it, but never the picture's very border: that much of the ground is always known."""
    air = AIR * max(box.width, box.height)
    left, top = max(1, round(box.left - air)), max(1, round(box.top - air))
    right, bottom = min(width - 1, round(box.right + air)), min(height - 1, round(box.bottom + air))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _without_crumbs(mask: Pixels) -> Pixels:
    """Only pieces that count, and those without pinholes."""
    least = CRUMB * np.count_nonzero(mask)
    for inside in (255, 0):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(np.where(mask == inside, 255, 0).astype(np.uint8))
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] < least:
                mask[labels == label] = 255 - inside
    return mask


def _fitted(guide: Pixels, mask: Pixels) -> Pixels:
    """The mask with its edge where the guide's is: inside each window a linear function of its luma."""
    size = (guide.shape[1], guide.shape[0])
    light = cv2.cvtColor(guide, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    rough = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    window = (2 * WINDOW + 1, 2 * WINDOW + 1)

    def mean(plane: Plane) -> Plane:
        return np.asarray(cv2.blur(plane, window), dtype=np.float32)

    centre, level = mean(light), mean(rough)
    slope = (mean(light * rough) - centre * level) / (mean(light * light) - centre * centre + FLAT)
    fitted = mean(slope) * light + mean(level - slope * centre)
    # Far from any edge nothing is in doubt, and a soft step leaves no veil over the ground.
    firm = np.clip((fitted - 0.1) / 0.8, 0, 1)
    return np.rint(firm * 255).astype(np.uint8)


def _enlarged(mask: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
