"""Write the headline, the product's name or a recipe's own words, as large as their box allows."""

import contextlib

from services.postprocess.compositing import inked
from services.postprocess.contrast import contrast
from services.postprocess.operations import lettering
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.layout import Area, beside, inset, placed, safe_area
from services.postprocess.operations.operation import Operation
from services.postprocess.operations.shade import shaded, weakest_shade
from services.postprocess.pixels import Colour, Pixels
from services.postprocess.typesetting import Arrangement, CannotSet, DoesNotFit, Drawn, Room, Text, draw, fit
from services.postprocess.typesetting.drawing import Side
from shared.library.operations import Anchor, Written

# Between text and product, of the picture's shorter side.
CLEAR = 0.02


def text(frame: Frame, wanted: Written) -> Frame:
    said = wanted.text if lettering.words(wanted.text, frame.materials) else wanted.otherwise
    written = lettering.words(said, frame.materials)
    if not written:
        return frame
    what = f"The {said}" if isinstance(said, str) else "The text"
    try:
        return _set(frame.whole(), written, wanted, what)
    except CannotSet as reason:
        return frame.left_out(what, reason, check="text")


def _set(frame: Frame, written: str, wanted: Written, what: str) -> Frame:
    setting = lettering.composed(written, frame.materials, weight=wanted.weight, families=wanted.fonts)
    arrangement, box, over_product = _fitted(setting, frame, wanted)
    side = _side(wanted.align, right_to_left=setting[0][0].right_to_left)
    drawn = draw(arrangement, side)
    place = _place(drawn, box, wanted.anchor, side)
    if over_product:  # a patch would hide the product as well
        wanted = wanted.model_copy(update={"scrim": "none"})
    pixels, colour, found = _ground(frame, drawn, place, arrangement.size, wanted)
    lines = f"{len(arrangement.lines)} line{'s' if len(arrangement.lines) > 1 else ''}"
    verdict = lettering.verdict_on(
        f"{what} stands in {lines} of {arrangement.size} px",
        inside=safe_area(frame).holds(lettering.ink_of(drawn, place)),
        over_product=over_product,
        found=found,
        wanted=wanted.contrast,
    )
    how = lettering.described(lettering.faces_in(arrangement), size=arrangement.size, colour=colour)
    made = inked(pixels, drawn.coverage, colour, left=place.left, top=place.top)
    return frame.replaced(made).judged(verdict).noted("text", how)


def _fitted(setting: Text, frame: Frame, wanted: Written) -> tuple[Arrangement, Area, bool]:
    """In the part of the box that the product leaves where it is largest; over the product only if it has to be."""
    box = _box(frame, wanted)
    if wanted.over_product:
        return fit(setting, _room(frame, box, wanted)), box, False
    fitting = []
    for part in beside(box, frame.live, gap=round(CLEAR * min(frame.size))):
        with contextlib.suppress(DoesNotFit):
            fitting.append((fit(setting, _room(frame, part, wanted)), part))
    if fitting:
        return *max(fitting, key=lambda each: each[0].size), False
    return fit(setting, _room(frame, box, wanted)), box, True


def _box(frame: Frame, wanted: Written) -> Area:
    area = inset(safe_area(frame), wanted.margin)
    size = round(wanted.width * area.width), round(wanted.height * area.height)
    return placed(size, area, wanted.anchor, locale=frame.materials.locale)


def _room(frame: Frame, box: Area, wanted: Written) -> Room:
    return Room(
        width=box.width,
        height=box.height,
        largest=max(wanted.least, round(wanted.largest * min(frame.size))),
        least=wanted.least,
        lines=wanted.lines,
        leading=wanted.leading or lettering.pitch(frame.materials.locale),
    )


def _side(align: str, *, right_to_left: bool) -> Side:
    if align == "centre":
        return "middle"
    return "right" if (align == "end") != right_to_left else "left"


def _place(drawn: Drawn, box: Area, anchor: Anchor, side: Side) -> Area:
    """Flush with the side that the lines are flush with; up or down as the box itself stands."""
    across: Anchor = "left" if side == "left" else "right" if side == "right" else "centre"
    down: Anchor = "top" if "top" in anchor else "bottom" if "bottom" in anchor else "centre"
    left, top = placed(drawn.size, box, across).left, placed(drawn.size, box, down).top
    return Area(left, top, left + drawn.size[0], top + drawn.size[1])


def _ground(frame: Frame, drawn: Drawn, place: Area, size: int, wanted: Written) -> tuple[Pixels, Colour, float]:
    """What is written on, shaded where that is asked for and needed, the colour, and how well it stands out."""
    pixels = frame.pixels()
    near = lettering.under(pixels, drawn.coverage, place, size=size)
    colour = lettering.painted(wanted.colour, frame.materials, near, wanted=wanted.contrast)
    found = contrast(colour, near)
    if wanted.scrim == "needed" and found < wanted.contrast:
        colours = lettering.extremes(frame.materials) if wanted.colour == "auto" else [colour]
        shade = weakest_shade(colours, near, wanted=wanted.contrast)
        pixels, colour = shaded(pixels, place, shade, size=size), shade.colour
        found = contrast(colour, lettering.under(pixels, drawn.coverage, place, size=size))
    return pixels, colour, found


TEXT = Operation.of("text", Written, text)
