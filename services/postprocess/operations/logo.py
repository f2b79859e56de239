"""Lay the brand's logo on the picture, or the one of two that its ground lets be seen."""

from services.postprocess.compositing import stamped
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.layout import Area, inset, placed, safe_area
from services.postprocess.operations.marks import NoMark, fitted, mark_of, stands_out
from services.postprocess.operations.operation import Operation
from services.postprocess.pixels import Pixels
from shared.events import Verdict
from shared.library.operations import Anchor, Logo

# Logos are exempt from WCAG's contrast; below this one cannot be made out at all.
SEEN = 1.5


def logo(frame: Frame, wanted: Logo) -> Frame:
    try:
        marks = [mark_of(frame.materials, name) for name in (wanted.mark, wanted.on_dark) if name]
    except NoMark as reason:
        return frame.left_out("The logo", reason, check="logo")
    frame = frame.whole()
    area = inset(safe_area(frame), wanted.margin)
    room = round(wanted.width * area.width), round(wanted.height * area.height)
    pixels = frame.pixels()
    tried = [fitted(mark, room) for mark in marks]
    places = [_place(made, area, wanted.anchor, frame.materials.locale) for made in tried]
    found, made, place = max(
        ((stands_out(made, pixels, place), made, place) for made, place in zip(tried, places, strict=True)),
        key=lambda each: each[0],
    )
    laid = stamped(pixels, made, [(place.left, place.top)], opacity=wanted.opacity)
    return frame.replaced(laid).judged(_verdict(place, safe_area(frame), found))


def _place(made: Pixels, area: Area, anchor: Anchor, locale: str) -> Area:
    return placed((made.shape[1], made.shape[0]), area, anchor, locale=locale)


def _verdict(place: Area, safe: Area, found: float) -> Verdict:
    says = f"The logo stands in {place.width} × {place.height} px, contrast {found:.1f}"
    code = None
    if not safe.holds(place):
        code, says = "bad_crop", f"{says}; it leaves the safe area"
    elif found < SEEN:
        code, says = "other", f"{says}: it cannot be made out; take another place, or name a mark `on_dark`"
    number, limit = round(found, 2), SEEN
    return Verdict(check="logo", ok=code is None, number=number, limit=limit, sentence=f"{says}.", code=code)


LOGO = Operation.of("logo", Logo, logo)
