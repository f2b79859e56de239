"""The season's twig: a bent stem with leaves by turns on either side, smaller towards the tip."""

import math
from dataclasses import dataclass

from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Colour, linear, mix, stream
from services.inference.backends.proof.solids import leaf, rod

BARK = Material(linear("#7A6547"), rough=0.9, shine=0.02)
SHADE: Colour = (0.30, 0.34, 0.10)
# How much of its height we see of a twig that lies on the table. Truly it were SIN, and a line.
LYING, STANDING = 0.55, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Twig:
    """Leaves: length, width, where they are widest (0..1), how many, how far they stand off (radians), their colour."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """From the origin towards `heading` (radians on the screen), bent by a share of its length."""

    long: float
    heading: float
    bend: float
    lie: float

    def at(self, t: float) -> tuple[float, float]:
        """The point `t` of the way along, as it is seen."""
        along, sag = self.long * t, self.bend * self.long * t * t
        c, s = math.cos(self.heading), math.sin(self.heading)
        return round(along * c - sag * s, 5), round((along * s + sag * c) * self.lie, 5)

    def direction(self, t: float) -> float:
        (x0, y0), (x1, y1) = self.at(t - 0.02), self.at(t)
        return math.atan2((y1 - y0) / self.lie, x1 - x0)


def sprig(
    season: str,
    seed: int,
    name: str,
    *,
    unit: float,
    at: tuple[float, float, float],
    long: float,
    lean: float,
    lie: float,
) -> Body:
    """A twig with its cut end at `at`, leaning by `lean` from upright (radians, to the left)."""
    twig = TWIGS[season]
    drawn = [float(part) for part in stream(seed, "props", "sprig", name).uniform(-1, 1, 3)]
    stem = Stem(
        long=long * (1 + 0.06 * drawn[0]),
        heading=math.pi / 2 + lean + 0.06 * drawn[1],
        bend=math.copysign(0.16 + 0.05 * drawn[2], lean),
        lie=lie,
    )
    points = tuple(stem.at(t / 12) for t in range(13))
    pieces = [Piece(surface=rod(points, 0.0032, unit), materials=(BARK,), flat=True)]
    pieces += [_leaf(twig, stem, seed, name, number, unit) for number in range(twig.count)]
    return Body(pieces=tuple(pieces), at=at, wide=0.0, deep=0.0, height=0.0)


def _leaf(twig: Twig, stem: Stem, seed: int, name: str, number: int, unit: float) -> Piece:
    drawn = [float(part) for part in stream(seed, "props", "leaf", name, str(number)).uniform(-1, 1, 5)]
    t = 0.22 + 0.78 * number / (twig.count - 1)
    off = 0.0 if number == twig.count - 1 else (1 if number % 2 else -1) * (twig.spread + 0.16 * drawn[0])
    size = (1.12 - 0.42 * t) * (1 + 0.10 * drawn[1])
    blade = leaf(
        round(twig.length * size, 4),
        round(twig.width * size * (1 + 0.08 * drawn[2]), 4),
        round(stem.direction(t) + off, 3),
        round(0.07 * drawn[3], 3),
        twig.fat,
        stem.lie,
        unit,
    )
    x, up = stem.at(t)
    green = Material(mix(twig.colour, SHADE, 0.14 + 0.12 * drawn[4]), rough=0.5, shine=0.04)
    return Piece(surface=blade, materials=(green,), across=x, up=up, veins=0.13, flat=True)
