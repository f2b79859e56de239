"""Where things stand and how they are seen: world units are frame heights, Y up, Z towards us, the wall at Z = 0.

The camera is orthographic and looks down by `TILT`, so a solid of revolution shows its top as an ellipse and a matcap
(light as a function of the normal alone) is exact.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.inference.backends.proof.scene import Scene

Array = NDArray[Any]

TILT = math.radians(11.5)
SIN, COS = math.sin(TILT), math.cos(TILT)
# Wall and table meet in a band this tall (in frame heights, to either side), as paper does on a sweep.
SWEEP = 0.016
# Fields of light are smooth: they are computed on a grid this many pixels wide and enlarged.
COARSE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """`unit` pixels show one world unit; `line` is the row where wall meets table, `centre` the column of X = 0."""

    width: int
    height: int
    unit: float
    centre: float
    line: float

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Column and row of a point."""
        return self.centre + x * self.unit, self.line + (z * SIN - y * COS) * self.unit

    def coarse(self) -> tuple[Array, Array, Array]:
        """X (1, w), Y (h, 1) and Z (h, 1) of what the coarse grid sees of the empty set."""
        columns = (np.arange(-(-self.width // COARSE), dtype=np.float32) + 0.5) * COARSE
        rows = (np.arange(-(-self.height // COARSE), dtype=np.float32) + 0.5) * COARSE
        up, depth = self.surface(rows)
        return ((columns - self.centre) / self.unit)[None, :], up[:, None], depth[:, None]

    def surface(self, rows: Array) -> tuple[Array, Array]:
        """Height on the wall and depth on the table that each row shows; both fade into each other in the sweep."""
        below = (rows - self.line) / self.unit
        wall = SWEEP * np.logaddexp(0, -below / SWEEP) / COS
        table = SWEEP * np.logaddexp(0, below / SWEEP) / SIN
        return wall.astype(np.float32), table.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where the product stands: x, z on the table; `plinth` is radius and height of what it stands on, or None."""

    x: float
    z: float
    size: float
    plinth: tuple[float, float] | None


# Aspect each layout is composed for; other aspects show more around it, never less.
ASPECT = {"tile": 1.0, "lifestyle": 1.25, "hero": 2.0}
# A close crop fills this much of the frame's height with the product, within these magnifications.
FILLS, CLOSE = 0.74, (1.12, 1.6)


def stand(scene: Scene) -> Stand:
    """Each layout's place; a headline's space pushes it aside, a reversed scene moves it."""
    away = {"left": 1.0, "right": -1.0}.get(scene.space, 0.0)
    if scene.layout == "tile":
        x = 0.15 * away or (0.105 * scene.side if scene.reversed else 0.0)
        return Stand(x=x, z=0.93, size=1.0, plinth=(0.215, 0.072))
    if scene.layout == "lifestyle":
        x = 0.24 * away or (-0.11 if scene.reversed else 0.11)
        return Stand(x=x, z=0.80, size=1.16, plinth=None)
    if scene.reversed:  # to the outer side of its disc, and down from its plinth
        return Stand(x=0.5 * away + 0.12 * (away or 1.0), z=0.92, size=1.1, plinth=None)
    return Stand(x=0.5 * away, z=0.92, size=1.1, plinth=(0.30, 0.05))


def frame(scene: Scene, *, width: int, height: int, tall: float) -> Camera:
    """The camera of a scene whose product is `tall` high."""
    unit = min(height, width / ASPECT[scene.layout])
    if scene.close:
        return _close(scene, width, height, unit, tall)
    if scene.space == "top":
        return Camera(width=width, height=height, unit=0.84 * unit, centre=width / 2, line=0.70 * height)
    return Camera(width=width, height=height, unit=unit, centre=width / 2, line=0.64 * height)


def _close(scene: Scene, width: int, height: int, unit: float, tall: float) -> Camera:
    """The product's foot near the lower edge, its axis a little off the middle (or on the third that is not kept)."""
    place = stand(scene)
    unit *= min(CLOSE[1], max(CLOSE[0], FILLS / (tall * place.size)))
    axis = {"left": 0.72, "right": 0.28}.get(scene.space, 0.5 - 0.045 * scene.side)
    foot = place.z * SIN - (place.plinth[1] * COS if place.plinth else 0)
    return Camera(
        width=width,
        height=height,
        unit=unit,
        centre=width * axis - place.x * unit,
        line=(0.9 if scene.layout == "hero" else 0.875) * height - foot * unit,
    )
