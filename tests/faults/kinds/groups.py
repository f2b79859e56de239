"""Consumer groups that change while they are busy: a second process, and another version of the code."""

import asyncio
from dataclasses import dataclass
from random import Random

from deploy.local.supervisor import STAGES
from tests.faults.fixture_tree import fixture_tree
from tests.faults.kinds.processes import one_stage, room, second
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import ROOT, World


@dataclass(frozen=True, slots=True)
class Resized:
    """A second process of a stage joins its groups and leaves again."""

    name: str = "group.resized"
    weight: int = 3
    settles: float = 3.0

    def draw(self, random: Random) -> Drawn:
        drawn = one_stage(random, seconds=random.choice([30.0, 60.0]))
        stage = drawn.parameters["stage"]
        return Drawn(seconds=drawn.seconds, rooms=frozenset({second(stage)}), parameters=drawn.parameters)

    async def strike(self, world: World, fault: Planned) -> bool:
        member = await world.join(fault.parameters["stage"])
        try:
            await member.ready()
            await asyncio.sleep(fault.seconds)
        finally:
            await world.leave(member)
        return True


@dataclass(frozen=True, slots=True)
class RolledOver:
    """Every service moves, one after another, to a tree whose events have one field more, and later back."""

    name: str = "code.rolled_over"
    weight: int = 1
    settles: float = 5.0

    def draw(self, random: Random) -> Drawn:
        order = random.sample(STAGES, len(STAGES))
        return Drawn(seconds=90.0, rooms=frozenset({"code"}), parameters={"order": order})

    async def strike(self, world: World, fault: Planned) -> bool:
        tree = await asyncio.to_thread(fixture_tree, world.root / "next-version")
        await self._roll(world, fault, {"PYTHONPATH": f"{tree}:{ROOT}"})
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await self._roll(world, fault, {})
        return True

    async def _roll(self, world: World, fault: Planned, extra: dict[str, str]) -> None:
        """One by one; other faults go on meanwhile."""
        for stage in fault.parameters["order"]:
            async with world.alone_in(room(stage)):
                await world.restarted_with(world.members[stage], "code", extra)
