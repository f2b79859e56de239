"""Which font file a text is set in: the one asked for, or none.

Three families are shipped; a folder of the operator's own adds more, and wins where it has the same family and weight.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import uharfbuzz as hb

from services.postprocess.fonts import FOLDER
from services.postprocess.typesetting.faults import NoFont

# Everything is shaped at this many units to the em and scaled when drawn: outlines are not hinted.
EM = 16384
SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
LATIN, ARABIC, JAPANESE = "Instrument Sans", "IBM Plex Sans Arabic", "Noto Sans JP"
# Written in the Arabic script: their texts are set in one family, Latin words and figures in them too.
IN_ARABIC = frozenset({"ar", "fa", "ur", "ps", "ckb", "sd", "ug"})
RIGHT_TO_LEFT = IN_ARABIC | {"he", "yi", "dv", "syr"}


@dataclass(frozen=True, slots=True)
class Typeface:
    """One family in one weight, and where it lies. A variable file is set to the weight."""

    family: str
    weight: int
    path: Path
    index: int

    @property
    def font(self) -> hb.Font:
        return _font(self)

    @property
    def sha256(self) -> str:
        return _digest(self.path)


@dataclass(frozen=True, slots=True)
class _Face:
    """A face as its file tells of it; a variable one has every weight between two."""

    family: str
    path: Path
    index: int
    lightest: int
    heaviest: int

    def is_named(self, family: str) -> bool:
        return self.family.casefold() == family.casefold()

    def has(self, weight: int) -> bool:
        return self.lightest <= weight <= self.heaviest

    @property
    def weights(self) -> str:
        return f"{self.lightest}" if self.lightest == self.heaviest else f"{self.lightest}–{self.heaviest}"


class Fonts:
    """The shipped fonts and those of one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own = list(_faces(folder)) if folder else []
        self._shipped = list(_faces(FOLDER))

    @classmethod
    @cache
    def at(cls, folder: str | None) -> "Fonts":
        """The folder is read once a process. Raises NoFont where it, or a file in it, cannot be read."""
        return cls(Path(folder) if folder else None)

    def chosen(self, locale: str, *, weight: int, families: Sequence[str] = ()) -> tuple[Typeface, ...]:
        """The families asked for, in order, or those for the locale. Raises NoFont for one that is not here."""
        return tuple(self._one(family, weight) for family in families or usual(locale))

    def _one(self, family: str, weight: int) -> Typeface:
        named = [[face for face in faces if face.is_named(family)] for faces in (self._own, self._shipped)]
        fitting = next((found for faces in named if (found := [face for face in faces if face.has(weight)])), [])
        if not any(named):
            raise NoFont(f"there is no font {family!r}: put its file into the folder that CALOTYPE_FONTS names")
        if not fitting:
            weights = ", ".join(face.weights for faces in named for face in faces)
            raise NoFont(f"{family} is not here in weight {weight}, only in {weights}: ask for that, or add the file")
        if len(fitting) > 1:
            files = " and ".join(face.path.name for face in fitting)
            raise NoFont(f"{files} are both {family} {weight}: keep one of them in the folder")
        face = fitting[0]
        return Typeface(face.family, weight, face.path, face.index)


def usual(locale: str) -> tuple[str, ...]:
    """The families for a locale where a recipe names none. What they cannot write is missed, not found elsewhere."""
    if language_of(locale) == "ja":
        return (JAPANESE,)
    return (ARABIC,) if language_of(locale) in IN_ARABIC else (LATIN, ARABIC)


def language_of(locale: str) -> str:
    return locale.replace("_", "-").partition("-")[0].lower()


def right_to_left(locale: str) -> bool:
    """Whether its readers begin on the right."""
    return language_of(locale) in RIGHT_TO_LEFT


def _faces(folder: Path) -> Iterator[_Face]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise NoFont(f"the folder of fonts cannot be read: {error}") from error
    for path in paths:
        yield from _faces_in(path)


def _faces_in(path: Path) -> Iterator[_Face]:
    try:
        count = hb.Face(hb.Blob.from_file_path(str(path))).count
    except hb.HarfBuzzError as error:
        raise NoFont(f"the font {path.name} cannot be read: {error}") from error
    faces = [_face(path, index) for index in range(count)]
    if not any(face.glyph_count for face in faces):
        raise NoFont(f"{path.name} is no font that HarfBuzz reads: take it out of the folder")
    for index, face in enumerate(faces):
        lightest, heaviest = _weights(face)
        yield _Face(_family(face, path), path, index, lightest, heaviest)


def _family(face: hb.Face, path: Path) -> str:
    names = (hb.OTNameIdPredefined.TYPOGRAPHIC_FAMILY, hb.OTNameIdPredefined.FONT_FAMILY)
    family = next((str(name) for wanted in names if (name := face.get_name(wanted))), path.stem)
    return f"{family} Italic" if hb.Font(face).get_style_value(hb.StyleTag.ITALIC) > 0 else family


def _weights(face: hb.Face) -> tuple[int, int]:
    for axis in face.axis_infos:
        if axis.tag == "wght":
            return round(axis.min_value), round(axis.max_value)
    weight = round(hb.Font(face).get_style_value(hb.StyleTag.WEIGHT))
    return weight, weight


def _face(path: Path, index: int) -> hb.Face:
    return hb.Face(hb.Blob.from_file_path(str(path)), index)


@cache
def _font(typeface: Typeface) -> hb.Font:
    face = _face(typeface.path, typeface.index)
    font = hb.Font(face)
    font.scale = (EM, EM)
    if any(axis.tag == "wght" for axis in face.axis_infos):
        font.set_variations({"wght": typeface.weight})
    return font


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
