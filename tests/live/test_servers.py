"""The embedded servers: what they keep through kills, and who they run as."""

import stat
from uuid import uuid4

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.data import read_json
from deploy.local.servers import EmbeddedServers


async def test_what_is_produced_is_consumed(servers: EmbeddedServers) -> None:
    topic = f"spoken-{uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers.kafka_bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, b"salt")
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=servers.kafka_bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        assert (await consumer.getone()).value == b"salt"


async def test_the_database_has_the_extensions_we_use(servers: EmbeddedServers) -> None:
    connection = await asyncpg.connect(servers.admin_database_url)
    names = await connection.fetch("select name from pg_available_extensions")
    await connection.close()
    assert {"vector", "pg_trgm", "btree_gin"} <= {row["name"] for row in names}


async def test_a_wrong_password_is_refused_even_on_this_machine(servers: EmbeddedServers) -> None:
    address = servers.admin_database_url.rpartition("@")[2]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://postgres:guess@{address}")


def test_neither_server_runs_as_root_and_no_secret_is_readable_by_others(servers: EmbeddedServers) -> None:
    for name in ("kafka", "postgres"):
        process = psutil.Process(read_json(servers.data.run / f"{name}.json")["pid"])
        assert process.uids().real != 0
    assert stat.S_IMODE((servers.data.root / "secrets.json").stat().st_mode) == 0o600
