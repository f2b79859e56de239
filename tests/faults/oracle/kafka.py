"""Every record of every topic of the deployment, from offset 0 to the ends of now."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.faults.oracle.world import World

AT_ONCE = 5000


async def records(world: World) -> AsyncIterator[Any]:
    """In no order between partitions."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=world.kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=64 * 1024 * 1024,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        topics = [name for name in await consumer.topics() if name.startswith(world.prefix)]
        await asyncio.gather(*map(consumer._client.add_topic, topics))  # else their partitions are not known
        partitions = [
            TopicPartition(name, number) for name in topics for number in consumer.partitions_for_topic(name) or ()
        ]
        if unknown := set(topics) - {partition.topic for partition in partitions}:
            raise RuntimeError(f"Kafka does not say which partitions these have: {sorted(unknown)}")
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = {partition: end for partition, end in (await consumer.end_offsets(partitions)).items() if end}
        while ends:
            for batch in (await consumer.getmany(timeout_ms=500, max_records=AT_ONCE)).values():
                for record in batch:
                    yield record
            for partition in [p for p, end in ends.items() if await consumer.position(p) >= end]:
                del ends[partition]
    finally:
        await consumer.stop()
