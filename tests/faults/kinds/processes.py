"""What happens to a process: kill -9, SIGTERM, and standing still for longer than its leases last."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from random import Random

from deploy.local.supervisor import STAGES
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World


def room(stage: str) -> str:
    return f"service {stage}"


def second(stage: str) -> str:
    return f"second {stage}"


def one_stage(random: Random, *, seconds: float = 0.0) -> Drawn:
    stage = random.choice(STAGES)
    return Drawn(seconds=seconds, rooms=frozenset({room(stage)}), parameters={"stage": stage})


@dataclass(frozen=True, slots=True)
class Killed:
    name: str = "process.killed"
    weight: int = 6
    settles: float = 5.0

    def draw(self, random: Random) -> Drawn:
        return one_stage(random)

    async def strike(self, world: World, fault: Planned) -> bool:
        member = world.members[fault.parameters["stage"]]
        if member.pid is None:
            return False
        await member.kill()
        await member.ready()
        return True


@dataclass(frozen=True, slots=True)
class Terminated:
    """SIGTERM ends a service within twenty seconds, whatever else is broken."""

    name: str = "process.terminated"
    weight: int = 3
    settles: float = 5.0

    def draw(self, random: Random) -> Drawn:
        return one_stage(random)

    async def strike(self, world: World, fault: Planned) -> bool:
        member = world.members[fault.parameters["stage"]]
        if not member.is_ready:
            return False
        await world.ends_when_asked(member)
        await member.ready()
        return True


@dataclass(frozen=True, slots=True)
class StandsStill:
    """SIGSTOP until another process has taken over what it held, then SIGCONT: a zombie that believes its leases."""

    name: str = "process.stands_still"
    weight: int = 2
    settles: float = 2.0

    def draw(self, random: Random) -> Drawn:
        drawn = one_stage(random, seconds=random.choice([36.0, 45.0]))
        rooms = drawn.rooms | {second(drawn.parameters["stage"])}
        return Drawn(seconds=drawn.seconds, rooms=rooms, parameters=drawn.parameters)

    async def strike(self, world: World, fault: Planned) -> bool:
        stage = fault.parameters["stage"]
        other = await world.join(stage)
        try:
            await other.ready()
            member = world.members[stage]
            pid = member.pid
            if pid is None:
                return False
            os.killpg(pid, signal.SIGSTOP)  # its children too: a machine that was suspended
            try:
                await asyncio.sleep(max(fault.seconds, 1.2 * world.scale.lease))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGCONT)
            await member.ready()
        finally:
            await world.leave(other)
        return True
