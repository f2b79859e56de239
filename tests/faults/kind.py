"""What every kind of fault is: it draws its parameters from a seed, strikes, and leaves things as they were."""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World


class Kind(Protocol):
    """`strike` returns when what it struck is whole again, and says whether the fault had any effect."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> int: ...
    @property
    def settles(self) -> float: ...

    def draw(self, random: Random) -> Drawn: ...
    async def strike(self, world: World, fault: Planned) -> bool: ...


@dataclass(frozen=True, slots=True)
class NotHere:
    """A kind that this machine does not permit or lacks what it needs: reported, never silently left out."""

    name: str
    why: str
