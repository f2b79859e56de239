"""Which images take their next step together. Pure: who waits goes in, one batch comes out, and no model is needed.

Batches have 1, 2, 4 or 8 rows, and hold nothing but rows that wait: five run as four and one, and the one that was left
heads the next batch. Rows go by how long they have waited for this step, so every group and every row has its turn.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

SHAPES = (1, 2, 4, 8)
# Measurements of a shape. The shortest counts: whatever else the machine does only ever makes a step longer.
ENOUGH = 3
# Work of this lane is paid for by the second: where it is owed time, nothing else shares and so lengthens its steps.
ALONE = "dedicated"
REMEMBERED = 256  # groups: a model's sizes, with and without guidance, some dozen times over
WINDOW = 60.0  # seconds over which a lane's share of the model is counted


@dataclass(frozen=True, slots=True)
class Want:
    """A row that waits for a step since `since`, which counts up.

    `pinned`: this step has to have that shape; `place`: and the row has to be there in the batch.
    """

    row: int
    group: Hashable
    lane: str
    since: int
    pinned: int | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of `rows`, each at its place; what is left of `shape` is padding, which only a pinned one may need."""

    rows: tuple[int, ...]
    shape: int
    places: tuple[int, ...]


def plan(wants: Sequence[Want], *, shapes: Callable[[Hashable], Sequence[int]], owed: str | None = None) -> Batch:
    """The next batch of those who wait, at least one; the lane that is `owed` time goes first.

    `shapes` says of a group which shapes are worth using: 1 and, in rising order, those that are faster a row.
    """
    first = min(wants, key=lambda want: (want.lane != owed, want.since))
    mates = sorted(
        (
            want
            for want in wants
            if (want.group, want.pinned) == (first.group, first.pinned) and _shares_a_step(want, first, owed)
        ),
        key=lambda want: (want.lane != first.lane, want.since),
    )
    if first.pinned is not None:
        return seated(mates, first.pinned)
    shape = max(shape for shape in shapes(first.group) if shape <= len(mates))
    return seated(mates[:shape], shape)


def seated(mates: Sequence[Want], shape: int) -> Batch:
    """In the order they come; who finds its own place taken waits for the next batch."""
    seats: dict[int, int] = {}
    for want in mates:
        place = want.place
        if place is None or place not in range(shape):
            place = next((place for place in range(shape) if place not in seats), shape)
        if place < shape:
            seats.setdefault(place, want.row)
    return Batch(tuple(seats.values()), shape, tuple(seats))


def _shares_a_step(want: Want, first: Want, owed: str | None) -> bool:
    return want.lane == first.lane or not (owed == first.lane == ALONE)


class Pace:
    """How long one group's steps take at each shape, measured on its first steps themselves: nothing is run for show.

    Shapes are tried from the smallest up. One is used on where a row of it took less time than a row of the largest
    smaller one that is used.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, list[float]] = {shape: [] for shape in SHAPES}

    def is_measuring(self, shape: int) -> bool:
        return shape in self._seconds and len(self._seconds[shape]) < ENOUGH

    def note(self, shape: int, seconds: float) -> None:
        if self.is_measuring(shape):
            self._seconds[shape].append(seconds)

    def shapes(self) -> tuple[int, ...]:
        used = [1]
        for shape in SHAPES[1:]:
            if self.is_measuring(used[-1]):
                break
            if self.is_measuring(shape):
                used.append(shape)
                break
            if min(self._seconds[shape]) / shape < min(self._seconds[used[-1]]) / used[-1]:
                used.append(shape)
        return tuple(used)


class Paces:
    """The paces of the groups that stepped last. Who comes back after `REMEMBERED` others is measured again."""

    def __init__(self) -> None:
        self.of: Callable[[Hashable], Pace] = lru_cache(REMEMBERED)(lambda _group: Pace())
        self._most: dict[Hashable, int] = {}

    def shapes(self, group: Hashable) -> list[int]:
        """Those worth using that there was memory for."""
        return [shape for shape in self.of(group).shapes() if shape <= self._most.get(group, shape)]

    def cap(self, group: Hashable, shape: int) -> None:
        """There was no memory for a step of this shape."""
        self._most[group] = max(1, shape // 2)

    def uncap(self) -> None:
        """There may be memory again."""
        self._most.clear()


class Usage:
    """Seconds of the model that each lane had of the last minute, against what it is guaranteed."""

    def __init__(self, shares: Mapping[str, int]) -> None:
        whole = sum(shares.values())
        self._guaranteed = {
            lane: WINDOW * share / whole for lane, share in sorted(shares.items(), key=lambda item: -item[1])
        }
        self._used = dict.fromkeys(shares, 0.0)
        self._steps: deque[tuple[float, str, float]] = deque()

    def note(self, lanes: Sequence[str], seconds: float, *, now: float) -> None:
        """A step of `seconds` that ended now; `lanes` of its rows."""
        for lane in lanes:
            if lane in self._used:
                self._steps.append((now, lane, seconds / len(lanes)))
                self._used[lane] += seconds / len(lanes)

    def owed(self, wants: Sequence[Want], *, now: float) -> str | None:
        """The lane, most guaranteed first, that waits and has had less than its share."""
        while self._steps and self._steps[0][0] < now - WINDOW:
            _, lane, seconds = self._steps.popleft()
            self._used[lane] -= seconds
        waiting = {want.lane for want in wants}
        return next(
            (lane for lane, seconds in self._guaranteed.items() if lane in waiting and self._used[lane] < seconds), None
        )
