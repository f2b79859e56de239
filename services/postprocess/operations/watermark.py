"""Lay a watermark that everybody sees on the picture: a text or a mark, all over it or in one place."""

import math

import cv2
import numpy as np

from services.postprocess.compositing import stamped
from services.postprocess.contrast import BLACK, light
from services.postprocess.operations import lettering
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.layout import inset, placed, safe_area
from services.postprocess.operations.marks import NoMark, fitted, mark_of
from services.postprocess.operations.operation import Operation
from services.postprocess.pixels import WHITE, Colour, Pixels
from services.postprocess.typesetting import CannotSet, Room, draw, fit
from shared.library.operations import Paint, Watermark

# How steeply the repeated ones rise, in degrees, and the gaps between them in heights of one.
ANGLE = 30
GAP = 0.6
# Of the repeated ones: each is laid by itself, and a full stop on a banner would be there a million times.
MOST = 2_000
# Above this light, black stands out more than white does.
MIDDLE = 0.2


def watermark(frame: Frame, wanted: Watermark) -> Frame:
    written = lettering.words(wanted.text, frame.materials)
    if not (written or wanted.mark):
        return frame
    frame = frame.whole()
    try:
        stamp = _lettered(frame, written, wanted) if written else _marked(frame, wanted)
    except CannotSet as reason:
        return frame.left_out("The watermark", reason, check="text")
    except NoMark as reason:
        return frame.left_out("The watermark", reason, check="watermark")
    if wanted.repeated:
        stamp = _turned(stamp, ANGLE)
        places = _grid(frame.size, (stamp.shape[1], stamp.shape[0]), gap=round(GAP * wanted.size * min(frame.size)))
    else:
        area = inset(safe_area(frame), wanted.margin)
        place = placed((stamp.shape[1], stamp.shape[0]), area, wanted.anchor, locale=frame.materials.locale)
        places = [(place.left, place.top)]
    return frame.replaced(stamped(frame.pixels(), stamp, places, opacity=wanted.opacity))


def _lettered(frame: Frame, written: str, wanted: Watermark) -> Pixels:
    """In one line; smaller where the picture is too narrow for it."""
    area, size = inset(safe_area(frame), wanted.margin), max(1, round(wanted.size * min(frame.size)))
    line = " ".join(written.split())
    setting = lettering.composed(line, frame.materials, weight=wanted.weight, families=wanted.fonts)
    room = Room(width=area.width, height=area.height, largest=size, least=min(6, size), lines=1)
    drawn = draw(fit(setting, room), "middle")
    colour = _colour(frame, wanted.colour, step=size)
    flat = np.full((*drawn.coverage.shape, 3), colour, dtype=np.uint8)
    return np.concatenate([flat, drawn.coverage[..., None]], axis=2)


def _colour(frame: Frame, paint: Paint, *, step: int) -> Colour:
    """That which is meant, or white on a dark picture and near-black on a light one."""
    pixels = frame.pixels()[::step, ::step]
    if paint != "auto":
        return lettering.painted(paint, frame.materials, pixels, wanted=1)
    return BLACK if np.median(light(pixels)) > MIDDLE else WHITE


def _marked(frame: Frame, wanted: Watermark) -> Pixels:
    area, size = inset(safe_area(frame), wanted.margin), max(1, round(wanted.size * min(frame.size)))
    mark = fitted(mark_of(frame.materials, wanted.mark or ""), (area.width, size))
    if mark.shape[2] == 4:
        return mark
    return np.concatenate([mark, np.full((*mark.shape[:2], 1), 255, dtype=np.uint8)], axis=2)


def _turned(stamp: Pixels, degrees: float) -> Pixels:
    """Rising to the right; colours weighted by alpha on the way, for beyond its edge there is none."""
    height, width = stamp.shape[:2]
    turn, lift = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = math.ceil(width * turn + height * lift) + 2, math.ceil(width * lift + height * turn) + 2
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (across - width) / 2, (down - height) / 2
    weighted = stamp.astype(np.float32)
    weighted[..., :3] *= weighted[..., 3:] / np.float32(255)
    turned = np.asarray(cv2.warpAffine(weighted, matrix, (across, down), flags=cv2.INTER_LINEAR), dtype=np.float32)
    turned[..., :3] *= np.float32(255) / np.maximum(turned[..., 3:], 1)
    return np.asarray(turned.round().clip(0, 255), dtype=np.uint8)


def _grid(size: tuple[int, int], stamp: tuple[int, int], *, gap: int) -> list[tuple[int, int]]:
    """Places in rows, every other one moved by half, from the middle out until the picture is covered.

    Further apart where there would be more than `MOST`.
    """
    across, down = stamp[0] + gap, stamp[1] + gap
    apart = math.sqrt(max(1.0, size[0] * size[1] / (across * down) / MOST))
    across, down = math.ceil(across * apart), math.ceil(down * apart)
    columns, rows = math.ceil(size[0] / across / 2) + 1, math.ceil(size[1] / down / 2) + 1
    left, top = (size[0] - stamp[0]) // 2, (size[1] - stamp[1]) // 2
    return [
        (left + column * across + (row % 2) * across // 2, top + row * down)
        for row in range(-rows, rows + 1)
        for column in range(-columns, columns + 1)
    ]


WATERMARK = Operation.of("watermark", Watermark, watermark)
