"""What the worker asks of a target, and what a target may answer besides success."""

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from services.publisher.domain import Delivered, Delivery
from shared.errors import Unavailable
from shared.events import PublicFile

Read = Callable[[PublicFile], Awaitable[bytes]]


class Uncertain(Exception):
    """The target may or may not have taken the set."""


class Busy(Unavailable):
    """The target answers, and asks to be left alone for `seconds`. It has taken nothing."""

    def __init__(self, dependency: str, cause: object, *, seconds: float) -> None:
        super().__init__(dependency, cause)
        self.seconds = seconds


class Target(Protocol):
    """Every method raises Unavailable while the target is away, and Rejected for what will never be taken.

    Either way nothing was taken. What happens after an Uncertain follows from two properties: where the target is
    `keyed` it is sent again under the same key, where it is Readable it is looked up first, and where it is neither
    the publication ends `uncertain` and nothing is sent again by itself.
    """

    @property
    def keyed(self) -> bool:
        """Whether the target knows a publication by our id, so that delivering twice is delivering once."""

    async def deliver(self, delivery: Delivery, *, read: Read) -> Delivered | None:
        """Put the whole set there or nothing of it, never over something else. `read` fetches a file's bytes.

        Returns what the target acknowledged, or None where it is to be read back. Raises Uncertain after a time-out
        or an answer that does not tell.
        """

    async def close(self) -> None: ...


@runtime_checkable
class Readable(Target, Protocol):
    """A target that says what it holds."""

    async def look_up(self, delivery: Delivery) -> bool:
        """Whether the set stands at the target, by the target's own account. Writes nothing."""

    async def read_back(self, delivery: Delivery) -> Delivered:
        """Read every file as the target serves it, and hash what came."""


@runtime_checkable
class Serving(Target, Protocol):
    """A target whose acknowledgement may say where the files stand (`Delivered.stands`).

    It is `keyed`: for what it does not serve yet it is sent the message again.
    """

    async def fetch(self, location: str, *, most: int) -> bytes:
        """What stands there, as anybody gets it.

        Raises Rejected for a place that is not the target's, and for more bytes than `most`.
        """
