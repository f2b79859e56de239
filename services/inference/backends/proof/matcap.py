"""What a material looks like under the scene's light as a function of the normal alone, tabulated once per light side.

Orthographic views make this exact: one table look-up shades a pixel. Each entry holds fill (ambient and reflections)
and key (what the window's light adds where it falls).
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


@lru_cache(maxsize=64)
def matcap(material: Material, side: int) -> Array:
    """(6, SIZE·SIZE) float32: fill and key as linear RGB, at (ny, nx) from −1 to 1."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    nx, ny = np.meshgrid(axis, axis)
    long = np.sqrt(nx**2 + ny**2)
    shrink = np.where(long > 0.998, 0.998 / np.maximum(long, 1e-6), 1)
    nx, ny = nx * shrink * -side, ny * shrink
    nz = np.sqrt(1 - nx**2 - ny**2)
    up, out = ny * COS + nz * SIN, -ny * SIN + nz * COS
    # The eye's ray (0, SIN, COS) mirrored at the normal.
    rx, ry, rz = 2 * nz * nx, 2 * nz * up - SIN, 2 * nz * out - COS
    mirrored = room(rx, ry, rz, material.rough)
    grazing = (1 - nz) ** 5
    colour = np.array(material.colour, dtype=np.float32)
    if material.metal:
        fresnel = colour + (1 - colour) * grazing[..., None]
        fill, key = mirrored[..., None] * fresnel * 0.92, 0.10 * _lambert(nx, up, out)[..., None] * colour
    else:
        fresnel = material.shine + (1 - material.shine) * grazing * (1 - 0.75 * material.rough)
        gloss = (mirrored * fresnel)[..., None]
        if material.glass:
            fill, key = _through(nx, nz, colour) + gloss, np.zeros_like(gloss) + 0 * colour
        else:
            fill, key = _ambient(nx, up, out)[..., None] * colour + gloss, _lambert(nx, up, out)[..., None] * colour
    table = np.ascontiguousarray(np.concatenate((fill, key), axis=2).reshape(SIZE * SIZE, 6).T, dtype=np.float32)
    table.setflags(write=False)
    return table


def room(x: Array, y: Array, z: Array, rough: float) -> Array:
    """Radiance from a direction: a window with bars to the left front, a pale strip right, ceiling, floor, dark room."""
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


def _through(nx: Array, nz: Array, colour: Array) -> Array:
    """Light through a filled bottle: it bends the far, lit side round to the other one, and dies towards the edge."""
    lens = 0.40 + 0.95 * np.exp(-(((nx - 0.46) / 0.30) ** 2)) + 0.28 * np.exp(-(((nx + 0.52) / 0.22) ** 2))
    edge = np.clip((0.995 - np.abs(nx)) / 0.26, 0, 1)
    rim = 0.20 * np.exp(-(((np.abs(nx) - 0.955) / 0.020) ** 2))
    path = (0.42 + 0.95 * nz)[..., None]
    base = np.clip(colour, 0.004, 0.96)
    passed: Array = base**path * (lens * (0.20 + 0.80 * edge**1.4) + rim)[..., None]
    return passed


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
