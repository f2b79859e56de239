"""Write the headline, the product's name or a recipe's own words, as large as their box allows."""

import contextlib
from typing import Literal

from pydantic import Field

from services.postprocess.compositing import inked
from services.postprocess.contrast import contrast
from services.postprocess.operations import lettering
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.layout import Anchor, Area, beside, inset, placed, safe_area
from services.postprocess.operations.lettering import Families, Paint, Weight, Words
from services.postprocess.operations.operation import Operation, Parameters
from services.postprocess.operations.shade import shaded, weakest_shade
from services.postprocess.pixels import Colour, Pixels
from services.postprocess.typesetting import Arrangement, CannotSet, DoesNotFit, Drawn, Room, Text, draw, fit
from services.postprocess.typesetting.drawing import Side

# Between text and product, of the picture's shorter side.
CLEAR = 0.02


class Written(Parameters):
    """What is written, and where.

    The box takes `width` and `height` as shares of the safe area less its `margin`, and stands at the `anchor`. Sizes:
    `largest` as a share of the picture's shorter side, `least` in pixels; what does not fit at that is left out.
    `start` is the side where the text begins to be read. `contrast`: WCAG 2.2 asks 4.5 of small text, 3 of large;
    `scrim` darkens or lightens the ground as far as that takes. The product is left free unless `over_product`.
    """

    text: Words = "headline"
    anchor: Anchor = "start"
    width: float = Field(default=0.5, gt=0, le=1)
    height: float = Field(default=0.6, gt=0, le=1)
    margin: float = Field(default=0.06, ge=0, lt=0.5)
    largest: float = Field(default=0.1, gt=0, le=1)
    least: int = Field(default=14, ge=6, le=500)
    lines: int = Field(default=3, ge=1, le=12)
    leading: float | None = Field(default=None, ge=0.8, le=3)
    align: Literal["start", "centre", "end"] = "start"
    weight: Weight = 500
    fonts: Families = Field(default_factory=dict)
    colour: Paint = "auto"
    contrast: float = Field(default=4.5, ge=1, le=21)
    scrim: Literal["none", "needed"] = "none"
    over_product: bool = False


def text(frame: Frame, wanted: Written) -> Frame:
    written = lettering.words(wanted.text, frame.materials)
    if not written:
        return frame
    what = f"The {wanted.text}" if isinstance(wanted.text, str) else "The text"
    try:
        return _set(frame.whole(), written, wanted, what)
    except CannotSet as reason:
        return lettering.left_out(frame, what, reason)


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
