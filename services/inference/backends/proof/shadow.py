"""What keeps light from a point: bodies between it and the window, and bodies that stand close to it.

A body casts as a flat silhouette standing at its own depth: exact for what is far from it, and where body and shadow
meet, its contact darkening hides the difference. Silhouettes live on the coarse grid, blurred by distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from services.inference.backends.proof.camera import COARSE, COS, SIN, Array, Camera
from services.inference.backends.proof.light import KEY
from services.inference.backends.proof.texture import sample

# Blur of the silhouette in world units, at these distances along the ray.
BLURS = ((0.0, 0.003), (0.25, 0.014), (0.8, 0.045))
DENSITY = 0.94
# The dark line at a foot is this much deeper than the foot, or the coarse grid would lose it in front.
SKIRT = 0.012
# Neighbouring rows of the table look at rows of the silhouette this far apart: nothing finer may stand in it.
ROWS_APART = KEY[1] / KEY[2] / SIN * COS
# What stands beside the frame still casts into it: silhouettes are this many coarse cells larger on every side.
MARGIN = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Caster:
    """A silhouette at depth `z`: coarse pictures of the frame, ever more blurred.

    `reach` is where they hold anything: top, bottom, left, right.
    """

    z: float
    levels: tuple[Array, ...]
    reach: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A foot of half axes `wide`, `deep` (world units) standing at `x`, `y`, `z`; `height` is how tall its body is."""

    x: float
    y: float
    z: float
    wide: float
    deep: float
    height: float


def caster(camera: Camera, silhouette: Array, *, z: float) -> Caster:
    """From coverage on the coarse grid of the frame, with its margin."""
    image = Image.fromarray((np.clip(silhouette, 0, 1) * 255).astype(np.uint8))
    levels = []
    for _, blur in BLURS:
        across = blur * camera.unit / COARSE
        blurred = image.filter(ImageFilter.GaussianBlur((across, max(across, ROWS_APART / 2))))
        levels.append(np.asarray(blurred, dtype=np.float32) / 255)
    return Caster(z=z, levels=tuple(levels), reach=_bounds(levels[-1]))


def _bounds(softest: Array) -> tuple[int, int, int, int]:
    """Rows and columns beyond which there is no shadow, inside what can be interpolated."""
    rows, columns = np.flatnonzero(softest.max(axis=1)), np.flatnonzero(softest.max(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    height, width = softest.shape
    return max(rows[0] - 1, 0), min(rows[-1] + 1, height - 2), max(columns[0] - 1, 0), min(columns[-1] + 1, width - 2)


def sunlit(camera: Camera, side: int, casters: Sequence[Caster], x: Array, y: Array, z: Array) -> Array:
    """Share of the key light that reaches each point, 0..1."""
    lit: Array = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=np.float32)
    for one in casters:
        lit *= 1 - DENSITY * _shade(camera, side, one, x, y, z)
    return lit


def _shade(camera: Camera, side: int, caster: Caster, x: Array, y: Array, z: Array) -> Array:
    travel = (caster.z - z) / KEY[2]
    column = (camera.centre + (x + travel * KEY[0] * -side) * camera.unit) / COARSE - 0.5 + MARGIN
    row = (camera.line + (caster.z * SIN - (y + travel * KEY[1]) * COS) * camera.unit) / COARSE - 0.5 + MARGIN
    top, bottom, left, right = caster.reach
    inside = (travel > 0) & (column > left) & (column < right) & (row > top) & (row < bottom)
    at = np.nonzero(inside)
    travel, column, row = (np.broadcast_to(part, inside.shape)[at] for part in (travel, column, row))
    dark: Array = np.zeros(len(travel), dtype=np.float32)
    for level, (far, _) in enumerate(BLURS):
        dark += _weight(travel, level, far) * sample(caster.levels[level], row, column)
    shade: Array = np.zeros(inside.shape, dtype=np.float32)
    # Light that has travelled far past an edge is filled from the rest of the room.
    shade[at] = dark * np.clip(1.12 - 0.30 * travel, 0.25, 1)
    return shade


def _weight(travel: Array, level: int, far: float) -> Array:
    weight: Array = np.ones_like(travel)
    if level > 0:
        weight = np.clip((travel - BLURS[level - 1][0]) / (far - BLURS[level - 1][0]), 0, 1)
    if level < len(BLURS) - 1:
        weight = weight * (1 - np.clip((travel - far) / (BLURS[level + 1][0] - far), 0, 1))
    return weight


def open_sky(contacts: Sequence[Contact], x: Array, y: Array, z: Array) -> Array:
    """Share of the fill light that reaches each point past the bodies standing there, 0..1."""
    seen: Array = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=np.float32)
    for foot in contacts:
        away = np.hypot((x - foot.x) / foot.wide, (z - foot.z) / (foot.deep + SKIRT))
        away = np.maximum(away - 1, 0) * foot.wide
        level = np.clip(1 - np.abs(y - foot.y) / 0.05, 0, 1)
        close = 0.50 * np.exp(-away / 0.016) + 0.34 * np.exp(-away / (0.22 * foot.height + 0.02))
        seen *= 1 - close * level
    return seen
