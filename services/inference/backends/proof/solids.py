"""The solids that are not lathes: boxes, rods, pebbles and leaves, as surfaces like theirs."""

import math
from functools import lru_cache

import numpy as np

from services.inference.backends.proof.camera import COS, SIN, Array
from services.inference.backends.proof.surface import FINE, Points, Surface

# A little more than half a fine pixel: border cells take their normal from just inside the outline.
SKIN = 0.75


@lru_cache(maxsize=24)
def box(width: float, height: float, thick: float, yaw: float, bevel: float, unit: float) -> Surface:
    """A box turned by `yaw`; face 0 is the front, 1 the top, 2 the side. On each, `u` and `h` are world units."""
    scale = unit * FINE
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

    # The ray through a cell, in the box's own axes: a point and the direction towards the eye.
    y0, z0 = up * COS - half[1], -up * SIN
    point = (x * c - z0 * s, y0 + 0 * x, x * s + z0 * c)
    eye = (-COS * s, SIN, COS * c)
    skin = SKIN / scale
    exits = [
        ((half[axis] + skin) * math.copysign(1, eye[axis]) - point[axis]) / (eye[axis] or 1e-9) for axis in range(3)
    ]
    near = np.argmin(np.stack(exits), axis=0)
    t = np.choose(near, exits)
    hit = [np.clip(point[axis] + t * eye[axis], -half[axis], half[axis]) for axis in range(3)]
    normal = [np.zeros_like(t) for _ in range(3)]
    for axis in range(3):
        sign = np.sign(hit[axis])
        flat = near == axis
        edge = np.clip((np.abs(hit[axis]) - (half[axis] - bevel)) / bevel, 0, 1)
        normal[axis] = np.where(flat, math.copysign(1, eye[axis]), 0.75 * sign * edge**2)
    length = np.sqrt(sum(part**2 for part in normal))
    lx, ly, lz = (part / length for part in normal)
    nx, ny, nz = lx * c + lz * s, ly, lz * c - lx * s
    return _surface(
        left,
        top,
        cover,
        nx,
        ny * COS - nz * SIN,
        u=np.where(near == 0, hit[2], hit[0]),
        h=np.where(near == 1, hit[2], hit[1] + half[1]),
        depth=hit[2] * c - hit[0] * s,
        face=np.choose(near, [2, 1, 0]),
    )


@lru_cache(maxsize=64)
def rod(points: Points, radius: float, unit: float) -> Surface:
    """A round rod along `points` (x, up on the screen); `u` is the distance across, `h` the height."""
    scale = unit * FINE
    pad = radius + 2 / scale
    left = math.floor((min(p[0] for p in points) - pad) * scale)
    right = math.ceil((max(p[0] for p in points) + pad) * scale)
    top = math.floor(-(max(p[1] for p in points) + pad) * scale)
    bottom = math.ceil(-(min(p[1] for p in points) - pad) * scale)
    x, up = _grid(left, top, right, bottom, scale)
    best = np.full((bottom - top, right - left), 1e9)
    dx, dy = np.zeros_like(best), np.zeros_like(best)
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
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


@lru_cache(maxsize=32)
def pebble(wide: float, tall: float, turn: float, unit: float) -> Surface:
    """An ellipsoid lying on its side; `wide` and `tall` are its half axes."""
    scale = unit * FINE
    reach = math.ceil(max(wide, tall) * scale) + 2
    lift = int(tall * scale * 0.96)
    x, up = _grid(-reach, -reach, reach, reach, scale)
    c, s = math.cos(turn), math.sin(turn)
    a, b = (x * c + up * s) / wide, (-x * s + up * c) / tall
    # Between an ellipse and a rounded box: stones are fuller than ellipsoids.
    power = 2.25
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


@lru_cache(maxsize=64)
def leaf(length: float, width: float, turn: float, bend: float, fat: float, unit: float) -> Surface:
    """A leaf from its stalk at the origin; `u` is −1..1 across, `h` 0..1 along, `fat` where it is widest (0..1)."""
    scale = unit * FINE
    reach = math.ceil((length + width) * scale) + 2
    c, s = math.cos(turn), math.sin(turn)
    left = math.floor(min(0, length * c) * scale - (width + abs(bend) * length) * scale) - 2
    right = math.ceil(max(0, length * c) * scale + (width + abs(bend) * length) * scale) + 2
    top = max(-reach, math.floor(-max(0, length * s) * scale - (width + abs(bend) * length) * scale) - 2)
    bottom = math.ceil(-min(0, length * s) * scale + (width + abs(bend) * length) * scale) + 2
    x, up = _grid(left, top, right, bottom, scale)
    along = (x * c + up * s) / length
    inside = np.clip(along, 0, 1)
    across = (-x * s + up * c) - bend * length * 4 * inside * (1 - inside)
    power = math.log(0.5) / math.log(fat)
    half = width / 2 * np.sin(math.pi * inside**power) ** 0.85
    ends = np.minimum(along, 1 - along) * length
    cover = np.clip(np.minimum(half - np.abs(across), ends + 1 / scale) * scale + 0.5, 0, 1)
    u = np.clip(across / np.maximum(half, 1e-6), -1, 1)
    # A shallow V along the midrib, with the edges curling up, and the tip dropping.
    roll = -0.55 * np.sign(u) * np.minimum(np.abs(u) * 14, 1) + 0.62 * u
    drop = 0.55 * (inside - 0.4)
    ax, ay = roll * -s + drop * c, roll * c + drop * s
    lift = 0.30
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
    x = (np.arange(left, right) + 0.5) / scale
    up = -(np.arange(top, bottom) + 0.5) / scale
    return x[None, :], up[:, None]


def _surface(
    left: int, top: int, cover: Array, nx: Array, ny: Array, *, u: Array, h: Array, depth: Array, face: Array
) -> Surface:
    whole = [part.astype(np.float32) for part in (cover, nx, ny, u, h, depth)]
    faces = face.astype(np.uint8)
    for part in (*whole, faces):
        part.setflags(write=False)
    cover, nx, ny, u, h, depth = whole
    return Surface(left=left, top=top, cover=cover, nx=nx, ny=ny, u=u, h=h, depth=depth, face=faces)


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
    least: Array = np.full((up.shape[0], x.shape[1]), 1e9)
    for a, b in zip(hull, hull[1:] + hull[:1], strict=True):
        length = math.hypot(b[0] - a[0], b[1] - a[1])
        if length > 1e-9:
            least = np.minimum(least, ((b[0] - a[0]) * (up - a[1]) - (b[1] - a[1]) * (x - a[0])) / length)
    return np.clip(least * scale + 0.5, 0, 1)
