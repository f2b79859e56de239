"""The rules of UAX #9 that resolve the classes of one isolating run sequence, in place: weak, brackets, neutral."""

from functools import cache
from itertools import groupby
from unicodedata import category, mirrored, normalize

MAX_BRACKETS = 63  # BD16
INITIATORS = frozenset({"LRI", "RLI", "FSI"})
NEUTRALS = frozenset({"B", "S", "WS", "ON", "PDI"}) | INITIATORS


def weak(kinds: list[str], start: str) -> None:
    """W1–W7, in place."""
    _marks_and_digits(kinds, start)
    _separators(kinds)
    _terminators(kinds)
    strong = start
    for at, kind in enumerate(kinds):
        if kind in {"ES", "ET", "CS"}:
            kinds[at] = "ON"
        elif kind in {"L", "R"}:
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[at] = "L"


def _marks_and_digits(kinds: list[str], start: str) -> None:
    """W1–W3."""
    before = strong = start
    for at, kind in enumerate(kinds):
        if kind == "NSM":
            kinds[at] = "ON" if before in INITIATORS or before == "PDI" else before
        before = kinds[at]
        if before in {"L", "R", "AL"}:
            strong = before
        if before == "EN" and strong == "AL":
            before = kinds[at] = "AN"
    for at, kind in enumerate(kinds):
        if kind == "AL":
            kinds[at] = "R"


def _separators(kinds: list[str]) -> None:
    """W4."""
    for at in range(1, len(kinds) - 1):
        before, after = kinds[at - 1], kinds[at + 1]
        if before == after and ((kinds[at] in {"ES", "CS"} and before == "EN") or (kinds[at], before) == ("CS", "AN")):
            kinds[at] = before


def _terminators(kinds: list[str]) -> None:
    """W5."""
    at = 0
    for kind, group in groupby(list(kinds)):
        end = at + len(list(group))
        if kind == "ET" and "EN" in {kinds[at - 1] if at else "", kinds[end] if end < len(kinds) else ""}:
            kinds[at:end] = ["EN"] * (end - at)
        at = end


def brackets(characters: list[str], kinds: list[str], marks: list[bool], own: str, start: str) -> None:
    """N0: a pair of brackets takes the direction of what it holds, or of what stands before it."""
    for opening, closing in _pairs(characters, kinds):
        inside = {_strong(kind) for kind in kinds[opening + 1 : closing]} - {None}
        if not inside:
            continue
        chosen = own
        if own not in inside:
            before = (_strong(kind) for kind in reversed(kinds[:opening]))
            chosen = next((kind for kind in before if kind), start)
        for at in (opening, closing):
            kinds[at] = chosen
            following = at + 1
            while following < len(marks) and marks[following]:
                kinds[following] = chosen
                following += 1


def _pairs(characters: list[str], kinds: list[str]) -> list[tuple[int, int]]:
    """BD16."""
    opened: list[tuple[str, int]] = []
    found = []
    for at, character in enumerate(characters):
        if kinds[at] != "ON":
            continue
        character = normalize("NFC", character)  # noqa: PLW2901  # 2329 is 3008
        if (closing := _partner(character)) is not None:
            if len(opened) == MAX_BRACKETS:
                return []
            opened.append((closing, at))
        elif character in (waiting := [wanted for wanted, _ in opened]):
            depth = len(waiting) - 1 - waiting[::-1].index(character)
            found.append((opened[depth][1], at))
            del opened[depth:]
    return sorted(found)


@cache
def _partner(character: str) -> str | None:
    """The closing bracket of an opening one: Unicode puts it next, or next but one."""
    if category(character) != "Ps" or not mirrored(character):
        return None
    nearby = (chr(ord(character) + step) for step in (1, 2))
    return next((other for other in nearby if category(other) == "Pe" and mirrored(other)), None)


def _strong(kind: str) -> str | None:
    return "R" if kind in {"R", "EN", "AN"} else "L" if kind == "L" else None


def neutral(kinds: list[str], own: str, edges: tuple[str, str]) -> None:
    """N1 and N2."""
    at = 0
    for stands, group in groupby(list(kinds), key=NEUTRALS.__contains__):
        end = at + len(list(group))
        if stands:
            before = _strong(kinds[at - 1]) if at else edges[0]
            after = _strong(kinds[end]) if end < len(kinds) else edges[1]
            kinds[at:end] = [before if before and before == after else own] * (end - at)
        at = end
