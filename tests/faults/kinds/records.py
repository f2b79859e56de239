"""What Kafka may do to records, and operators too: repeat, reorder, and start again from the beginning."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from aiokafka.errors import KafkaError

from deploy.local.supervisor import STAGES
from shared.topics import TOPICS
from tests.faults.kinds.processes import room
from tests.faults.schedule import Drawn, Planned
from tests.faults.topics import groups_of, partitions_of, read, reader, set_back, write_again
from tests.faults.world import PARTITIONS, World

# On a compacted topic the last record of a key is what counts, and intake alone may write one.
REPEATABLE = [topic.name for topic in TOPICS if not topic.compacted]


def one_topic(random: Random, **parameters: int) -> Drawn:
    topic, partition = random.choice(REPEATABLE), random.randrange(PARTITIONS)
    told = {"topic": topic, "partition": partition, **parameters}
    return Drawn(seconds=0.0, rooms=frozenset({f"records {topic}"}), parameters=told)


@dataclass(frozen=True, slots=True)
class Repeated:
    """The last records of a partition come again, each five times."""

    name: str = "records.repeated"
    weight: int = 4
    settles: float = 0.0

    def draw(self, random: Random) -> Drawn:
        return one_topic(random, last=random.choice([1, 10, 50]), times=5)

    async def strike(self, world: World, fault: Planned) -> bool:
        return await written_again(world, fault, lambda records: records * fault.parameters["times"])


@dataclass(frozen=True, slots=True)
class Reordered:
    """The last records of a partition come again in another order."""

    name: str = "records.reordered"
    weight: int = 4
    settles: float = 0.0

    def draw(self, random: Random) -> Drawn:
        return one_topic(random, last=random.choice([10, 50, 200]), seed=random.randrange(2**32))

    async def strike(self, world: World, fault: Planned) -> bool:
        random = Random(fault.parameters["seed"])
        return await written_again(world, fault, lambda records: random.sample(records, len(records)))


async def written_again(world: World, fault: Planned, arranged: Callable[[list[Any]], list[Any]]) -> bool:
    """Whether there was anything: where the drawn partition is empty, the next that is not is taken."""
    partitions = partitions_of(world, fault.parameters["topic"])
    first = fault.parameters["partition"]
    try:
        async with reader(world) as consumer:
            for partition in partitions[first:] + partitions[:first]:
                if records := await read(consumer, [partition], last=fault.parameters["last"]):
                    await write_again(world, arranged(records))
                    return True
    except KafkaError:
        pass  # Kafka is away itself
    return False


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stage reads all its topics from the beginning."""

    name: str = "records.replayed"
    weight: int = 1
    settles: float = 8.0

    def draw(self, random: Random) -> Drawn:
        stage = random.choice(STAGES)
        return Drawn(seconds=5.0, rooms=frozenset({room(stage), "kafka"}), parameters={"stage": stage})

    async def strike(self, world: World, fault: Planned) -> bool:
        stage = fault.parameters["stage"]
        member = world.members[stage]
        await world.ends_when_asked(member, for_good=True)
        try:
            return await replayed(world, stage) > 0
        except (KafkaError, TimeoutError):
            return False
        finally:
            member.keep()
            await member.ready()


async def replayed(world: World, stage: str) -> int:
    """Sets a stage that rests back to the beginning; how many records it reads again."""
    return sum([await set_back(world, group) for group in await groups_of(world, stage)])
