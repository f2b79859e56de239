"""When which fault strikes whom: drawn from the seed alone; the same seed breaks the same things in the same order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from tests.faults.scale import Scale

TRIES = 50  # draws for one place in the schedule until a fault fits beside those that still last


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One fault as its kind draws it: how long it lasts in production's time, and what it must have for itself."""

    seconds: float
    rooms: frozenset[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault in its place; `at` and `seconds` are scaled, `at` counts from the beginning of the load."""

    number: int
    at: float
    kind: str
    seconds: float
    rooms: frozenset[str]
    parameters: Mapping[str, Any]


class Drawing(Protocol):
    """What the schedule knows of a kind of fault."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def settles(self) -> float:
        """Seconds, not scaled, that what it struck needs to be itself again."""

    def draw(self, random: Random) -> Drawn: ...


def schedule(seed: int, kinds: Sequence[Drawing], *, scale: Scale, gap: float) -> Iterator[Planned]:
    """Faults without end, `gap` seconds apart on average; they overlap, but never two in one room.

    Dealt like cards: in every round each kind comes as often as its weight says, in an order of that round.
    """
    random = Random(f"faults/{seed}")
    free_at: dict[str, float] = {}
    deck: list[Drawing] = []
    at, number = 0.0, 0
    while True:
        at += random.expovariate(1 / gap)
        for _ in range(TRIES):
            if not deck:
                deck = [kind for kind in kinds for _ in range(kind.weight)]
                random.shuffle(deck)
            kind = deck.pop()
            drawn = kind.draw(random)
            if all(free_at.get(room, 0.0) <= at for room in drawn.rooms):
                break
            deck.insert(random.randrange(len(deck) + 1), kind)
        else:
            # What is left of this round waits for what lasts long: the next begins beside it.
            left = {each.name for each in deck}
            deck += [kind for kind in kinds for _ in range(kind.weight) if kind.name not in left]
            random.shuffle(deck)
            continue
        seconds = scale.seconds(drawn.seconds)
        for room in drawn.rooms:
            free_at[room] = at + seconds + kind.settles
        number += 1
        yield Planned(
            number=number,
            at=round(at, 3),
            kind=kind.name,
            seconds=seconds,
            rooms=drawn.rooms,
            parameters=drawn.parameters,
        )
