"""Words on a picture: which, in which fonts and colour, and what a reviewer is told. Shared by the overlays."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import cv2
import numpy as np

from services.postprocess.contrast import BLACK, clearest, luminance, sampled
from services.postprocess.operations.layout import Area
from services.postprocess.operations.materials import Materials
from services.postprocess.pixels import WHITE, Colour, Pixels, colour_of
from services.postprocess.typesetting import Arrangement, CannotSet, Drawn, Fonts, Text, Typeface, read
from services.postprocess.typesetting.fonts import IN_ARABIC
from shared.events import Verdict
from shared.library.operations import Families, Paint, Words

V = TypeVar("V")

# The pitch of lines in sizes, where a recipe names none: scripts whose letters fill their em need more.
PITCHES = {"ja": 1.3, "zh": 1.3, "ko": 1.3, "th": 1.4, "hi": 1.35} | dict.fromkeys(IN_ARABIC, 1.3)
PITCH = 1.12
# How far round the letters the ground counts, as a share of their size.
NEAR = 0.12


class NoColour(CannotSet):
    """The brand's palette has no such name."""


def words(wanted: Words | None, materials: Materials) -> str:
    """What is to be written; empty where nothing is."""
    if wanted is None:
        return ""
    text = materials.texts.get(wanted) if isinstance(wanted, str) else by_locale(wanted, materials.locale)
    return (text or "").strip()


def composed(text: str, materials: Materials, *, weight: int, families: Families) -> Text:
    """The words in the fonts asked for. Raises NoFont and MissingGlyphs."""
    fonts = Fonts.at(materials.equipment.fonts)
    faces = fonts.chosen(materials.locale, weight=weight, families=by_locale(families, materials.locale) or ())
    return read(text, locale=materials.locale, faces=faces)


def pitch(locale: str) -> float:
    return by_locale(PITCHES, locale) or PITCH


def by_locale(values: Mapping[str, V], locale: str) -> V | None:
    language = locale.replace("_", "-").partition("-")[0]
    return next((values[name] for name in (locale, language, "default") if name in values), None)


def painted(paint: Paint, materials: Materials, ground: Pixels, *, wanted: float) -> Colour:
    """The colour that is meant; with `auto` one of the palette's, if any is as clear as wanted. Raises NoColour."""
    if paint == "auto":
        return clearest(map(colour_of, materials.palette.values()), ground, wanted=wanted)
    if paint.startswith("#"):
        return colour_of(paint)
    if paint not in materials.palette:
        names = ", ".join(materials.palette) or "no colours"
        raise NoColour(f"the brand's palette has no {paint}, it has {names}: add it, or write #RRGGBB")
    return colour_of(materials.palette[paint])


def extremes(materials: Materials) -> list[Colour]:
    """The darkest and the lightest colour of the palette: those that a patch helps most."""
    colours = sorted(map(colour_of, materials.palette.values()), key=luminance)
    return [colours[0], colours[-1]] if colours else [BLACK, WHITE]


def under(pixels: Pixels, coverage: Pixels, place: Area, *, size: int) -> Pixels:
    """What the letters stand on and next to, in one row of pixels."""
    reach = 1 + 2 * round(NEAR * size)
    near = cv2.dilate(coverage, np.ones((reach, reach), dtype=np.uint8)) > 0
    return sampled(pixels[place.top : place.bottom, place.left : place.right], near)


def ink_of(drawn: Drawn, place: Area) -> Area:
    """The box of what was really drawn, in the picture."""
    rows, columns = np.flatnonzero(drawn.coverage.any(axis=1)), np.flatnonzero(drawn.coverage.any(axis=0))
    left, top = place.left + int(columns[0]), place.top + int(rows[0])
    return Area(left, top, place.left + int(columns[-1]) + 1, place.top + int(rows[-1]) + 1)


def faces_in(arrangement: Arrangement) -> list[Typeface]:
    return list(dict.fromkeys(glyph.face for line in arrangement.lines for glyph in line.glyphs))


def described(faces: Iterable[Typeface], *, size: int, colour: Colour) -> str:
    """For the manifest: with these the same letters are drawn again."""
    fonts = ", ".join(f"{face.family} {face.weight} ({face.sha256})" for face in faces)
    return f"{fonts}; {size} px; #{colour[0]:02X}{colour[1]:02X}{colour[2]:02X}"


def verdict_on(says: str, *, inside: bool, found: float, wanted: float, over_product: bool = False) -> Verdict:
    """What a reviewer is told of letters that stand: whether they keep the safe area, and how well they are seen."""
    says, code = f"{says}, contrast {found:.1f}", None
    if not inside:
        code, says = "bad_crop", f"{says}; it leaves the safe area: a smaller box or margin keeps it in"
    elif over_product:
        code, says = "bad_crop", f"{says}; it lies over the product: take another place, or a smaller least size"
    elif found < wanted:
        code, says = "other", f"{says} where {wanted:g} is asked for: take another place or colour, or a scrim"
    number = round(found, 2)
    return Verdict(check="text", ok=code is None, number=number, limit=wanted, sentence=f"{says}.", code=code)
