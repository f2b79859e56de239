"""What a release may do to some of its work: fail on it, until the next release."""

import asyncio
from dataclasses import dataclass
from random import Random

from tests.faults.bug import READS, Bug
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World


@dataclass(frozen=True, slots=True)
class FailsOnSomeJobs:
    """A sixteenth of the jobs, by their ids; then it is mended, and what was set aside can be heard again."""

    name: str = "handler.fails_on_some"
    weight: int = 2
    settles: float = 0.0

    def draw(self, random: Random) -> Drawn:
        stage = random.choice(sorted(READS))
        return Drawn(
            seconds=60.0,
            rooms=frozenset({f"handler {stage}"}),
            parameters={"stage": stage, "ending": f"{random.randrange(16):x}"},
        )

    async def strike(self, world: World, fault: Planned) -> bool:
        bug = Bug(world.bugs, fault.parameters["stage"])
        bug.there.write_text(fault.parameters["ending"])
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            bug.there.unlink()
        try:
            bug.met.unlink()
        except FileNotFoundError:
            return False
        return True
