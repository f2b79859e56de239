"""Consumer groups as the broker knows them: who reads what, and what is not finished."""

from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from deploy.local.positions import offsets_of
from deploy.local.tasks import together


async def readers(bootstrap: str, prefix: str) -> dict[str, set[TopicPartition]]:
    """Group, without the prefix → the partitions that its members have been given."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        return await _readers(admin, prefix)
    finally:
        await admin.close()


@dataclass(frozen=True, slots=True)
class Group:
    """How far a group has come, in records of all its partitions; `behind` None: it has no member."""

    finished: int
    behind: int | None


async def groups(bootstrap: str, prefix: str) -> dict[str, Group]:
    """By name, without the prefix.

    Where groups stand is asked before where topics end: what is told in between counts, and never the other way round.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await consumer.start()
        reading = await _readers(admin, prefix)
        committed = await together([admin.list_consumer_group_offsets(prefix + group) for group in reading])
        ends = await offsets_of(consumer.end_offsets, set[TopicPartition]().union(*reading.values()))
    finally:
        await admin.close()
        await consumer.stop()
    found = {}
    for (group, partitions), offsets in zip(reading.items(), committed, strict=True):
        done = {each: max(told.offset, 0) for each, told in offsets.items()}
        behind = sum(ends[each] - done.get(each, 0) for each in partitions) if partitions else None
        found[group] = Group(finished=sum(done.values()), behind=behind)
    return found


async def _readers(admin: AIOKafkaAdminClient, prefix: str) -> dict[str, set[TopicPartition]]:
    names = [group for group, _ in await admin.list_consumer_groups() if group.startswith(prefix)]
    # One by one: aiokafka 0.14 reads an answer about several groups wrongly.
    answers = await together([admin.describe_consumer_groups([name]) for name in names])
    return {
        name.removeprefix(prefix): {
            partition
            for *_, assignment in members
            if assignment
            for partition in ConsumerProtocolMemberAssignment.decode(assignment).partitions()
        }
        for (answer,) in answers
        for _, name, _, _, _, members in answer.groups
    }
