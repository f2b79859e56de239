"""What checks look at: one picture at a size of its own, and what is known of what it shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.uint8, np.float32)
# Height × width × 3, sRGB.
Pixels = NDArray[np.uint8]
# Height × width of one number each.
Plane = NDArray[np.float32]
# left, top, right, bottom, 0..1 of width and height.
Area = tuple[float, float, float, float]

# What a person sees at arm's length, at which a check costs milliseconds.
SIDE = 512
# Labels are looked at closer: of the product alone, this many pixels.
CLOSE = 384
# A picture no larger than this shows too little to be judged.
SMALL = 64


@dataclass(frozen=True, kw_only=True)
class View:
    """`pixels` at most 512 px a side, `mask` of the product at the same size (0..255), `close` the product alone.

    `live` is where the product is. `palette` are the brand's colours, "#rrggbb". `photo` shows the approved product
    alone, on one colour or cut out; `close` and `photo` are looked at for its label.
    """

    pixels: Pixels
    mask: Pixels | None = None
    live: Area | None = None
    close: Pixels | None = None
    palette: Sequence[str] = ()
    photo: Pixels | None = None

    @classmethod
    def of(
        cls,
        pixels: Pixels,
        *,
        mask: Pixels | None = None,
        live: Area | None = None,
        palette: Sequence[str] = (),
        photo: Pixels | None = None,
    ) -> Self:
        """Of a picture of any size; the only place where all of its pixels are read."""
        small = seen(pixels)
        where = live if mask is None else _covered(mask) or live
        return cls(
            pixels=small,
            mask=None if mask is None else resized(mask, small.shape[1], small.shape[0]),
            live=where,
            close=seen(cut(pixels, where, air=0.03), side=CLOSE) if where else None,
            palette=palette,
            photo=photo,
        )

    @property
    def is_small(self) -> bool:
        height, width = self.pixels.shape[:2]
        return bool(min(height, width) <= SMALL)

    @cached_property
    def luma(self) -> Plane:
        """0..255."""
        return luma_of(self.pixels)

    @cached_property
    def product(self) -> Plane:
        """Luma of the product alone; of all where it is not known where that is."""
        return cut(self.luma, self.live) if self.live else self.luma


def seen(pixels: Pixels, *, side: int = SIDE) -> Pixels:
    """At most `side` pixels on its longest side, laid on white where it is see-through; never enlarged."""
    height, width = pixels.shape[:2]
    shrink = side / max(height, width)
    if shrink < 1:
        pixels = resized(pixels, max(1, round(width * shrink)), max(1, round(height * shrink)))
    return on_white(pixels) if pixels.shape[2] == 4 else pixels


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def luma_of(pixels: Pixels) -> Plane:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def lab_of(pixels: Pixels) -> NDArray[np.float32]:
    """CIE L*a*b* (D65), L* 0..100."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def on_white(pixels: Pixels) -> Pixels:
    cover = pixels[:, :, 3:].astype(np.uint16)
    laid = pixels[:, :, :3] * cover + 255 * (255 - cover)
    return ((laid + 127) // 255).astype(np.uint8)


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


def _covered(mask: Pixels) -> Area | None:
    """Where a mask is, 0..1; None where it is nowhere."""
    left, top, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    if not width:
        return None
    rows, columns = mask.shape[:2]
    return left / columns, top / rows, (left + width) / columns, (top + height) / rows
