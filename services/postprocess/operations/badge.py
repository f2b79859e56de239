"""Lay a badge on the picture: a short text on a pill, or one of the brand's marks."""

import numpy as np

from services.postprocess.compositing import inked, stamped
from services.postprocess.contrast import contrast
from services.postprocess.operations import lettering
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.layout import Area, inset, placed, safe_area
from services.postprocess.operations.marks import NoMark, fitted, mark_of
from services.postprocess.operations.operation import Operation
from services.postprocess.pixels import Pixels
from services.postprocess.typesetting import CannotSet, Drawn, Room, Text, draw, fit
from shared.library.operations import Badge

# Of the pill's height: its letters, and the room before the first and after the last.
LETTERS, ENDS = 0.48, 0.5


def badge(frame: Frame, wanted: Badge) -> Frame:
    written = lettering.words(wanted.text, frame.materials)
    try:
        if written:
            return _lettered(frame.whole(), written, wanted)
        return _marked(frame.whole(), wanted.mark, wanted) if wanted.mark else frame
    except CannotSet as reason:
        return frame.left_out("The badge", reason, check="text")
    except NoMark as reason:
        return frame.left_out("The badge", reason, check="badge")


def _marked(frame: Frame, name: str, wanted: Badge) -> Frame:
    area = inset(safe_area(frame), wanted.margin)
    room = round(wanted.width * area.width), round(wanted.height * area.height)
    mark = fitted(mark_of(frame.materials, name), room)
    place = placed((mark.shape[1], mark.shape[0]), area, wanted.anchor, locale=frame.materials.locale)
    return frame.replaced(stamped(frame.pixels(), mark, [(place.left, place.top)]))


def _lettered(frame: Frame, written: str, wanted: Badge) -> Frame:
    area, materials = inset(safe_area(frame), wanted.margin), frame.materials
    height = max(1, round(wanted.height * area.height))
    setting = lettering.composed(" ".join(written.split()), materials, weight=wanted.weight, families=wanted.fonts)
    arrangement = fit(setting, _room(area, height, wanted))
    drawn = draw(arrangement, "middle")
    pill = placed((drawn.size[0] + 2 * round(ENDS * height), height), area, wanted.anchor, locale=materials.locale)
    pixels = frame.pixels()
    under = np.ascontiguousarray(pixels[pill.top : pill.bottom, pill.left : pill.right])
    fill = lettering.painted(wanted.fill, materials, under, wanted=wanted.contrast)
    flat = np.full((1, 1, 3), fill, dtype=np.uint8)
    colour = lettering.painted(wanted.colour, materials, flat, wanted=wanted.contrast)
    made = inked(pixels, _pill(pill.width, pill.height), fill, left=pill.left, top=pill.top)
    left = pill.left + (pill.width - drawn.size[0]) // 2
    made = inked(made, drawn.coverage, colour, left=left, top=pill.top + _drop(drawn, height, setting))
    how = lettering.described(lettering.faces_in(arrangement), size=arrangement.size, colour=colour)
    verdict = lettering.verdict_on(
        f"The badge stands in letters of {arrangement.size} px",
        inside=safe_area(frame).holds(pill),
        found=contrast(colour, flat),
        wanted=wanted.contrast,
    )
    return frame.replaced(made).judged(verdict).noted("badge", how)


def _room(area: Area, height: int, wanted: Badge) -> Room:
    """One line; its letters shrink where the pill would be too wide."""
    widest = round(wanted.width * area.width) - 2 * round(ENDS * height)
    size = max(wanted.least, round(LETTERS * height))
    return Room(width=max(widest, 1), height=height, largest=size, least=wanted.least, lines=1)


def _drop(drawn: Drawn, height: int, setting: Text) -> int:
    """Rows above the letters: their capitals stand in the middle, whatever hangs below; other scripts by all ink."""
    (paragraph, _), *_ = setting
    return (height - (drawn.ascent if paragraph.stands_on_baseline else drawn.size[1])) // 2


def _pill(width: int, height: int) -> Pixels:
    """A rectangle with round ends: how far each pixel's middle is from its edge says how much is covered."""
    radius = min(width, height) / 2
    x = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    away = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    return np.asarray((np.clip(radius - away + 0.5, 0, 1) * 255).round(), dtype=np.uint8)


BADGE = Operation.of("badge", Badge, badge)
