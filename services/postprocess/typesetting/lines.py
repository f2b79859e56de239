"""From characters to glyphs: a paragraph's levels and scripts once, then any stretch of it as one line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

import uharfbuzz as hb

from services.postprocess.typesetting import bidi
from services.postprocess.typesetting.faults import MissingGlyphs
from services.postprocess.typesetting.fonts import EM, Typeface, right_to_left

# Japanese display text is set with proportional punctuation; a full-width comma tears a hole into a headline.
FEATURES: dict[str, dict[str, bool]] = {"ja": {"palt": True, "kern": True}}
# Laid between characters, seen by nobody: no font needs a glyph for them.
INVISIBLE = frozenset(range(0x200B, 0x2010)) | frozenset(range(0x202A, 0x202F)) | frozenset(range(0x2060, 0x2070))


MEASURE = re.compile(r"\d[\d.,]*[ \u00a0\u202f]?[A-Za-zµ°%]{1,3}(?![A-Za-z])")


class Glyph(NamedTuple):
    """One outline and where its origin stands on the line, in ems; y grows upwards."""

    face: Typeface
    id: int
    x: float
    y: float


class Ink(NamedTuple):
    """The outlines' own box in ems, from the line's origin on the baseline; top and bottom grow upwards."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class Line:
    glyphs: tuple[Glyph, ...]
    advance: float
    ink: Ink

    @property
    def width(self) -> float:
        """Of the ink, in ems."""
        return self.ink.right - self.ink.left


class _Run(NamedTuple):
    """One level, one script, one face, in visual order."""

    level: int
    glyphs: tuple[Glyph, ...]
    advance: float


class Paragraph:
    """A text in one locale, to be set in the first of some faces that has what a run of it needs."""

    def __init__(self, text: str, *, locale: str, faces: Sequence[Typeface]) -> None:
        self.text = text
        self.locale = locale
        self.faces = tuple(faces)
        self.level = bidi.level_for(text, right_to_left=right_to_left(locale))
        self._levels = _levels(text, self.level)
        self._scripts = _scripts(text)
        self._lines: dict[tuple[int, int], Line] = {}

    @property
    def right_to_left(self) -> bool:
        return bool(self.level % 2)

    @property
    def stands_on_baseline(self) -> bool:
        """Whether its letters stand on a line, and only tails hang below it."""
        return {"Latn", "Grek", "Cyrl"}.issuperset(self._scripts)

    def line(self, start: int, end: int) -> Line:
        """The stretch as a line of its own, without the spaces at its end. Raises MissingGlyphs."""
        end = start + len(self.text[start:end].rstrip())
        if (start, end) not in self._lines:
            self._lines[start, end] = self._set(start, end)
        return self._lines[start, end]

    def _set(self, start: int, end: int) -> Line:
        places = range(start, end)
        runs, missing = [], set[int]()
        for (level, script), group in groupby(places, key=lambda at: (self._levels[at], self._scripts[at])):
            members = list(group)
            run = self._run(members[0], members[-1] + 1, level, script)
            if isinstance(run, _Run):
                runs.append(run)
            else:
                missing |= run
        if missing:
            characters = "".join(self.text[at] for at in sorted(missing))
            raise MissingGlyphs(characters, families=" and ".join(face.family for face in self.faces))
        glyphs: list[Glyph] = []
        pen = 0.0
        for at in bidi.visual_order([run.level for run in runs]):
            glyphs += (glyph._replace(x=glyph.x + pen) for glyph in runs[at].glyphs)
            pen += runs[at].advance
        return Line(tuple(glyphs), pen, _ink(glyphs))

    def _run(self, start: int, end: int, level: int, script: str) -> "_Run | set[int]":
        """Set in the first face that has all of it, or the places of what each face lacks."""
        missing = set(range(start, end))
        for face in self.faces:
            buffer = self._shaped(face, start, end, level, script)
            absent = {info.cluster for info in buffer.glyph_infos if not info.codepoint}
            absent = {at for at in absent if ord(self.text[at]) not in INVISIBLE}
            if not absent:
                return _run(face, buffer, level)
            missing = missing & absent or absent
        return missing

    def _shaped(self, face: Typeface, start: int, end: int, level: int, script: str) -> hb.Buffer:
        buffer = hb.Buffer()
        buffer.add_str(self.text, start, end - start)
        buffer.direction = "rtl" if level % 2 else "ltr"
        buffer.script = script
        buffer.language = self.locale
        hb.shape(face.font, buffer, FEATURES.get(self.locale[:2].lower(), {}))
        return buffer


def _run(face: Typeface, buffer: hb.Buffer, level: int) -> _Run:
    glyphs, pen = [], 0
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        glyphs.append(Glyph(face, info.codepoint, (pen + position.x_offset) / EM, position.y_offset / EM))
        pen += position.x_advance
    return _Run(level, tuple(glyphs), pen / EM)


def _ink(glyphs: Sequence[Glyph]) -> Ink:
    boxes = []
    for glyph in glyphs:
        extents = glyph.face.font.get_glyph_extents(glyph.id)
        if extents and extents.width:
            left, top = glyph.x + extents.x_bearing / EM, glyph.y + extents.y_bearing / EM
            boxes.append(Ink(left, top + extents.height / EM, left + extents.width / EM, top))
    if not boxes:
        return Ink(0, 0, 0, 0)
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return Ink(min(lefts), min(bottoms), max(rights), max(tops))


def _levels(text: str, base: int) -> list[int]:
    """UAX #9 with one thing more, as its HL3 allows: in a text from right to left a figure and its Latin unit are one.

    Without it "100 ml" reads "ml 100" there, as in a browser, and on no package.
    """
    if base % 2 == 0:
        return bidi.levels(text, base)
    marked = MEASURE.sub("\u2066\\g<0>\u2069", text)
    found = bidi.levels(marked, base)
    if marked == text:
        return found
    ends = {at + shift for number, match in enumerate(MEASURE.finditer(text)) for at, shift in _marks(match, number)}
    return [level for at, level in enumerate(found) if at not in ends]


def _marks(match: re.Match[str], before: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the isolate around a figure stands, with two marks for each one before it."""
    return (match.start(), 2 * before), (match.end(), 2 * before + 1)


def _scripts(text: str) -> list[str]:
    """UAX #24: punctuation, figures and marks go with the letters before them, those at the start with the first."""
    found = [_script(character) for character in text]
    current = next((script for script in found if script), "Latn")
    return [current := script or current for script in found]


@cache
def _script(character: str) -> str | None:
    buffer = hb.Buffer()
    buffer.add_str(character)
    buffer.guess_segment_properties()
    script = buffer.script
    return None if script in {None, "Zyyy", "Zinh", "Zzzz"} else str(script)
