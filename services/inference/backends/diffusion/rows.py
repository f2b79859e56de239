"""One image under way: what its own thread asks of the loop, and what it has had of it."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from services.inference.backends.diffusion.adapters import Call, together
from services.inference.backends.diffusion.planner import Want, seated
from services.inference.backends.diffusion.timing import Took

if TYPE_CHECKING:
    from services.inference.backends.diffusion.loop import Loop


class Cancelled(Exception):
    """Raised where a pipeline waits for its next step, so that it unwinds at once."""


class NoMemory(Exception):
    """A step of this row alone found no memory."""


class Turn:
    """What a row asks for that takes its steps itself: nothing else runs until it asks again, or ends."""


@dataclass(eq=False)
class Row:
    """One image under way, as its own thread sees it; `shapes` and `places` of the steps that it took."""

    id: int
    work: Mapping[str, Any]
    loop: "Loop"
    shapes: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    is_cancelled: bool = False
    is_alone: bool = False
    answers: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    steps: deque[tuple[Took, int]] = field(default_factory=deque)  # with how many images each was shared
    _doors: set[threading.Lock] = field(default_factory=set)
    _turn: float | None = None  # since when, by this host's clock, it takes its steps itself
    _seconds: float = 0.0

    @property
    def lane(self) -> str:
        return str(self.work["lane"])

    @property
    def pinned(self) -> int | None:
        """The shape its next step must have: of those it was told, the last one holds on."""
        return self._told("shapes")

    @property
    def place(self) -> int | None:
        """Where in its next step it must be."""
        return self._told("places")

    def _told(self, name: str) -> int | None:
        pins: Sequence[int] | None = self.work[name]
        return pins[min(len(self.shapes), len(pins) - 1)] if pins else None

    def stepped(self, shape: int, place: int) -> None:
        self.shapes.append(shape)
        self.places.append(place)

    def begin_anew(self) -> None:
        self.shapes.clear()
        self.places.clear()

    @property
    def device_seconds(self) -> float:
        """Its part of the device's time so far, as far as that is known: a step's time is shared by its images."""
        while self.steps and self.steps[0][0].is_known:
            took, many = self.steps.popleft()
            self._seconds += took.seconds / many
        return self._seconds + (0.0 if self._turn is None else time.monotonic() - self._turn)

    def take(self, call: Call) -> Any:
        """The answer to a call of the model's core."""
        if self.is_alone:
            batch = seated([Want(self.id, call.group, self.lane, 0, place=self.place)], self.pinned or 1)
            answer = together([call], batch)[0]
            self.stepped(batch.shape, batch.places[0])
            return answer
        self.leave(self.loop.encoding)
        return self.ask(call)

    def ask(self, wanted: Call | Turn) -> Any:
        self.stop_if_cancelled()
        self._end_turn()
        self.loop.hear(lambda: self.loop.asked(self, wanted))
        answer = self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(wanted, Turn):
            self._turn = time.monotonic()
        return answer

    def stop_if_cancelled(self) -> None:
        if self.is_cancelled:
            raise Cancelled

    def last_step_taken(self) -> None:
        """What remains is decoding, and nobody has to wait for it."""
        if not self.is_alone:
            self._end_turn()
            self.loop.hear(lambda: self.loop.steps_over(self))
            self.enter(self.loop.decoding)

    def _end_turn(self) -> None:
        self._seconds, self._turn = self.device_seconds, None

    def enter(self, door: threading.Lock) -> None:
        if door not in self._doors:
            door.acquire()
            self._doors.add(door)

    def leave(self, *doors: threading.Lock) -> None:
        for door in doors or tuple(self._doors):
            if door in self._doors:
                self._doors.remove(door)
                door.release()
