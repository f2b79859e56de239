"""Full disks, one store's at a time."""

import asyncio
from dataclasses import dataclass
from random import Random

from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World

STORES = ("kafka", "postgres", "store", "published")


@dataclass(frozen=True, slots=True)
class DiskFull:
    """Nothing more can be written; a server that ends over it starts again when there is room."""

    store: str
    weight: int = 1
    settles: float = 12.0

    @property
    def name(self) -> str:
        return f"disk_full.{self.store}"

    def draw(self, random: Random) -> Drawn:
        rooms = {self.store, f"{self.store} link"} if self.store in {"kafka", "postgres"} else {self.store}
        return Drawn(seconds=random.choice([15.0, 40.0]), rooms=frozenset(rooms))

    async def strike(self, world: World, fault: Planned) -> bool:
        disk = world.disks[self.store]
        if not await disk.fill():
            return False
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await disk.free()
            if self.store in {"kafka", "postgres"}:
                await world.answers_again(self.store)
        return True
