"""What a material looks like under the scene's light as a function of the normal alone, tabulated once per light side.

Orthographic views make this exact: one table look-up shades a pixel. Fill is ambient light and reflections, key what
the window's light adds where it falls.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from services.inference.backends.proof.camera import COS, SIN, Array
from services.inference.backends.proof.light import KEY
from services.inference.backends.proof.scene import Colour

SIZE = 384
WINDOW = 5.2


@dataclass(frozen=True, slots=True)
class Material:
    """`rough` 0 mirrors, 1 is chalk; `metal` reflects in its own colour; `glass` lets light through, tinted."""

    colour: Colour
    rough: float = 0.5
    shine: float = 0.04
    metal: bool = False
    glass: bool = False


@dataclass(frozen=True, slots=True)
class Normals:
    """The table's own grid: normals, seen and in the world (mirrored: the light stands left), and reflections."""

    seen_x: Array
    seen_z: Array
    world: tuple[Array, Array, Array]
    ray: tuple[Array, Array, Array]
    grazing: Array


@lru_cache(maxsize=24)
def opaque(rough: float, shine: float, side: int, *, metal: bool) -> Array:
    """(3, SIZE·SIZE): fill is colour × the first + the second, key is colour × the third."""
    grid = normals(side)
    mirrored = room(*grid.ray, rough)
    if metal:
        planes = [0.92 * mirrored * (1 - grid.grazing), 0.92 * mirrored * grid.grazing, 0.10 * _lambert(*grid.world)]
    else:
        gloss = mirrored * (shine + (1 - shine) * grid.grazing * (1 - rough) ** 1.5)
        planes = [_ambient(*grid.world), gloss, _lambert(*grid.world)]
    return _table(planes)


@lru_cache(maxsize=6)
def glass(colour: Colour, rough: float, shine: float, side: int) -> Array:
    """(3, SIZE·SIZE): fill as red, green and blue; the window's light goes through it and leaves no key."""
    grid = normals(side)
    gloss = room(*grid.ray, rough) * (shine + (1 - shine) * grid.grazing)
    passed = _through(grid.seen_x, grid.seen_z, colour)
    return _table([gloss + plane for plane in passed])


def _table(planes: list[Array]) -> Array:
    table = np.stack([plane.ravel() for plane in planes]).astype(np.float32)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=2)
def normals(side: int) -> Normals:
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    long = np.sqrt(x**2 + y**2)
    shrink = np.where(long > 0.998, 0.998 / np.maximum(long, 1e-6), 1).astype(np.float32)
    x, y = x * shrink * -side, y * shrink
    z = np.sqrt(1 - x**2 - y**2)
    up, out = y * np.float32(COS) + z * np.float32(SIN), z * np.float32(COS) - y * np.float32(SIN)
    # The eye's ray (0, SIN, COS) mirrored at the normal.
    ray = 2 * z * x, 2 * z * up - np.float32(SIN), 2 * z * out - np.float32(COS)
    return Normals(seen_x=x, seen_z=z, world=(x, up, out), ray=ray, grazing=(1 - z) ** 5)


def room(x: Array, y: Array, z: Array, rough: float) -> Array:
    """Radiance from a direction: a barred window left, a pale strip right, ceiling, floor, dark room."""
    around = np.degrees(np.arctan2(x, z))
    above = np.degrees(np.arcsin(np.clip(y, -1, 1)))
    soft = 2.2 + 34 * rough
    spread = (21 * 36) / ((21 + 0.8 * soft) * (36 + 0.8 * soft))
    window = _slab(around + 50, 21, soft) * _slab(above - 20, 36, soft)
    if rough < 0.3:
        bars = _slab(around + 50, 1.3, soft) + _slab(above - 32, 1.1, soft) + _slab(above - 8, 1.1, soft)
        window = window * (1 - np.clip(bars, 0, 1) * (1 - rough / 0.3))
    strip = _slab(around - 66, 6.5, soft + 2) * _slab(above - 6, 58, soft + 6) * (13 / (13 + soft))
    back = _ramp(np.abs(around) - 118, 30 + soft) * (1.0 + 0.25 * np.sign(-around))
    ceiling = _ramp(above - 38, 46 + soft)
    floor = _ramp(-above - 6, 24 + soft)
    radiance: Array = 0.13 + WINDOW * spread * window + 1.5 * strip + 0.62 * back + 0.75 * ceiling + 0.34 * floor
    return radiance


def _through(x: Array, z: Array, colour: Colour) -> list[Array]:
    """Light through a filled bottle: it bends the far, lit side round to the other one, and dies towards the edge."""
    lens = 0.40 + 0.95 * np.exp(-(((x - 0.46) / 0.30) ** 2)) + 0.28 * np.exp(-(((x + 0.52) / 0.22) ** 2))
    edge = np.clip((0.995 - np.abs(x)) / 0.26, 0, 1)
    rim = 0.20 * np.exp(-(((np.abs(x) - 0.955) / 0.020) ** 2))
    light = lens * (0.20 + 0.80 * edge**1.4) + rim
    return [light * min(max(part, 0.004), 0.96) ** (0.42 + 0.95 * z) for part in colour]


def _ambient(x: Array, y: Array, z: Array) -> Array:
    fill: Array = 0.30 + 0.13 * y + 0.06 * np.maximum(x, 0) + 0.05 * z
    return fill


def _lambert(x: Array, y: Array, z: Array) -> Array:
    """The window is wide: its light wraps a little round the terminator."""
    facing = x * KEY[0] + y * KEY[1] + z * KEY[2]
    wrapped: Array = 1.02 * np.clip((facing + 0.20) / 1.20, 0, 1) ** 1.5
    return wrapped


def _slab(at: Array, half: float, soft: float) -> Array:
    t = np.clip((half - np.abs(at)) / soft + 0.5, 0, 1)
    slab: Array = t * t * (3 - 2 * t)
    return slab


def _ramp(at: Array, width: float) -> Array:
    t = np.clip(at / width, 0, 1)
    ramp: Array = t * t * (3 - 2 * t)
    return ramp
