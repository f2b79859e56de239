"""Kafka from outside: reading a topic's tail, writing records again, and setting groups back, past the link."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.faults.world import PARTITIONS, World


@asynccontextmanager
async def reader(world: World, *, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=world.kafka, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def admin(world: World) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def read(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], *, last: int | None = None
) -> list[Any]:
    """Every record up to the ends of now, or only the last few of each partition."""
    consumer.assign(list(partitions))
    ends = await consumer.end_offsets(partitions)
    if last is not None:
        beginnings = await consumer.beginning_offsets(partitions)
        for partition, end in ends.items():
            consumer.seek(partition, max(beginnings[partition], end - last))
    else:
        await consumer.seek_to_beginning(*partitions)
    found: list[Any] = []
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            found.extend(batch)
    return found


def partitions_of(world: World, topic: str) -> list[TopicPartition]:
    return [TopicPartition(world.prefix + topic, number) for number in range(PARTITIONS)]


async def write_again(world: World, records: Sequence[Any]) -> None:
    """The same bytes, key, headers and partition."""
    producer = AIOKafkaProducer(bootstrap_servers=world.kafka, linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(
                record.topic, record.value, key=record.key, headers=list(record.headers), partition=record.partition
            )
            for record in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def groups_of(world: World, stage: str | None = None) -> list[str]:
    """Consumer groups of a stage, with the prefix; of all stages where none is named."""
    async with admin(world) as client:
        groups = [group for group, _ in await client.list_consumer_groups() if group.startswith(world.prefix)]
    names = [group.removeprefix(world.prefix) for group in groups]
    return [world.prefix + name for name in names if stage is None or name == stage or name.startswith(f"{stage}-")]


async def set_back(world: World, group: str, *, within: float = 60) -> int:
    """The group's next read begins at the beginning of every topic it reads; returns how many records that are.

    The group must have no member; one that was killed counts until its session runs out.
    """
    async with admin(world) as client:
        committed = await client.list_consumer_group_offsets(group)
    if not committed:
        return 0
    async with reader(world, group=group) as consumer:
        consumer.assign(list(committed))
        beginnings = await consumer.beginning_offsets(list(committed))
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(KafkaError):
                    await consumer.commit(beginnings)
                    break
                await asyncio.sleep(0.5)
    return sum(max(0, held.offset - beginnings[partition]) for partition, held in committed.items())
