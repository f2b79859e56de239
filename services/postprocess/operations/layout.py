"""Where an overlay stands: a box in whole pixels, inside what the channel leaves uncovered."""

import math
from typing import NamedTuple

from services.postprocess.geometry import Box
from services.postprocess.operations.frame import Frame
from services.postprocess.typesetting.fonts import right_to_left
from shared.library.operations import Anchor


class Area(NamedTuple):
    """A rectangle in whole pixels of a picture; right and bottom are just outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def short(self) -> int:
        return min(self.width, self.height)

    def holds(self, other: "Area") -> bool:
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


def safe_area(frame: Frame) -> Area:
    """What the channel shows in any case; the whole picture where the rendition names nothing."""
    width, height = frame.size
    left, top, right, bottom = frame.safe or (0.0, 0.0, 1.0, 1.0)
    return Area(
        math.ceil(left * width), math.ceil(top * height), math.floor(right * width), math.floor(bottom * height)
    )


def inset(area: Area, margin: float) -> Area:
    """Less a margin on every side, as a share of the shorter one; a point in the middle at least."""
    by = round(margin * area.short)
    left, top = min(area.left + by, (area.left + area.right) // 2), min(area.top + by, (area.top + area.bottom) // 2)
    return Area(left, top, max(area.right - by, left), max(area.bottom - by, top))


def placed(size: tuple[int, int], area: Area, anchor: Anchor, *, locale: str = "en") -> Area:
    """A box of this size at one of the nine places of an area."""
    sides = ("right", "left") if right_to_left(locale) else ("left", "right")
    at = anchor.replace("start", sides[0]).replace("end", sides[1])
    left = area.left + round((area.width - size[0]) * _share(at, "left", "right"))
    top = area.top + round((area.height - size[1]) * _share(at, "top", "bottom"))
    return Area(left, top, left + size[0], top + size[1])


def beside(area: Area, product: Box | None, *, gap: int) -> list[Area]:
    """The parts of an area to the sides of the product, above and below it; the area itself where they do not meet."""
    if product is None:
        return [area]
    left, top = math.floor(product.left) - gap, math.floor(product.top) - gap
    right, bottom = math.ceil(product.right) + gap, math.ceil(product.bottom) + gap
    if left >= area.right or right <= area.left or top >= area.bottom or bottom <= area.top:
        return [area]
    parts = (
        area._replace(right=left),
        area._replace(left=right),
        area._replace(bottom=top),
        area._replace(top=bottom),
    )
    return [part for part in parts if part.width > 0 and part.height > 0]


def _share(anchor: str, first: str, last: str) -> float:
    return 0.0 if first in anchor else 1.0 if last in anchor else 0.5
