"""How large, and in which lines: the largest size at which a text keeps its box, broken so that no line stands out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from services.postprocess.typesetting.breaking import Breaks, breaks, paragraphs
from services.postprocess.typesetting.faults import DoesNotFit
from services.postprocess.typesetting.fonts import Typeface
from services.postprocess.typesetting.lines import Line, Paragraph

# Between the ink of one line and the ink of the next, in ems: marks above and below letters never touch.
CLEARANCE = 0.07
# What a pause at the end of a line is worth, and a word like "of" there costs, beside squares of what lines leave.
TASTE = 0.02
PAUSES = frozenset("。.!?！？;:—–،؛؟")
SHORT = 2


class Room(NamedTuple):
    """What a text may take: a box and sizes in pixels, lines at most, and the pitch of lines in ems."""

    width: float
    height: float
    largest: int
    least: int
    lines: int
    leading: float = 1.15


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Lines at one size in pixels; `pitch` from baseline to baseline, in pixels."""

    lines: tuple[Line, ...]
    size: int
    pitch: int

    @property
    def ascent(self) -> int:
        """Rows of pixels that ink above the first baseline touches."""
        return math.ceil(self.lines[0].ink.top * self.size)

    @property
    def height(self) -> int:
        """Rows that any ink touches, every baseline being on a whole row."""
        below = math.ceil(-self.lines[-1].ink.bottom * self.size)
        return self.ascent + self.pitch * (len(self.lines) - 1) + below

    @property
    def width(self) -> float:
        return max(line.width for line in self.lines) * self.size


Text = tuple[tuple[Paragraph, Breaks], ...]


@lru_cache(maxsize=64)
def read(text: str, *, locale: str, faces: tuple[Typeface, ...]) -> Text:
    """The paragraphs of a text with their breaks, once for all the renditions of an asset that carry it.

    Raises MissingGlyphs with every character of a paragraph that the faces lack.
    """
    found = []
    for written in paragraphs(text):
        paragraph = Paragraph(written, locale=locale, faces=faces)
        paragraph.line(0, len(written))
        found.append((paragraph, breaks(written, locale)))
    return tuple(found)


def fit(text: Text, room: Room) -> Arrangement:
    """The text, not empty, at its largest size. Raises DoesNotFit."""
    wanted = [(paragraph, (0, *places.wanted)) for paragraph, places in text]
    possible = [(paragraph, (0, *places.possible)) for paragraph, places in text]
    found = _largest(wanted, room) or (_largest(possible, room) if possible != wanted else None)
    if found is None:
        raise DoesNotFit(_refusal(possible, room))
    return found


_Text = Sequence[tuple[Paragraph, tuple[int, ...]]]


def _largest(text: _Text, room: Room) -> Arrangement | None:
    """By bisection: what fits at one size is taken to fit at every smaller one."""
    best = _arranged(text, room.least, room)
    low, high = room.least, room.largest + 1
    while best and high - low > 1:
        middle = (low + high) // 2
        tried = _arranged(text, middle, room)
        low, high, best = (middle, high, tried) if tried else (low, middle, best)
    return best


def _arranged(text: _Text, size: int, room: Room) -> Arrangement | None:
    """The text at this size, in as few lines as it takes, or None where they do not keep the room."""
    lines: list[Line] = []
    for paragraph, ends in text:
        chosen = _broken(paragraph, ends, room.width / size, room.lines - len(lines))
        if not chosen:
            return None
        lines += chosen
    arrangement = Arrangement(tuple(lines), size, _pitch(lines, size, room.leading))
    return arrangement if arrangement.height <= room.height else None


def _pitch(lines: Sequence[Line], size: int, leading: float) -> int:
    """One for all lines, in whole pixels, wide enough for the two that come closest."""
    closest = max((below.ink.top - above.ink.bottom for above, below in pairwise(lines)), default=0.0)
    return math.ceil(max(leading, closest + CLEARANCE) * size)


def _broken(paragraph: Paragraph, ends: tuple[int, ...], limit: float, most: int) -> list[Line]:
    """As few lines as it takes, their ends chosen so that the squares of what is left of each add up to least.

    Empty where more than `most` lines are needed, or one piece is too wide by itself. (Knuth and Plass 1981, section 4:
    the shortest path through the places where lines may end; here one layer a line.)
    """
    costs: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, (0,))}
    for _ in range(most):
        reached: dict[int, tuple[float, tuple[int, ...]]] = {}
        for first, (cost, path) in costs.items():
            for last in range(first + 1, len(ends)):
                width = paragraph.line(ends[first], ends[last]).width
                if width > limit:
                    break
                step = cost + (limit - width) ** 2 + _taste(paragraph.text, ends[last]) * TASTE * limit**2
                if last not in reached or step < reached[last][0]:
                    reached[last] = step, (*path, last)
        if len(ends) - 1 in reached:
            _, path = reached[len(ends) - 1]
            return [paragraph.line(ends[first], ends[last]) for first, last in pairwise(path)]
        costs = reached
    return []


def _taste(text: str, end: int) -> int:
    """-1 where a line ends well, 1 where it ends badly, 0 otherwise and at the end."""
    line = text[:end].rstrip()
    if end == len(text):
        return 0
    if line[-1] in PAUSES:
        return -1
    return int(text[end - 1] == " " and len(line) - line.rfind(" ") - 1 <= SHORT)


def _refusal(text: _Text, room: Room) -> str:
    pieces = (paragraph.line(first, last).width for paragraph, ends in text for first, last in pairwise(ends))
    widest = max(pieces, default=0.0) * room.least
    box = f"its box of {room.width:.0f} × {room.height:.0f} px"
    if widest > room.width:
        return f"a word of {widest:.0f} px at the least size, {room.least} px, is wider than {box}: shorten the text"
    return f"at the least size, {room.least} px, it does not go into {box} in {room.lines} lines: shorten the text"
