"""Kafka and Postgres end, in every way they can, and start again."""

import asyncio
import signal
from dataclasses import dataclass
from random import Random

from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World

ENDS = {
    "kafka": {"asked": signal.SIGTERM, "killed": signal.SIGKILL},
    # Postgres's own words: fast rolls back and ends, immediate leaves recovery to the next start.
    "postgres": {"fast": signal.SIGINT, "killed": signal.SIGKILL, "immediate": signal.SIGQUIT},
}


@dataclass(frozen=True, slots=True)
class Restarted:
    """It stays away for a while, then starts by itself."""

    server: str
    weight: int
    settles: float = 10.0

    @property
    def name(self) -> str:
        return f"{self.server}.restarted"

    def draw(self, random: Random) -> Drawn:
        return Drawn(
            seconds=random.choice([0.0, 10.0, 30.0]),
            rooms=frozenset({self.server, f"{self.server} link"}),
            parameters={"how": random.choice(sorted(ENDS[self.server]))},
        )

    async def strike(self, world: World, fault: Planned) -> bool:
        await world.take_away(self.server, ENDS[self.server][fault.parameters["how"]])
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await world.bring_back(self.server)
        return True
