"""Which pictures of a set are unlike the rest of it, and in what: the one dark tile among five hundred. Pure.

A set is what a campaign has of one asset type. Of each of four measures the distance from the set's median is told in
robust standard deviations (1.4826 median absolute deviations), so that outliers do not hide each other; from 3.5 on a
picture is apart (Iglewicz & Hoaglin 1993). Where all but a few are the same, a floor stands for the deviation.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from uuid import UUID

LEAST = 8  # pictures; of fewer nobody can say what is usual
APART = 3.5
NORMAL = 1.4826

Lab = tuple[float, float, float]
Palette = Sequence[tuple[Lab, float]]
"""Colours with their shares of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a set is compared by; shares and places are 0..1, None where it is not known where the product is."""

    asset_id: UUID
    exposure: float
    palette: Palette
    scale: float | None = None
    centre: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One measure over a set. `deviation` is robust; `least` stands in for it where it is smaller."""

    name: str
    numbers: dict[UUID, float]
    median: float
    deviation: float
    least: float
    two_sided: bool
    said: Callable[[float, float], str]

    def score(self, asset: UUID) -> float:
        """How many deviations from the median; of a distance only what is too far counts."""
        off = self.numbers[asset] - self.median if asset in self.numbers else 0.0
        return (abs(off) if self.two_sided else max(off, 0.0)) / max(self.deviation, self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A set's statistics; `axes` is empty where there are too few pictures to say anything.

    `scores`: of each picture how far it is apart, in what it is the farthest.
    """

    count: int
    axes: tuple[Axis, ...]
    scores: Mapping[UUID, float]

    def score(self, asset: UUID) -> float:
        return self.scores.get(asset, 0.0)

    def why(self, asset: UUID) -> tuple[str, ...]:
        """A sentence for each measure in which it is apart, the worst first."""
        found = [(axis.score(asset), axis) for axis in self.axes]
        apart = sorted(((score, axis) for score, axis in found if score >= APART), key=lambda one: -one[0])
        return tuple(axis.said(axis.numbers[asset], axis.median) for _, axis in apart)

    def outliers(self) -> list[UUID]:
        """Those that are apart, the farthest first."""
        apart = (asset for asset, score in self.scores.items() if score >= APART)
        return sorted(apart, key=lambda asset: (-self.scores[asset], asset))


def compared(members: Sequence[Measured]) -> Set:
    """The statistics of a set."""
    axes = tuple(axis for axis in _axes(members) if len(axis.numbers) >= LEAST)
    assets = [member.asset_id for member in members] if axes else []
    scores = {asset: max(axis.score(asset) for axis in axes) for asset in assets}
    return Set(count=len(members), axes=axes, scores=scores)


def _axes(members: Sequence[Measured]) -> Iterator[Axis]:
    exposures = {m.asset_id: m.exposure for m in members}
    scales = {m.asset_id: m.scale for m in members if m.scale is not None}
    yield _axis("exposure", exposures, least=0.03, two_sided=True, said=_exposed)
    yield _axis("palette", _off_palette(members), least=3.0, two_sided=False, said=_coloured)
    yield _axis("scale", scales, least=0.03, two_sided=True, said=_scaled)
    yield _axis("position", _off_place(members), least=0.03, two_sided=False, said=_placed)


def _axis(
    name: str, numbers: dict[UUID, float], *, least: float, two_sided: bool, said: Callable[[float, float], str]
) -> Axis:
    middle = median(numbers.values()) if numbers else 0.0
    deviation = NORMAL * median(abs(number - middle) for number in numbers.values()) if numbers else 0.0
    return Axis(
        name=name, numbers=numbers, median=middle, deviation=deviation, least=least, two_sided=two_sided, said=said
    )


def _off_palette(members: Sequence[Measured]) -> dict[UUID, float]:
    """ΔE of each palette to that of the set's middle: the picture whose mean colour is nearest to the median one."""
    means = {m.asset_id: _mean(m.palette) for m in members if m.palette}
    if not means:
        return {}
    middle = tuple(median(mean[at] for mean in means.values()) for at in range(3))
    palettes = {m.asset_id: m.palette for m in members if m.palette}
    nearest = min(sorted(means), key=lambda asset: math.dist(means[asset], middle))
    return {asset: palette_distance(palette, palettes[nearest]) for asset, palette in palettes.items()}


def _off_place(members: Sequence[Measured]) -> dict[UUID, float]:
    centres = {m.asset_id: m.centre for m in members if m.centre is not None}
    if not centres:
        return {}
    middle = tuple(median(centre[at] for centre in centres.values()) for at in range(2))
    return {asset: math.dist(centre, middle) for asset, centre in centres.items()}


def palette_distance(one: Palette, other: Palette) -> float:
    """Mean ΔE*ab from each colour to the nearest of the other palette, by share, both ways."""
    return (_towards(one, other) + _towards(other, one)) / 2


def _towards(one: Palette, other: Palette) -> float:
    total = sum(share for _, share in one) or 1.0
    return sum(share * min(math.dist(colour, to) for to, _ in other) for colour, share in one) / total


def _mean(palette: Palette) -> Lab:
    total = sum(share for _, share in palette) or 1.0
    light, a, b = (sum(colour[at] * share for colour, share in palette) / total for at in range(3))
    return light, a, b


def lab(colour: str) -> Lab:
    """CIELAB (D65) of "#rrggbb"."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = map(_cube_root, (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _linear(part: float) -> float:
    return float(((part + 0.055) / 1.055) ** 2.4) if part > 0.04045 else part / 12.92


def _cube_root(part: float) -> float:
    return math.cbrt(part) if part > 216 / 24389 else (24389 / 27 * part + 16) / 116


def _exposed(number: float, middle: float) -> str:
    word = "darker" if number < middle else "brighter"
    return f"{word} than the rest of the set: {number:.2f}, median {middle:.2f}"


def _coloured(number: float, middle: float) -> str:
    return f"other colours than the rest of the set: ΔE {number:.0f} from its middle, median {middle:.0f}"


def _scaled(number: float, middle: float) -> str:
    word = "smaller" if number < middle else "larger"
    return f"its product is {word} than in the rest of the set: {number:.0%} of the picture, median {middle:.0%}"


def _placed(number: float, middle: float) -> str:
    return f"its product stands elsewhere than in the rest of the set: {number:.0%} off its place, median {middle:.0%}"
