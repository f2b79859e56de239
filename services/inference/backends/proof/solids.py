"""The solids that are not lathes: boxes, rods, pebbles and leaves, as surfaces like theirs."""

import itertools
import math
from functools import lru_cache

import numpy as np

from services.inference.backends.proof.camera import COS, SIN, Array
from services.inference.backends.proof.surface import FINE, Points, Surface

# A little more than half a fine pixel: border cells take their normal from just inside the outline.
SKIN = 0.75


@lru_cache(maxsize=1)
def box(width: float, height: float, thick: float, yaw: float, bevel: float, unit: float) -> Surface:
    """A box turned by `yaw`; face 0 is the front, 1 the top, 2 the side. On each, `u` and `h` are world units.

    Its outline is exact and its edges are rounded, so it needs no cells finer than pixels.
    """
    scale = unit
    c, s = math.cos(yaw), math.sin(yaw)
    half = (width / 2, height / 2, thick / 2)
    corners = [
        (x * c + z * s, (y + half[1]) * COS - (z * c - x * s) * SIN)
        for x in (-half[0], half[0])
        for y in (-half[1], half[1])
        for z in (-half[2], half[2])
    ]
    left = math.floor(min(x for x, _ in corners) * scale) - 2
    top = math.floor(-max(y for _, y in corners) * scale) - 2
    right = math.ceil(max(x for x, _ in corners) * scale) + 2
    bottom = math.ceil(-min(y for _, y in corners) * scale) + 2
    x, up = _grid(left, top, right, bottom, scale)
    cover = _inside(_hull(corners), x, up, scale)

    # The ray through a cell in the box's own axes: a point (linear in x and up) and the direction towards the eye.
    eye = (-COS * s, SIN, COS * c)
    point = (x * c + up * SIN * s, up * COS - half[1] + 0 * x, x * s - up * SIN * c)
    exits = [((half[axis] + SKIN / scale) * math.copysign(1, eye[axis]) - point[axis]) / eye[axis] for axis in range(3)]
    t = np.minimum(np.minimum(exits[0], exits[1]), exits[2])
    face = np.where(t == exits[2], 0, np.where(t == exits[1], 1, 2)).astype(np.uint8)
    hit = [np.clip(point[axis] + t * np.float32(eye[axis]), -half[axis], half[axis]) for axis in range(3)]
    normal = [np.where(face == 2 - axis, np.float32(math.copysign(1, eye[axis])), np.float32(0)) for axis in range(3)]
    for axis in range(3):
        edge = np.nonzero((np.abs(hit[axis]) > half[axis] - bevel) & (face != 2 - axis))
        near = hit[axis][edge]
        normal[axis][edge] = np.sign(near) * ((np.abs(near) - (half[axis] - bevel)) / bevel) ** 2
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    nx, nz = (normal[0] * c + normal[2] * s) / length, (normal[2] * c - normal[0] * s) / length
    return _surface(
        left,
        top,
        cover,
        nx,
        normal[1] / length * COS - nz * SIN,
        u=np.where(face == 2, hit[2], hit[0]),
        h=np.where(face == 1, hit[2], hit[1] + half[1]),
        depth=hit[2] * c - hit[0] * s,
        face=face,
        fine=1,
    )


@lru_cache(maxsize=8)
def rod(points: Points, radius: float, unit: float) -> Surface:
    """A round rod along `points` (x, up on the screen); `u` is the distance across, `h` the height."""
    scale = unit * FINE
    pad = radius + 2 / scale
    left = math.floor((min(p[0] for p in points) - pad) * scale)
    right = math.ceil((max(p[0] for p in points) + pad) * scale)
    top = math.floor(-(max(p[1] for p in points) + pad) * scale)
    bottom = math.ceil(-(min(p[1] for p in points) - pad) * scale)
    x, up = _grid(left, top, right, bottom, scale)
    best = np.full((bottom - top, right - left), 1e9, dtype=np.float32)
    dx, dy = np.zeros_like(best), np.zeros_like(best)
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        ax, ay = x1 - x0, y1 - y0
        share = np.clip(((x - x0) * ax + (up - y0) * ay) / max(ax * ax + ay * ay, 1e-12), 0, 1)
        ox, oy = x - x0 - share * ax, up - y0 - share * ay
        distance = np.sqrt(ox**2 + oy**2)
        closer = distance < best
        best, dx, dy = np.where(closer, distance, best), np.where(closer, ox, dx), np.where(closer, oy, dy)
    reach = np.maximum(best, radius + SKIN / scale)
    return _surface(
        left,
        top,
        np.clip((radius - best) * scale + 0.5, 0, 1),
        dx / reach,
        dy / reach,
        u=best,
        h=up + 0 * x,
        depth=np.zeros_like(best),
        face=np.zeros(best.shape),
    )


def pebble(wide: float, tall: float, turn: float, unit: float, power: float = 2.25) -> Surface:
    """A rounded solid lying on its side; `wide` and `tall` are its half axes.

    `power` 2 is an ellipsoid, 2.25 a pebble (fuller than one), 5 a bar of soap.
    """
    scale = unit * FINE
    reach = math.ceil(max(wide, tall) * scale) + 2
    lift = int(tall * scale * 0.88)
    x, up = _grid(-reach, -reach, reach, reach, scale)
    c, s = math.cos(turn), math.sin(turn)
    a, b = (x * c + up * s) / wide, (-x * s + up * c) / tall
    out = (np.abs(a) ** power + np.abs(b) ** power) ** (1 / power)
    cover = np.clip((1 - out) * min(wide, tall) * scale + 0.5, 0, 1)
    inside = np.minimum(out, 0.995)
    shrink = np.where(out > 0.995, 0.995 / np.maximum(out, 1e-6), 1)
    na = np.sign(a) * np.abs(a * shrink) ** (power - 1) / wide
    nb = np.sign(b) * np.abs(b * shrink) ** (power - 1) / tall
    nz = np.sqrt(1 - inside**2) / (0.8 * wide)
    length = np.sqrt(na**2 + nb**2 + nz**2)
    na, nb = na / length, nb / length
    return _surface(
        -reach,
        -reach - lift,
        cover,
        na * c - nb * s,
        na * s + nb * c,
        u=a,
        h=np.maximum(up * COS + tall, 0) + 0 * x,
        depth=wide * 0.8 * np.sqrt(1 - inside**2),
        face=np.zeros(cover.shape),
    )


def leaf(length: float, width: float, turn: float, bend: float, fat: float, lie: float, unit: float) -> Surface:
    """A leaf from its stalk at the origin; `u` is −1..1 across, `h` 0..1 along, `fat` where it is widest (0..1).

    `lie` is how much of its height we see: 1 faces us, less lies on the table.
    """
    scale = unit * FINE
    c, s = math.cos(turn), math.sin(turn)
    pad = width + abs(bend) * length + 2 / scale
    left, right = math.floor((min(0, length * c) - pad) * scale), math.ceil((max(0, length * c) + pad) * scale)
    top = math.floor(-(max(0, length * s) + pad) * lie * scale)
    bottom = math.ceil(-(min(0, length * s) - pad) * lie * scale)
    x, up = _grid(left, top, right, bottom, scale)
    up = up / lie
    along = (x * c + up * s) / length
    inside = np.clip(along, 0, 1)
    across = (-x * s + up * c) - bend * length * 4 * inside * (1 - inside)
    power = math.log(0.5) / math.log(fat)
    half = width / 2 * np.maximum(np.sin(math.pi * inside**power), 0) ** 0.85
    ends = np.minimum(along, 1 - along) * length
    cover = np.clip(np.minimum(half - np.abs(across), ends + 1 / scale) * scale * (0.4 + 0.6 * lie) + 0.5, 0, 1)
    u = np.clip(across / np.maximum(half, 1e-6), -1, 1)
    # A shallow V along the midrib, with the edges curling up, and the tip dropping.
    roll = -0.55 * np.sign(u) * np.minimum(np.abs(u) * 14, 1) + 0.62 * u
    drop = 0.55 * (inside - 0.4)
    ax, ay = roll * -s + drop * c, roll * c + drop * s
    lift = 0.30 + 0.9 * (1 - lie)
    length3 = np.sqrt(ax**2 + (ay + lift) ** 2 + 1)
    return _surface(
        left,
        top,
        cover,
        ax / length3,
        (ay + lift) / length3,
        u=u,
        h=inside,
        depth=np.zeros_like(u),
        face=np.zeros(u.shape),
    )


def _grid(left: int, top: int, right: int, bottom: int, scale: float) -> tuple[Array, Array]:
    """Columns (1, w) and heights on the screen (h, 1) in world units."""
    x = (np.arange(left, right, dtype=np.float32) + 0.5) / scale
    up = -(np.arange(top, bottom, dtype=np.float32) + 0.5) / scale
    return x[None, :], up[:, None]


def _surface(
    left: int,
    top: int,
    cover: Array,
    nx: Array,
    ny: Array,
    *,
    u: Array,
    h: Array,
    depth: Array,
    face: Array,
    fine: int = FINE,
) -> Surface:
    def kept(part: Array, kind: type = np.float32) -> Array:
        part = part.astype(kind, copy=False)
        part.setflags(write=False)  # shared by every comp that shows this solid
        return part

    return Surface(
        left=left,
        top=top,
        cover=kept(cover),
        nx=kept(nx),
        ny=kept(ny),
        u=kept(u),
        h=kept(h),
        depth=kept(depth),
        face=kept(face, np.uint8),
        fine=fine,
    )


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convex hull, counter-clockwise (Andrew's monotone chain)."""

    def chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for p in ordered:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], p) <= 0:
                kept.pop()
            kept.append(p)
        return kept[:-1]

    return chain(sorted(points)) + chain(sorted(points, reverse=True))


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _inside(hull: list[tuple[float, float]], x: Array, up: Array, scale: float) -> Array:
    """Coverage of a convex outline: the least distance to its edges."""
    least: Array = np.full((up.shape[0], x.shape[1]), 1e9, dtype=np.float32)
    for a, b in zip(hull, hull[1:] + hull[:1], strict=True):
        length = math.hypot(b[0] - a[0], b[1] - a[1])
        if length > 1e-9:
            least = np.minimum(least, ((b[0] - a[0]) * (up - a[1]) - (b[1] - a[1]) * (x - a[0])) / length)
    return np.clip(least * scale + 0.5, 0, 1)
