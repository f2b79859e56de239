"""A stage of its own for one test: database, topics under a prefix, producer, outbox and bus, all real."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.servers import EmbeddedServers
from shared.bus import Bus
from shared.events import Event
from shared.kafka import Producer, connection_options, create_topics, record_of
from shared.outbox import Outbox
from shared.postgres import Pool, migrate_all, open_pool
from shared.settings import KafkaSettings
from shared.topics import Topic

STAGE = "postprocess"
PARTITIONS = 2
TEMPLATE = "migrated"
# Who died is to be missed within seconds.
KAFKA_PROPERTIES = {"group.min.session.timeout.ms": "1000"}


@dataclass(eq=False)
class TestStage:
    """Everything open; `start_bus` after wiring."""

    settings: KafkaSettings
    database_url: str
    pool: Pool
    producer: Producer
    outbox: Outbox
    bus: Bus
    started: list[Any] = field(default_factory=list)

    __test__ = False

    @property
    def prefix(self) -> str:
        return self.settings.topic_prefix

    async def start_bus(self) -> None:
        await self.bus.start()
        self.started.append(self.bus)

    async def publish(self, *events: Event) -> None:
        assert await self.producer.deliver([record_of(event, prefix=self.prefix) for event in events]) == {}

    async def records(self, topic: str) -> list[Any]:
        """Every record of a topic, from the beginning to its end of now."""
        return await records_of(self.settings.kafka_bootstrap, self.prefix + topic)

    async def committed(self, topic: Topic, group: str) -> int:
        """Sum of the group's committed offsets on the topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, group_id=self.prefix + group)
        await consumer.start()
        try:
            name = self.prefix + topic.name
            return sum([await consumer.committed(TopicPartition(name, number)) or 0 for number in range(PARTITIONS)])
        finally:
            await consumer.stop()


async def records_of(bootstrap: str, *topics: str) -> list[Any]:
    """Every record of topics by their full names, from the beginnings to their ends of now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        counts = [(topic, 1 if topic.endswith(".dlq") else PARTITIONS) for topic in topics]
        partitions = [TopicPartition(topic, number) for topic, count in counts for number in range(count)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Any] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(batch)
        return found
    finally:
        await consumer.stop()


async def make_template(servers: EmbeddedServers) -> None:
    """Migrates once what every test's database is a copy of: a copy takes a twentieth of the time."""
    connection = await asyncpg.connect(servers.admin_database_url)
    try:
        # Nobody cuts the power of shared servers, and a kill needs no flushed disk.
        await connection.execute("alter system set fsync = off")
        await connection.execute("select pg_reload_conf()")
        await connection.execute(f"create database {TEMPLATE}")
    finally:
        await connection.close()
    await migrate_all(_address(servers, TEMPLATE))


async def new_database(servers: EmbeddedServers) -> str:
    """A migrated database of its own; returns its administrator's address."""
    name = f"test_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(servers.admin_database_url)
    try:
        await connection.execute(f"create database {name} template {TEMPLATE}")
    finally:
        await connection.close()
    return _address(servers, name)


def _address(servers: EmbeddedServers, database: str) -> str:
    return f"{servers.admin_database_url.rpartition('/')[0]}/{database}"


@asynccontextmanager
async def open_stage(servers: EmbeddedServers, *, stage: str = STAGE) -> AsyncIterator[TestStage]:
    settings = KafkaSettings(
        kafka_bootstrap=servers.kafka_bootstrap,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        topic_partitions=PARTITIONS,
        topic_replication=1,
    )
    url, _ = await asyncio.gather(new_database(servers), create_topics(settings))
    pool = await open_pool(url, stage=stage)
    producer = Producer(settings)
    outbox = Outbox(pool, producer, prefix=settings.topic_prefix)
    bus = Bus(producer, options=connection_options(settings), prefix=settings.topic_prefix, outbox=outbox)
    await outbox.start()
    running = TestStage(settings, url, pool, producer, outbox, bus)
    try:
        yield running
    finally:
        for part in reversed(running.started):
            await part.stop()
        await outbox.stop()
        await producer.stop()
        await pool.close()


async def eventually(condition: Callable[[], Awaitable[Any]], *, within: float = 60.0) -> Any:
    """The first truthy answer; fails with the last one."""
    deadline = time.monotonic() + within
    while True:
        answer = await condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {within:.0f} s"
        await asyncio.sleep(0.05)
