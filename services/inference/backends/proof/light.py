"""The light of a scene: a low window to one side, its panes and a branch before it as a soft pattern, and cool fill."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.scene import Colour, Scene, stream

# Towards the key light, for a light on the left; the other side is its mirror image.
KEY = (-0.615, 0.545, 0.570)
# How far the pattern moves per unit of depth. Flatter than KEY, so that product and wall share the same panes.
DRIFT = (0.42, -0.30)
PANE = (0.205, 0.235)
BAR = 0.030
PANES = (4, 4)
BRANCH_PX = 384

SUN = {
    "spring": (1.03, 1.00, 0.93),
    "summer": (1.05, 1.00, 0.90),
    "autumn": (1.09, 0.99, 0.84),
    "winter": (1.02, 1.00, 0.97),
}
FILL = {
    "spring": (0.99, 1.00, 1.01),
    "summer": (0.98, 1.00, 1.03),
    "autumn": (0.99, 0.995, 1.01),
    "winter": (0.96, 1.00, 1.06),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """`x`, `y` is the middle of the window's pattern on the wall; leans are shears of its uprights and rails."""

    side: int
    season: str
    x: float
    y: float
    lean: float
    fall: float
    scale: float
    branch: tuple[float, float, float]

    @property
    def sun(self) -> Colour:
        return SUN[self.season]

    @property
    def fill(self) -> Colour:
        return FILL[self.season]

    def pattern(self, x: Array, y: Array, z: Array) -> Array:
        """How much of the window each point sees, 0..1; the shapes broadcast."""
        across = -self.side * x - z * -DRIFT[0] - self.x
        up = y + z * DRIFT[1] - self.y
        u = (across + self.lean * up) / self.scale
        v = (up + self.fall * across) / self.scale
        # Further from the window its edges are softer.
        soft = np.clip(0.016 + 0.016 * (across + 0.5), 0.012, 0.040)
        panes = _panes(u, PANE[0], PANES[0], soft) * _panes(v, PANE[1], PANES[1], soft)
        leaves: Array = panes * (1 - 0.78 * self._leaves(u, v))
        return leaves.astype(np.float32)

    def _leaves(self, u: Array, v: Array) -> Array:
        left, top, turn = self.branch
        c, s = math.cos(turn), math.sin(turn)
        column = (((u - left) * c - (v - top) * s) / 0.95 + 0.5) * BRANCH_PX
        row = (0.5 - ((u - left) * s + (v - top) * c) / 0.95) * BRANCH_PX
        texture = branch(self.season)
        edge = BRANCH_PX - 1
        shadow: Array = texture[np.clip(row, 0, edge).astype(np.int32), np.clip(column, 0, edge).astype(np.int32)]
        return shadow


def light(scene: Scene, *, seed: int, x: float, z: float) -> Light:
    """The scene's light, placed so that its pattern crosses what stands at `x`, `z`."""
    draw = stream(seed, "light")
    jitter = draw.uniform(-1, 1, 6)
    mirrored = -scene.side * x
    return Light(
        side=scene.side,
        season=scene.season,
        x=mirrored + 0.5 * DRIFT[0] * z - 0.16 + 0.05 * float(jitter[0]),
        y=0.30 + 0.04 * float(jitter[1]),
        lean=0.34 + 0.08 * float(jitter[2]),
        fall=0.26 + 0.07 * float(jitter[3]),
        scale=1.04 + 0.06 * float(jitter[4]),
        branch=(-0.30 + 0.05 * float(jitter[5]), 0.22 + 0.06 * float(jitter[1]), 0.25 * float(jitter[0])),
    )


def _panes(at: Array, size: float, count: int, soft: Array) -> Array:
    """Light through a row of `count` panes of `size`, between bars, centred on 0."""
    half = size * count / 2
    outer = _step(half - np.abs(at), soft)
    bar = np.abs((at + half + size / 2) % size - size / 2)
    inner = np.where(np.abs(at) > half - size / 2, 1, _step(bar - BAR / 2, soft))
    light: Array = outer * inner
    return light


def _step(distance: Array, soft: Array) -> Array:
    t = np.clip(distance / (2 * soft) + 0.5, 0, 1)
    step: Array = t * t * (3 - 2 * t)
    return step


@lru_cache(maxsize=8)
def branch(season: str) -> Array:
    """The blurred shadow of a branch before the window, each season's own leaves."""
    image = Image.new("L", (BRANCH_PX, BRANCH_PX))
    draw = ImageDraw.Draw(image)
    leaf = {"spring": (34, 15), "summer": (58, 13), "autumn": (40, 20), "winter": (26, 4)}[season]
    gap = {"spring": 0.085, "summer": 0.095, "autumn": 0.13, "winter": 0.03}[season]
    for start, end, bend in (((0.02, 0.02), (0.70, 0.62), 0.16), ((0.0, 0.40), (0.42, 0.92), 0.10)):
        points = [_curve(start, end, bend, t / 40) for t in range(41)]
        draw.line([(x * BRANCH_PX, y * BRANCH_PX) for x, y in points], fill=255, width=3)
        heading = math.atan2(end[1] - start[1], end[0] - start[0])
        count = int(1 / gap)
        for index in range(2, count + 1):
            x, y = _curve(start, end, bend, index / count)
            side = 1 if index % 2 else -1
            angle = heading + side * (0.75 + 0.25 * math.sin(index * 2.4))
            length = leaf[0] * (1.05 - 0.35 * index / count)
            draw.polygon(_blade(x * BRANCH_PX, y * BRANCH_PX, angle, length, leaf[1]), fill=255)
    blurred = image.filter(ImageFilter.GaussianBlur(4.5))
    texture = np.asarray(blurred, dtype=np.float32) / 255
    texture[0, :] = texture[-1, :] = texture[:, 0] = texture[:, -1] = 0  # clamped look-ups beyond it find no leaf
    texture.setflags(write=False)
    return texture


def _curve(start: tuple[float, float], end: tuple[float, float], bend: float, t: float) -> tuple[float, float]:
    x = start[0] + (end[0] - start[0]) * t
    y = start[1] + (end[1] - start[1]) * t
    sag = bend * math.sin(math.pi * t)
    return x + sag * (end[1] - start[1]), y - sag * (end[0] - start[0])


def _blade(x: float, y: float, angle: float, length: float, width: float) -> list[tuple[float, float]]:
    outline = []
    for index in range(24):
        t = index / 12 if index <= 12 else (24 - index) / 12
        across = width / 2 * math.sin(math.pi * t**0.8) * (1 if index <= 12 else -1)
        outline.append(
            (
                x + t * length * math.cos(angle) - across * math.sin(angle),
                y + t * length * math.sin(angle) + across * math.cos(angle),
            )
        )
    return outline
