"""Solids seen by the camera: per pixel what it covers, the normal, and where on the solid it is.

Everything is computed on cells, `fine` to a pixel's side, in the solid's own frame: the origin is the middle of its
foot, columns grow to the right, rows downwards.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from services.inference.backends.proof.camera import COS, SIN, Array

FINE = 2
FAR = 1e6
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """`left`, `top`: where the first cell is. `nx`, `ny`: the normal as the camera sees it (nz follows).

    `u`: the angle around a lathe (radians, 0 in front) or the place across a face; `h`: height in world units;
    `depth`: towards us, world units; `face` tells a box's faces and a lathe's open top apart.
    """

    left: int
    top: int
    cover: Array
    nx: Array
    ny: Array
    u: Array
    h: Array
    depth: Array
    face: Array
    fine: int = FINE


def profile(points: Points, *, count: int, smooth: float) -> tuple[Array, Array]:
    """Heights and radii of a smoothed profile, evenly spaced; `smooth` is a standard deviation in world units."""
    heights = np.linspace(points[0][0], points[-1][0], count, dtype=np.float64)
    radii = np.interp(heights, [p[0] for p in points], [p[1] for p in points])
    sigma = smooth / max(heights[1] - heights[0], 1e-9)
    reach = int(3 * sigma)
    if reach >= 1:
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        padded = np.concatenate((np.full(reach, radii[0]), radii, np.full(reach, radii[-1])))
        radii = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return heights, radii


@lru_cache(maxsize=4)
def lathe(points: Points, unit: float, smooth: float = 0.004, lip: float = 0.0, well: float = 0.0) -> Surface:
    """A solid of revolution; with `lip` (wall thickness) it is open at the top and filled up to `well` below the rim.

    A ray that looks down meets the highest slice first: per column, the visible slice is the last one whose front
    edge lies at or below the ray.
    """
    scale = unit * FINE
    span = points[-1][0] - points[0][0]
    heights, radii = profile(points, count=max(24, int(span * scale * 1.2)), smooth=smooth)
    widest = float(radii.max())
    half = math.ceil(widest * scale) + 2
    columns = (np.arange(half) + 0.5) / scale
    highest = float((heights * COS + radii * SIN).max())
    lowest = float((heights * COS - radii * SIN).min())
    top, bottom = math.floor(-highest * scale) - 1, math.ceil(-lowest * scale) + 1
    rows = -(np.arange(top, bottom) + 0.5) / scale

    reach = _silhouette(rows, heights, radii)
    cover = np.clip((reach[:, None] - columns[None, :]) * scale + 0.5, 0, 1).astype(np.float32)
    index, h, root = _visible(rows, columns, heights, radii + 0.75 / scale)

    slope = np.gradient(radii, heights)
    slope_at = np.interp(h, heights, slope)
    radius_at = np.interp(h, heights, radii) + 0.75 / scale
    length = 1 / np.sqrt(1 + slope_at**2)
    sine = np.clip(columns[None, :] / radius_at, 0, 1)
    cosine = np.sqrt(1 - sine**2)
    nx, ny, nz = sine * length, -slope_at * length, cosine * length
    face = np.zeros(h.shape, dtype=np.uint8)
    depth = root
    is_top = index >= len(heights) - 1
    if is_top.any():
        nx, ny, nz = np.where(is_top, 0, nx), np.where(is_top, 1, ny), np.where(is_top, 0, nz)
        depth = np.where(is_top, (heights[-1] * COS - rows[:, None]) / SIN, depth)
        h = np.where(is_top, heights[-1], h)
        face[is_top] = 1
        if lip:
            nx, ny, nz, h, depth, face = _hollow(
                rows, columns, heights[-1], float(radii[-1]), lip, well, (nx, ny, nz, h, depth, face)
            )
    return _mirror(half, top, cover, nx, ny, nz, np.arcsin(sine), h, depth, face)


def _silhouette(rows: Array, heights: Array, radii: Array) -> Array:
    """Half-width of the outline in each row."""
    across = (rows[:, None] - heights[None, :] * COS) / SIN
    squared = radii[None, :] ** 2 - across**2
    return np.asarray(np.sqrt(np.maximum(squared.max(axis=1), 0)) - (squared.max(axis=1) <= 0) * 1e3)


def _visible(rows: Array, columns: Array, heights: Array, radii: Array) -> tuple[Array, Array, Array]:
    squared = radii[None, :] ** 2 - columns[:, None] ** 2
    roots = np.sqrt(np.maximum(squared, 0))
    front = np.where(squared >= 0, heights[None, :] * COS - roots * SIN, FAR)
    first = np.minimum.accumulate(front[:, ::-1], axis=1)[:, ::-1]
    index = np.empty((len(rows), len(columns)), dtype=np.int32)
    for column in range(len(columns)):
        index[:, column] = np.searchsorted(first[column], rows, side="right") - 1
    np.clip(index, 0, len(heights) - 1, out=index)
    following = np.minimum(index + 1, len(heights) - 1)
    at = np.arange(len(columns))[None, :]
    low, high = first[at, index], first[at, following]
    gap = np.where(high < FAR, high - low, FAR)
    share = np.clip((rows[:, None] - low) / np.maximum(gap, 1e-9), 0, 1)
    share = np.where(following == index, 0, share)
    h = heights[index] + (heights[1] - heights[0]) * share
    return index, h, roots[at, index]


def _hollow(
    rows: Array, columns: Array, height: float, radius: float, lip: float, well: float, solid: tuple[Array, ...]
) -> tuple[Array, ...]:
    """The inside of an open vessel: face 2 its inner wall, face 3 what fills it."""
    nx, ny, nz, h, depth, face = solid
    inner = radius - lip
    across = (height * COS - rows[:, None]) / SIN
    inside = (face == 1) & (columns[None, :] ** 2 + across**2 < inner**2)
    level = height - well
    on_fill = (level * COS - rows[:, None]) / SIN
    filled = inside & (columns[None, :] ** 2 + on_fill**2 < inner**2)
    wall = inside & ~filled
    sine = np.clip(columns[None, :] / inner, 0, 1) + 0 * rows[:, None]
    cosine = np.sqrt(1 - sine**2)
    wall_h = (rows[:, None] - inner * cosine * SIN) / COS
    nx, ny, nz = np.where(wall, -sine, nx), np.where(wall, 0, ny), np.where(wall, cosine, nz)
    h = np.where(wall, wall_h, np.where(filled, level, h))
    depth = np.where(wall, -inner * cosine, np.where(filled, on_fill, depth))
    face = np.where(wall, 2, np.where(filled, 3, face)).astype(np.uint8)
    return nx, ny, nz, h, depth, face


def _mirror(
    half: int, top: int, cover: Array, nx: Array, ny: Array, nz: Array, u: Array, h: Array, depth: Array, face: Array
) -> Surface:
    seen_y = ny * COS - nz * SIN

    def both(right: Array, *, odd: bool = False) -> Array:
        left = right[:, ::-1]
        whole = np.concatenate((-left if odd else left, right), axis=1)
        if whole.dtype == np.float64:
            whole = whole.astype(np.float32)
        whole.setflags(write=False)
        return whole

    return Surface(
        left=-half,
        top=top,
        cover=both(cover),
        nx=both(nx, odd=True),
        ny=both(seen_y),
        u=both(u, odd=True),
        h=both(h),
        depth=both(depth),
        face=both(face),
    )
