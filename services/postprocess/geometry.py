"""Where to cut: boxes and points in pixels, no image in sight.

A box is (left, top, right, bottom) and may lie between pixels: the resampler takes fractions, so cutting and
resizing are one step and nothing is rounded twice.
"""

from typing import NamedTuple


class Point(NamedTuple):
    x: float
    y: float


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> Point:
        return Point((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def scaled(self, x: float, y: float) -> "Box":
        return Box(self.left * x, self.top * y, self.right * x, self.bottom * y)

    def moved(self, x: float, y: float) -> "Box":
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def within(self, other: "Box") -> "Box":
        """The part of this box inside the other; a point on its edge where they do not meet."""
        left, right = (min(max(edge, other.left), other.right) for edge in (self.left, self.right))
        top, bottom = (min(max(edge, other.top), other.bottom) for edge in (self.top, self.bottom))
        return Box(left, top, right, bottom)


def crop_to_aspect(
    window: Box, aspect: float, *, focal: Point, live: Box | None = None, fill: float | None = None
) -> Box:
    """The largest box of this aspect inside the window, centred on the focal point as far as the edges let it.

    Where the whole live area fits, the box moves just far enough to hold it; where it does not fit, the box holds as
    much of its middle as it can. With `fill` the box is only so large that the live area takes that share of it.
    """
    width = min(window.width, window.height * aspect)
    keep = live.within(window) if live else None
    if keep and fill:
        wanted = max(keep.width, keep.height * aspect, aspect) / fill
        width = min(width, wanted)
        focal = keep.centre
    height = width / aspect
    left = _start(width, window.left, window.right, focal.x, (keep.left, keep.right) if keep else None)
    top = _start(height, window.top, window.bottom, focal.y, (keep.top, keep.bottom) if keep else None)
    return Box(left, top, left + width, top + height)


def _start(length: float, low: float, high: float, wanted: float, keep: tuple[float, float] | None) -> float:
    start = wanted - length / 2
    if keep is not None:
        fits = keep[1] - keep[0] <= length
        start = min(max(start, keep[1] - length), keep[0]) if fits else (keep[0] + keep[1] - length) / 2
    return min(max(start, low), high - length)


def fit_inside(width: float, height: float, *, within: tuple[int, int], enlarge: float = 1.0) -> tuple[int, int]:
    """The largest size of this aspect within a bound, at most `enlarge` times as large, never under one pixel."""
    factor = min(enlarge, within[0] / width, within[1] / height)
    return max(1, round(width * factor)), max(1, round(height * factor))
