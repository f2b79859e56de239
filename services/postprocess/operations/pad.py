"""Lay the whole picture on a canvas of exactly the rendition's size."""

from dataclasses import replace

import numpy as np

from services.postprocess.compositing import flatten, stamped
from services.postprocess.geometry import Point, fit_inside
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Colour, Pixels, colour_of, plain
from shared.library.operations import Pad


def pad(frame: Frame, wanted: Pad) -> Frame:
    width, height = frame.wanted
    room = max(1, round(width * wanted.fill)), max(1, round(height * wanted.fill))
    inner = frame.rendered(*fit_inside(frame.window.width, frame.window.height, within=room, enlarge=wanted.enlarge))
    pixels = inner.pixels()
    colour = edge_colour(pixels) if wanted.background == "edge" else colour_of(wanted.background)
    return placed(inner, plain(width, height, colour))


def edge_colour(pixels: Pixels) -> Colour:
    """The mean colour of the outermost pixels, so that added canvas looks like more of the same ground."""
    sides = (pixels[:1], pixels[-1:], pixels[:, :1], pixels[:, -1:])
    red, green, blue = np.mean([flatten(np.ascontiguousarray(side)).mean(axis=(0, 1)) for side in sides], axis=0)
    return round(float(red)), round(float(green)), round(float(blue))


def placed(inner: Frame, ground: Pixels, corner: tuple[int, int] | None = None) -> Frame:
    """The frame on a canvas, in its middle unless told where, with everything that is known about it."""
    height, width = ground.shape[:2]
    left, top = corner or ((width - inner.size[0]) // 2, (height - inner.size[1]) // 2)
    picture = Picture(stamped(ground, inner.pixels(), [(left, top)]), inner.picture.profile)
    return replace(
        inner,
        picture=picture,
        window=picture.box,
        focal=Point(inner.focal.x + left, inner.focal.y + top) if inner.focal else None,
        live=inner.live.moved(left, top) if inner.live else None,
        mask=_framed(inner.mask, (height, width), left, top),
        exact=True,
    )


def _framed(mask: Picture | None, size: tuple[int, int], left: int, top: int) -> Picture | None:
    if mask is None:
        return None
    ground = np.zeros(size, dtype=np.uint8)
    height, width = mask.full.shape
    ground[top : top + height, left : left + width] = mask.full
    return Picture(ground)


PAD = Operation.of("pad", Pad, pad)
