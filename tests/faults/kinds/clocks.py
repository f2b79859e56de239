"""One service's clock is an hour off: Debian's faketime lies to it, but for the clock that only measures."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.kinds.processes import one_stage
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World

# The one for programs with threads.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclass(frozen=True, slots=True)
class ClockWrong:
    name: str = "clock.wrong"
    weight: int = 2
    settles: float = 5.0

    def draw(self, random: Random) -> Drawn:
        drawn = one_stage(random, seconds=90.0)
        return Drawn(
            seconds=drawn.seconds,
            rooms=drawn.rooms,
            parameters={**drawn.parameters, "offset": random.choice(["+1h", "-1h"])},
        )

    async def strike(self, world: World, fault: Planned) -> bool:
        member = world.members[fault.parameters["stage"]]
        lie = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME": fault.parameters["offset"],
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        if not member.is_ready:
            return False
        await world.restarted_with(member, "clock", lie)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await world.restarted_with(member, "clock", {})
        return True
