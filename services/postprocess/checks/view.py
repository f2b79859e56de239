"""What checks look at: one picture at a size of its own, and what is known of what it shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.sharpness import Plane, softness
from services.postprocess.compositing import flatten
from services.postprocess.pixels import Pixels

if TYPE_CHECKING:
    from services.postprocess.checks.photo import Photo

Number = TypeVar("Number", np.uint8, np.float32)
# left, top, right, bottom, 0..1 of width and height.
Area = tuple[float, float, float, float]

# What a person sees at arm's length, at which a check costs milliseconds.
SIDE = 512
# A picture no larger than this shows too little to be judged.
SMALL = 64


@dataclass(frozen=True, kw_only=True)
class View:
    """`pixels` are RGB, at most 512 a side; `live` is where the product is, 0..1.

    `close` is the product alone and `shape` what of it is the product (255). `palette` are the brand's colours,
    "#rrggbb"; `photo` shows the approved product alone, cut out or on one colour, and `photo_absent` says why there is
    none where there should be.
    """

    pixels: Pixels
    live: Area | None = None
    close: Pixels | None = None
    shape: Pixels | None = None
    palette: Sequence[str] = ()
    photo: Pixels | None = None
    photo_absent: str | None = None

    @classmethod
    def of(
        cls,
        pixels: Pixels,
        *,
        mask: Pixels | None = None,
        live: Area | None = None,
        palette: Sequence[str] = (),
        photo: Pixels | None = None,
        photo_absent: str | None = None,
    ) -> Self:
        """Of a picture of any size; the only place where all of its pixels are read."""
        if live is None and mask is not None:
            live = covered(mask)
        view = cls(pixels=seen(pixels), live=live, palette=palette, photo=photo, photo_absent=photo_absent)
        if photo is None or live is None:
            return view
        close = seen(cut(pixels, live))
        shape = mask if mask is not None else np.full(pixels.shape[:2], 255, dtype=np.uint8)
        return replace(view, close=close, shape=resized(cut(shape, live), close.shape[1], close.shape[0]))

    @property
    def is_small(self) -> bool:
        height, width = self.pixels.shape[:2]
        return bool(min(height, width) <= SMALL)

    @cached_property
    def luma(self) -> Plane:
        """0..255."""
        return luma_of(self.pixels)

    @cached_property
    def levels(self) -> NDArray[np.intp]:
        """How many pixels have each of the 256 levels of luma."""
        return np.bincount(self.luma.astype(np.uint8).ravel(), minlength=256)

    @cached_property
    def approved(self) -> "Photo | None":
        """The photo cut to its product; None where there is no photo, or nothing can be told from its ground."""
        from services.postprocess.checks.photo import Photo  # noqa: PLC0415  # which is made with what stands below

        return None if self.photo is None else Photo.of(self.photo)

    @cached_property
    def softness(self) -> float | None:
        """Of the product; of all where it is not known where that is."""
        return softness(cut(self.luma, self.live) if self.live else self.luma)


def seen(pixels: Pixels, *, side: int = SIDE) -> Pixels:
    """At most `side` pixels on its longest side, laid on white where it is see-through; never enlarged."""
    height, width = pixels.shape[:2]
    shrink = side / max(height, width)
    if shrink < 1:
        pixels = resized(pixels, max(1, round(width * shrink)), max(1, round(height * shrink)))
    return flatten(pixels)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def luma_of(pixels: Pixels) -> Plane:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def lab_of(pixels: Pixels) -> NDArray[np.float32]:
    """CIE L*a*b* (D65), L* 0..100."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def cut(pixels: NDArray[Number], area: Area, *, air: float = 0.0) -> NDArray[Number]:
    """The part of an area, with `air` around it (a share of its longer side), at least one pixel."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = area[0] * width, area[1] * height, area[2] * width, area[3] * height
    more = air * max(right - left, bottom - top)
    first, last = _span(left - more, right + more, width)
    upper, lower = _span(top - more, bottom + more, height)
    return pixels[upper:lower, first:last]


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    start = min(max(math.floor(low), 0), size - 1)
    return start, min(max(math.ceil(high), start + 1), size)


def covered(mask: Pixels) -> Area | None:
    """Where a mask is, 0..1; None where it is nowhere."""
    left, top, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    if not width:
        return None
    rows, columns = mask.shape[:2]
    return left / columns, top / rows, (left + width) / columns, (top + height) / rows
