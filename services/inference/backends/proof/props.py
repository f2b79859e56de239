"""What stands and lies around the product: plinths, pebbles and the season's leaves."""

import math
from dataclasses import dataclass

from services.inference.backends.proof.camera import Stand
from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Colour, Scene, linear, mix, stream
from services.inference.backends.proof.solids import leaf, pebble, rod
from services.inference.backends.proof.surface import Points, lathe

PLASTER = (0.86, 0.835, 0.79)
STONES = (linear("#B9BFBB"), linear("#C07A56"), linear("#8E938C"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Twig:
    """One season's leaves: length, width, where they are widest, how many, how far apart they stand, their colour."""

    length: float
    width: float
    fat: float
    count: int
    spread: float
    colour: Colour


TWIGS = {
    "spring": Twig(length=0.070, width=0.034, fat=0.42, count=7, spread=0.85, colour=linear("#A3B45F")),
    "summer": Twig(length=0.056, width=0.040, fat=0.50, count=8, spread=1.05, colour=linear("#9DAE93")),
    "autumn": Twig(length=0.068, width=0.036, fat=0.42, count=6, spread=0.80, colour=linear("#B4703C")),
    "winter": Twig(length=0.052, width=0.0095, fat=0.50, count=16, spread=0.62, colour=linear("#6F8877")),
}
BARK = Material(linear("#7A6547"), rough=0.9, shine=0.02)


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
        flip *= 1.0 if scene.space == "left" else -1.0
    if scene.layout == "tile":
        return _beside(scene, stand, seed, unit, flip)
    if scene.layout == "lifestyle":
        return _table(scene, stand, seed, unit, flip)
    return _far(scene, stand, seed, unit, flip)


def _beside(scene: Scene, stand: Stand, seed: int, unit: float, flip: float) -> list[Body]:
    x = stand.x
    return [
        _stone(seed, "first", unit, (x - 0.305 * flip, 0, 1.06), 0.046, 0),
        _stone(seed, "second", unit, (x - 0.340 * flip, 0, 1.24), 0.026, 1),
        _sprig(scene, seed, "fallen", unit, (x + 0.395 * flip, 0.003, 1.36), 0.27, math.pi / 2 + 1.34 * flip, 0.55),
    ]


def _table(scene: Scene, stand: Stand, seed: int, unit: float, flip: float) -> list[Body]:
    drawn = stream(seed, "props", "plinth").uniform(-1, 1, 3)
    foot = (stand.x - (0.45 + 0.02 * float(drawn[0])) * flip, 0.0, 0.66)
    radius, height = 0.118 + 0.010 * float(drawn[1]), 0.130 + 0.022 * float(drawn[2])
    on_top = (foot[0] + 0.03 * flip, height + 0.002, foot[2])
    return [
        plinth(radius, height, mix(PLASTER, scene.wall, 0.12), unit, foot),
        _stone(seed, "third", unit, (foot[0] + 0.048 * flip, height, foot[2]), 0.040, 2),
        _sprig(scene, seed, "upright", unit, on_top, 0.30, math.pi / 2 + 0.62 * flip, 1.0),
        _stone(seed, "first", unit, (stand.x + 0.28 * flip, 0, 0.84), 0.068, 0),
        _stone(seed, "second", unit, (stand.x + 0.365 * flip, 0, 1.06), 0.043, 1),
        _sprig(scene, seed, "fallen", unit, (stand.x + 0.40 * flip, 0.002, 1.42), 0.26, math.pi / 2 + 1.42 * flip, 0.55),
    ]


def _far(scene: Scene, stand: Stand, seed: int, unit: float, flip: float) -> list[Body]:
    if scene.reversed:
        return [
            _stone(seed, "first", unit, (stand.x + 0.375 * flip, 0, 0.98), 0.050, 0),
            _sprig(scene, seed, "fallen", unit, (stand.x + 0.62 * flip, 0.003, 1.26), 0.27, math.pi / 2 + 1.36 * flip, 0.55),
        ]
    return [
        _stone(seed, "first", unit, (stand.x + 0.355 * flip, 0, 0.98), 0.058, 0),
        _stone(seed, "second", unit, (stand.x + 0.440 * flip, 0, 1.16), 0.036, 1),
        _sprig(scene, seed, "fallen", unit, (stand.x - 0.20 * flip, 0.003, 1.36), 0.27, math.pi / 2 + 1.40 * flip, 0.55),
    ]


def _stone(seed: int, name: str, unit: float, at: tuple[float, float, float], size: float, kind: int) -> Body:
    drawn = stream(seed, "props", "stone", name).uniform(-1, 1, 5)
    wide = size * (1 + 0.10 * float(drawn[0]))
    tall = wide * (0.60 + 0.07 * float(drawn[1]))
    surface = pebble(round(wide, 4), round(tall, 4), round(0.10 * float(drawn[2]), 3), unit)
    stone = Material(STONES[kind], rough=0.85, shine=0.025)
    x, y, z = at[0] + 0.012 * float(drawn[3]), at[1], at[2] + (0.04 * float(drawn[4]) if at[1] == 0 else 0)
    piece = Piece(surface=surface, materials=(stone,), specks=0.075, spread=26)
    return Body(pieces=(piece,), at=(x, y, z), wide=wide * 0.62, deep=wide * 0.50, height=tall * 1.6)


def _sprig(
    scene: Scene, seed: int, name: str, unit: float, at: tuple[float, float, float], long: float, heading: float, lie: float
) -> Body:
    """A twig from its cut end at `at`: leaves by turns on either side, smaller towards the tip."""
    twig = TWIGS[scene.season]
    drawn = stream(seed, "props", "sprig", name).uniform(-1, 1, 3)
    bend = 0.16 + 0.05 * float(drawn[0])
    bend = -bend if math.cos(heading) > 0 else bend
    points = [_along(long * (1 + 0.06 * float(drawn[1])), heading + 0.06 * float(drawn[2]), bend, lie, t / 12) for t in range(13)]
    pieces = [Piece(surface=rod(tuple(points), 0.0032, unit), materials=(BARK,), flat=True)]
    for index in range(twig.count):
        mine = stream(seed, "props", "leaf", name, str(index)).uniform(-1, 1, 5)
        t = 0.22 + 0.78 * index / (twig.count - 1)
        last = index == twig.count - 1
        x, up = _along(long, heading, bend, lie, t)
        ahead = _along(long, heading, bend, lie, min(1.0, t) - 0.02)
        tangent = math.atan2((up - ahead[1]) / lie, x - ahead[0])
        turn = tangent + (0 if last else (1 if index % 2 else -1) * (twig.spread + 0.16 * float(mine[0])))
        size = (1.12 - 0.42 * t) * (1 + 0.10 * float(mine[1]))
        colour = mix(twig.colour, (0.30, 0.34, 0.10), 0.14 + 0.12 * float(mine[2]))
        blade = leaf(
            round(twig.length * size, 4),
            round(twig.width * size * (1 + 0.08 * float(mine[3])), 4),
            round(turn, 3),
            round(0.07 * float(mine[4]), 3),
            twig.fat,
            lie,
            unit,
        )
        pieces.append(
            Piece(surface=blade, materials=(Material(colour, rough=0.5, shine=0.04),), across=x, up=up, veins=0.13, flat=True)
        )
    return Body(pieces=tuple(pieces), at=at, wide=0.0, deep=0.0, height=0.0)


def _along(long: float, heading: float, bend: float, lie: float, t: float) -> tuple[float, float]:
    """A point of a bent stem, as it is seen."""
    sag = bend * long * t * t
    return (
        round(long * t * math.cos(heading) - sag * math.sin(heading), 5),
        round((long * t * math.sin(heading) + sag * math.cos(heading)) * lie, 5),
    )
