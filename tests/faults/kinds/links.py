"""What a network does to the connections to Kafka and Postgres: resets, delay, silence."""

import asyncio
from dataclasses import dataclass
from random import Random

from tests.faults.link import Link
from tests.faults.schedule import Drawn, Planned
from tests.faults.world import World


def drawn(link: str, *, seconds: float, **parameters: float) -> Drawn:
    return Drawn(seconds=seconds, rooms=frozenset({f"{link} link"}), parameters=parameters)


def link_of(world: World, name: str) -> Link:
    return {"kafka": world.kafka_link, "postgres": world.postgres_link}[name]


@dataclass(frozen=True, slots=True)
class Reset:
    link: str
    weight: int = 2
    settles: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.link}.connections_reset"

    def draw(self, random: Random) -> Drawn:
        return drawn(self.link, seconds=0.0, share=random.choice([0.2, 0.5, 1.0]), seed=random.randrange(2**32))

    async def strike(self, world: World, fault: Planned) -> bool:
        link = link_of(world, self.link)
        chosen = link.choose(Random(fault.parameters["seed"]), fault.parameters["share"])
        link.reset(chosen)
        return bool(chosen)


@dataclass(frozen=True, slots=True)
class Delayed:
    """Every chunk, both ways."""

    link: str
    weight: int = 1
    settles: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.link}.delayed"

    def draw(self, random: Random) -> Drawn:
        return drawn(self.link, seconds=30.0, delay=random.choice([0.02, 0.1, 0.4]))

    async def strike(self, world: World, fault: Planned) -> bool:
        link = link_of(world, self.link)
        link.delay = fault.parameters["delay"]
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            link.delay = 0.0
        return bool(link.passages)


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Connections that nobody closed and nothing comes through on; at the end the other side resets them."""

    link: str
    weight: int = 1
    settles: float = 2.0

    @property
    def name(self) -> str:
        return f"{self.link}.half_open"

    def draw(self, random: Random) -> Drawn:
        share = random.choice([0.3, 1.0])
        return drawn(self.link, seconds=40.0, share=share, seed=random.randrange(2**32))

    async def strike(self, world: World, fault: Planned) -> bool:
        link = link_of(world, self.link)
        chosen = link.choose(Random(fault.parameters["seed"]), fault.parameters["share"])
        link.freeze(chosen)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            link.reset(chosen)
        return bool(chosen)
