"""The object store in trouble."""

import asyncio
from dataclasses import dataclass
from random import Random

from tests.faults.schedule import Drawn, Planned
from tests.faults.store_link import Trouble
from tests.faults.world import World

TROUBLES = {
    "slow": Trouble(slow=1.5),
    "refused": Trouble(refused=0.7),
    "truncated": Trouble(truncated=0.5),
    "lost": Trouble(lost=0.5),
    "away": Trouble(away=True),
}


@dataclass(frozen=True, slots=True)
class StoreTrouble:
    """`what` is one of the troubles; each lasts a while."""

    what: str
    weight: int = 2
    settles: float = 0.5

    @property
    def name(self) -> str:
        return f"store.{self.what}"

    def draw(self, random: Random) -> Drawn:
        return Drawn(seconds=random.choice([15.0, 30.0]), rooms=frozenset({"store"}))

    async def strike(self, world: World, fault: Planned) -> bool:
        link = world.store_link
        before = link.done[self.what]
        link.trouble = TROUBLES[self.what]
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            link.trouble = Trouble()
        return link.done[self.what] > before
