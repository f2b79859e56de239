"""What a worker tells of its jobs, kept for a test."""

from services.inference.progress import State
from services.inference.queue import Piece


class Heard:
    """A Progress that only remembers."""

    def __init__(self) -> None:
        self.told: list[State] = []

    def tell(self, state: State) -> None:
        self.told.append(state)

    def show(self, piece: Piece, step: int, image: bytes) -> None:
        pass

    def forget(self, piece: Piece) -> None:
        pass
