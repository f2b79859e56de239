"""What stands and lies around the product: plinths, pebbles and the season's leaves."""

import math

from services.inference.backends.proof.camera import Stand
from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Colour, Scene, linear, mix, stream
from services.inference.backends.proof.solids import leaf, pebble
from services.inference.backends.proof.surface import Points, lathe

PLASTER = (0.86, 0.835, 0.79)
STONES = (linear("#B9BFBB"), linear("#C07A56"), linear("#8E938C"))
# Length, width, where it is widest, colour.
LEAVES: dict[str, tuple[float, float, float, Colour]] = {
    "spring": (0.115, 0.052, 0.42, linear("#A5B566")),
    "summer": (0.130, 0.040, 0.45, linear("#94A578")),
    "autumn": (0.120, 0.058, 0.40, linear("#B5713C")),
    "winter": (0.135, 0.026, 0.48, linear("#7E9483")),
}


def plinth(radius: float, height: float, colour: Colour, unit: float, at: tuple[float, float, float]) -> Body:
    outline: Points = ((0, radius), (height - 0.003, radius), (height, radius - 0.002))
    chalk = Material(colour, rough=0.95, shine=0.02)
    piece = Piece(surface=lathe(outline, unit, 0.0012), materials=(chalk, chalk))
    return Body(pieces=(piece,), at=at, wide=radius, deep=radius, height=height)


def plinth_colour(scene: Scene) -> Colour:
    """Tone on tone with the wall, a step lighter."""
    return mix(scene.wall, PLASTER, 0.34)


def around(scene: Scene, stand: Stand, *, seed: int, unit: float) -> list[Body]:
    """The props of a layout, back to front."""
    flip = -1.0 if scene.reversed else 1.0
    if scene.space in ("left", "right"):
        flip = 1.0 if scene.space == "left" else -1.0
    if scene.layout == "tile":
        return _beside(scene, stand, seed, unit, flip)
    if scene.layout == "lifestyle":
        return _table(scene, stand, seed, unit, flip)
    return _far(scene, stand, seed, unit, flip)


def _beside(scene: Scene, stand: Stand, seed: int, unit: float, flip: float) -> list[Body]:
    x = stand.x
    return [
        _stone(seed, "first", unit, (x - 0.285 * flip, 0, 1.02), 0.040, 0),
        *_sprig(scene, seed, "sprig", unit, (x + 0.265 * flip, 0.004, 1.28), math.pi / 2 - 0.95 * flip, flip, 2),
    ]


def _table(scene: Scene, stand: Stand, seed: int, unit: float, flip: float) -> list[Body]:
    drawn = stream(seed, "props", "plinth").uniform(-1, 1, 3)
    foot = (stand.x - (0.44 + 0.02 * float(drawn[0])) * flip, 0.0, 0.66)
    radius, height = 0.112 + 0.010 * float(drawn[1]), 0.150 + 0.022 * float(drawn[2])
    stones = (stand.x + 0.27 * flip, stand.x + 0.355 * flip)
    return [
        plinth(radius, height, mix(PLASTER, scene.wall, 0.12), unit, foot),
        *_sprig(scene, seed, "upright", unit, (foot[0], height, foot[2]), math.pi / 2 + 0.25 * flip, flip, 3),
        _stone(seed, "first", unit, (stones[0], 0, 0.82), 0.068, 0),
        _stone(seed, "second", unit, (stones[1], 0, 1.06), 0.043, 1),
        *_sprig(scene, seed, "fallen", unit, (stand.x + 0.22 * flip, 0.002, 1.36), math.pi / 2 - 1.32 * flip, flip, 1),
    ]


def _far(scene: Scene, stand: Stand, seed: int, unit: float, flip: float) -> list[Body]:
    return [
        _stone(seed, "first", unit, (stand.x + 0.345 * flip, 0, 0.98), 0.058, 0),
        _stone(seed, "second", unit, (stand.x + 0.430 * flip, 0, 1.16), 0.036, 1),
        *_sprig(scene, seed, "fallen", unit, (stand.x - 0.30 * flip, 0.003, 1.22), math.pi / 2 + 1.25 * flip, -flip, 2),
    ]


def _stone(seed: int, name: str, unit: float, at: tuple[float, float, float], size: float, kind: int) -> Body:
    drawn = stream(seed, "props", "stone", name).uniform(-1, 1, 5)
    wide = size * (1 + 0.10 * float(drawn[0]))
    tall = wide * (0.60 + 0.07 * float(drawn[1]))
    surface = pebble(round(wide, 4), round(tall, 4), round(0.10 * float(drawn[2]), 3), unit)
    stone = Material(STONES[kind], rough=0.85, shine=0.025)
    x, y, z = at[0] + 0.012 * float(drawn[3]), at[1], at[2] + 0.04 * float(drawn[4])
    piece = Piece(surface=surface, materials=(stone,), specks=0.07)
    return Body(pieces=(piece,), at=(x, y, z), wide=wide * 0.62, deep=wide * 0.50, height=tall * 1.6)


def _sprig(
    scene: Scene, seed: int, name: str, unit: float, at: tuple[float, float, float], heading: float, flip: float, count: int
) -> list[Body]:
    """Leaves from one point, fanned around `heading` (radians on the screen)."""
    length, width, fat, colour = LEAVES[scene.season]
    bodies = []
    for index in range(count):
        drawn = stream(seed, "props", "leaf", name, str(index)).uniform(-1, 1, 5)
        fan = (index - (count - 1) / 2) * 0.72
        turn = heading + fan + 0.12 * float(drawn[0])
        shade = Material(mix(colour, (0.35, 0.40, 0.16), 0.12 * float(drawn[1]) + 0.12), rough=0.55, shine=0.035)
        surface = leaf(
            round(length * (1 + 0.12 * float(drawn[2])), 4),
            round(width * (1 + 0.10 * float(drawn[3])), 4),
            round(turn, 3),
            round(0.06 * float(drawn[4]) + 0.05 * flip, 3),
            fat,
            unit,
        )
        piece = Piece(surface=surface, materials=(shade,), veins=0.16)
        bodies.append(Body(pieces=(piece,), at=at, wide=0.0, deep=0.0, height=0.0))
    return bodies
