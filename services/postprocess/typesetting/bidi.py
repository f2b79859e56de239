"""Which way each character runs: the Unicode bidirectional algorithm (UAX #9, revision 46) for one paragraph.

Ours because a headline needs levels, to be kept over line breaks; libraries hand back a reordered string. Isolates
(rule X5a–c) and paired brackets (N0) are in it: "(Linden)" inside Arabic is set wrong without them.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
from unicodedata import bidirectional

from services.postprocess.typesetting.bidi_rules import INITIATORS, brackets, neutral, weak

MAX_DEPTH = 125  # BD2
EMBEDDINGS = {"RLE": (1, None), "LRE": (0, None), "RLO": (1, "R"), "LRO": (0, "L")}
# X9: these have no place of their own once levels are known.
REMOVED = frozenset({*EMBEDDINGS, "PDF", "BN"})


class _Status(NamedTuple):
    level: int
    override: str | None
    isolate: bool


def levels(text: str, base: int | None = None) -> list[int]:
    """One level a character: even runs left to right, odd right to left. `base` is the paragraph's own level."""
    classes = [bidirectional(character) or "L" for character in text]
    if base is None:
        base = paragraph_level(text)
    closing = _matching(classes)
    found = _Explicit(classes, closing, base).run()
    kept = [at for at, kind in enumerate(classes) if kind not in REMOVED]
    explicit = list(found)
    for sequence in _sequences(kept, explicit, classes, closing):
        edges = _edges(sequence, kept, explicit, classes, closing, base)
        _resolve(sequence, text, classes, found, edges)
    return _reset(text, _filled(classes, found, base), base)


def paragraph_level(text: str) -> int:
    """P2 and P3: that of the first strong character outside isolates; left to right where there is none."""
    classes = [bidirectional(character) for character in text]
    return _first_strong(classes, _matching(classes), 0, len(classes)) or 0


def level_for(text: str, *, right_to_left: bool) -> int:
    """That of the locale where the text has a letter of its direction (HL1), else the text's own."""
    kinds = {bidirectional(character) for character in text}
    if right_to_left and kinds & {"R", "AL"}:
        return 1
    return 0 if not right_to_left and "L" in kinds else paragraph_level(text)


def visual_order(found: Sequence[int]) -> list[int]:
    """L2: the places of a line's runs from left to right, by the level of each."""
    order = list(range(len(found)))
    for level in range(max(found, default=0), 0, -1):
        reordered: list[int] = []
        for turned, group in groupby(order, key=lambda at: found[at] >= level):
            members = list(group)
            reordered += reversed(members) if turned else members
        order = reordered
    return order


def _first_strong(classes: Sequence[str], closing: dict[int, int], start: int, end: int) -> int | None:
    at = start
    while at < end:
        if classes[at] in INITIATORS:
            at = closing.get(at, end)
        elif classes[at] in {"L", "R", "AL"}:
            return int(classes[at] != "L")
        at += 1
    return None


def _matching(classes: Sequence[str]) -> dict[int, int]:
    """BD9: the pop that closes each isolate, where there is one."""
    opened: list[int] = []
    closing = {}
    for at, kind in enumerate(classes):
        if kind in INITIATORS:
            opened.append(at)
        elif kind == "PDI" and opened:
            closing[opened.pop()] = at
    return closing


class _Explicit:
    """X1–X8: levels from embeddings, overrides and isolates; an override changes the class of what stands under it."""

    def __init__(self, classes: list[str], closing: dict[int, int], base: int) -> None:
        self._classes = classes
        self._closing = closing
        self._stack = [_Status(base, None, isolate=False)]
        self._over_isolates = self._over_embeddings = self._isolates = 0

    def run(self) -> list[int]:
        found = []
        for at, kind in enumerate(list(self._classes)):
            if kind in EMBEDDINGS:
                self._embed(*EMBEDDINGS[kind])
            elif kind == "PDF":
                self._pop_embedding()
            elif kind == "PDI":
                self._pop_isolate()
            found.append(self._stack[-1].level)
            if kind not in REMOVED and self._stack[-1].override:
                self._classes[at] = self._stack[-1].override or kind
            if kind in INITIATORS:
                self._isolate(at, kind)
        return found

    def _next_level(self, odd: int) -> int | None:
        above = self._stack[-1].level + 1
        level = above if above % 2 == odd else above + 1
        return level if level <= MAX_DEPTH and not (self._over_isolates or self._over_embeddings) else None

    def _embed(self, odd: int, override: str | None) -> None:
        level = self._next_level(odd)
        if level is not None:
            self._stack.append(_Status(level, override, isolate=False))
        elif not self._over_isolates:
            self._over_embeddings += 1

    def _isolate(self, at: int, kind: str) -> None:
        odd = int(kind == "RLI")
        if kind == "FSI":
            end = self._closing.get(at, len(self._classes))
            odd = _first_strong(self._classes, self._closing, at + 1, end) or 0
        level = self._next_level(odd)
        if level is None:
            self._over_isolates += 1
        else:
            self._isolates += 1
            self._stack.append(_Status(level, None, isolate=True))

    def _pop_isolate(self) -> None:
        if self._over_isolates:
            self._over_isolates -= 1
        elif self._isolates:
            self._over_embeddings = 0
            while not self._stack.pop().isolate:
                pass
            self._isolates -= 1

    def _pop_embedding(self) -> None:
        if self._over_isolates:
            return
        if self._over_embeddings:
            self._over_embeddings -= 1
        elif not self._stack[-1].isolate and len(self._stack) > 1:
            self._stack.pop()


def _sequences(kept: list[int], found: list[int], classes: list[str], closing: dict[int, int]) -> Iterator[list[int]]:
    """X10: runs of one level, joined over what an isolate holds."""
    runs = [list(group) for _, group in groupby(kept, key=found.__getitem__)]
    begins = {run[0]: run for run in runs}
    closed = set(closing.values())
    for run in runs:
        if run[0] in closed:
            continue
        sequence = list(run)
        while classes[sequence[-1]] in INITIATORS and (after := closing.get(sequence[-1])) in begins:
            sequence += begins[after]
        yield sequence


def _edges(
    sequence: list[int],
    kept: list[int],
    found: list[int],
    classes: list[str],
    closing: dict[int, int],
    base: int,
) -> tuple[str, str]:
    """The strong classes that stand before and after a sequence."""
    level = found[sequence[0]]
    before = max((at for at in kept if at < sequence[0]), default=None)
    open_end = classes[sequence[-1]] in INITIATORS and sequence[-1] not in closing
    after = None if open_end else min((at for at in kept if at > sequence[-1]), default=None)
    sides = (base if at is None else found[at] for at in (before, after))
    start, end = ("R" if max(level, side) % 2 else "L" for side in sides)
    return start, end


def _resolve(sequence: list[int], text: str, classes: list[str], found: list[int], edges: tuple[str, str]) -> None:
    own = "R" if found[sequence[0]] % 2 else "L"
    kinds = [classes[at] for at in sequence]
    marks = [kind == "NSM" for kind in kinds]
    weak(kinds, edges[0])
    brackets([text[at] for at in sequence], kinds, marks, own, edges[0])
    neutral(kinds, own, edges)
    for at, kind in zip(sequence, kinds, strict=True):
        found[at] += _step(found[at], kind)


def _step(level: int, kind: str) -> int:
    """I1 and I2."""
    if level % 2:
        return int(kind != "R")
    return {"L": 0, "R": 1}.get(kind, 2)


def _filled(classes: list[str], found: list[int], base: int) -> list[int]:
    """What X9 removes goes with the character before it."""
    filled: list[int] = []
    for kind, level in zip(classes, found, strict=True):
        filled.append((filled[-1] if filled else base) if kind in REMOVED else level)
    return filled


def _reset(text: str, found: list[int], base: int) -> list[int]:
    """L1: separators, and the spaces before them or at the end, run with the paragraph."""
    ending = True
    for at in range(len(text) - 1, -1, -1):
        kind = bidirectional(text[at])
        if kind in {"B", "S"}:
            ending = True
        elif not (kind in {"WS", "PDI"} or kind in INITIATORS or kind in REMOVED):
            ending = False
        if ending:
            found[at] = base
    return found
