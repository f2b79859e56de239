"""What stands and lies around the product: plinths, pebbles and the season's twigs."""

from dataclasses import dataclass

from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.camera import Stand
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Colour, Scene, linear, mix, stream
from services.inference.backends.proof.solids import pebble
from services.inference.backends.proof.sprig import LYING, STANDING, sprig
from services.inference.backends.proof.surface import Points, lathe

PLASTER = (0.86, 0.835, 0.79)
GREY, CLAY, SLATE = linear("#B9BFBB"), linear("#C07A56"), linear("#8E938C")

Place = tuple[float, float, float]


def around(scene: Scene, stand: Stand, *, seed: int, unit: float) -> list[Body]:
    """The props of a layout; reversed they change sides, and they keep out of a headline's space."""
    flip = -1.0 if scene.reversed else 1.0
    if scene.space == "right":
        flip = -flip
    table = _Table(scene=scene, seed=seed, unit=unit, x=stand.x, flip=flip)
    if scene.layout == "tile":
        return _tile(table)
    return _lifestyle(table) if scene.layout == "lifestyle" else _hero(table)


def plinth(radius: float, height: float, colour: Colour, unit: float, at: Place) -> Body:
    outline: Points = ((0, radius), (height - 0.003, radius), (height, radius - 0.002))
    chalk = Material(colour, rough=0.95, shine=0.02)
    piece = Piece(surface=lathe(outline, unit, 0.0012), materials=(chalk, chalk))
    return Body(pieces=(piece,), at=at, wide=radius, deep=radius, height=height)


def plinth_colour(scene: Scene) -> Colour:
    """Tone on tone with the wall, a step lighter."""
    return mix(scene.wall, PLASTER, 0.34)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Puts things down beside the product at `x`; `flip` −1 mirrors all sides."""

    scene: Scene
    seed: int
    unit: float
    x: float
    flip: float

    def at(self, aside: float, height: float, z: float) -> Place:
        return self.x + aside * self.flip, height, z

    def stone(self, name: str, at: Place, size: float, colour: Colour) -> Body:
        drawn = [float(part) for part in stream(self.seed, "props", "stone", name).uniform(-1, 1, 5)]
        wide = size * (1 + 0.10 * drawn[0])
        tall = wide * (0.60 + 0.07 * drawn[1])
        surface = pebble(round(wide, 4), round(tall, 4), round(0.10 * drawn[2], 3), self.unit)
        piece = Piece(surface=surface, materials=(Material(colour, rough=0.85, shine=0.025),), specks=0.075, spread=26)
        x, y, z = at
        if y == 0:
            x, z = x + 0.012 * drawn[3], z + 0.04 * drawn[4]
        return Body(pieces=(piece,), at=(x, y, z), wide=wide * 0.62, deep=wide * 0.50, height=tall * 1.6)

    def sprig(self, name: str, at: Place, long: float, lean: float, lie: float) -> Body:
        return sprig(
            self.scene.season, self.seed, name, unit=self.unit, at=at, long=long, lean=lean * self.flip, lie=lie
        )


def _tile(table: _Table) -> list[Body]:
    return [
        table.stone("first", table.at(-0.305, 0, 1.06), 0.046, GREY),
        table.stone("second", table.at(-0.340, 0, 1.24), 0.026, CLAY),
        table.sprig("fallen", table.at(0.395, 0, 1.36), 0.27, 1.34, LYING),
    ]


def _lifestyle(table: _Table) -> list[Body]:
    drawn = [float(part) for part in stream(table.seed, "props", "plinth").uniform(-1, 1, 3)]
    foot = table.at(-0.45 - 0.02 * drawn[0], 0.0, 0.66)
    radius, height = 0.118 + 0.010 * drawn[1], 0.130 + 0.022 * drawn[2]
    return [
        plinth(radius, height, mix(PLASTER, table.scene.wall, 0.12), table.unit, foot),
        table.stone("third", (foot[0] + 0.048 * table.flip, height, foot[2]), 0.040, SLATE),
        table.sprig("upright", (foot[0] + 0.03 * table.flip, height + 0.002, foot[2]), 0.30, 0.62, STANDING),
        table.stone("first", table.at(0.28, 0, 0.84), 0.068, GREY),
        table.stone("second", table.at(0.365, 0, 1.06), 0.043, CLAY),
        table.sprig("fallen", table.at(0.40, 0, 1.42), 0.26, 1.42, LYING),
    ]


def _hero(table: _Table) -> list[Body]:
    if table.scene.reversed:
        return [
            table.stone("first", table.at(0.375, 0, 0.98), 0.050, GREY),
            table.sprig("fallen", table.at(0.62, 0, 1.26), 0.27, 1.36, LYING),
        ]
    return [
        table.stone("first", table.at(0.355, 0, 0.98), 0.058, GREY),
        table.stone("second", table.at(0.440, 0, 1.16), 0.036, CLAY),
        table.sprig("fallen", table.at(-0.20, 0, 1.36), 0.27, 1.40, LYING),
    ]
