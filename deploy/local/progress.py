"""How a start tells what it is doing; the terminal and the tests listen differently."""

from typing import Protocol


class Progress(Protocol):
    """Called from the supervisor's loop and from download threads alike."""

    def step(self, text: str) -> None:
        """Say that something is done or has begun."""

    def download(self, what: str, *, done: int, total: int) -> None:
        """Say how many bytes of `what` are here; the first call has done=0, the last done=total."""

    def share(self, what: str, *, done: int, total: int) -> None:
        """Say how many bytes of `what` are copied or checked; the first call has done=0, the last done=total."""


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def download(self, what: str, *, done: int, total: int) -> None:
        """Say nothing."""

    def share(self, what: str, *, done: int, total: int) -> None:
        """Say nothing."""
