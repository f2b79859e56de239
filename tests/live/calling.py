"""A provider that counts, and services that call it, for live tests."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.servers import EmbeddedServers
from services.catalog import app as catalog_app
from services.catalog.settings import CatalogSettings
from services.inference import app as inference_app
from services.inference.settings import InferenceSettings
from services.intake import app as intake_app
from services.intake.settings import IntakeSettings
from shared import identity
from shared.events import (
    ApiKey,
    Event,
    WorkspaceChanged,
)
from shared.events.envelope import event_type
from shared.kafka import create_topics, record_of
from shared.library.documents import Routes
from shared.service import Service, open_service
from shared.topics import TOPIC_OF, Topic
from tests.inference.prompts import NOW, WORKSPACE, routes
from tests.live.items import published
from tests.live.stage import PARTITIONS, eventually, new_database, records_of
from tests.servers.provider import Provider

TABLE = routes(
    "openai",
    model="m",
    price="0.04",
    currency="EUR",
    call={"provider": "acme", "timeout_seconds": 60},
    concurrency=8,
)
CLASSES = {
    "intake": (IntakeSettings, intake_app.build),
    "inference": (InferenceSettings, inference_app.build),
    "catalog": (CatalogSettings, catalog_app.build),
}


@dataclass(eq=False)
class Scene:
    """A provider that counts, a database and topics; services are opened as a test needs them."""

    provider: Provider
    environment: dict[str, str]
    prefix: str
    bootstrap: str
    operator: identity.NewKey = field(default_factory=identity.new_key)
    reader: identity.NewKey = field(default_factory=identity.new_key)

    @asynccontextmanager
    async def service(self, stage: str, roles: str = "consume,work,http") -> AsyncIterator[Service]:
        settings_class, build = CLASSES[stage]
        opened = await open_service(stage, settings_class(), roles=frozenset(roles.split(",")))
        await build(opened)
        await opened.start()
        try:
            yield opened
        finally:
            await opened.stop()

    async def begin(self, service: Service, made_by: Routes = TABLE) -> None:
        """Who may act, and where images are made."""
        keys = [(self.operator, "otto", "operator"), (self.reader, "rita", "reader")]
        people = [ApiKey(key_id=k.key_id, sha256=k.sha256, principal=who, roles=[role]) for k, who, role in keys]
        given: dict[str, Any] = {"cause_id": "1", "occurred_at": NOW, "workspace": WORKSPACE}
        await self.send(
            service,
            WorkspaceChanged.of(**given, name="w", keys=people, revision=1),
            published(made_by, workspace=WORKSPACE, at=NOW),
        )
        await eventually(lambda: service.database.fetchval("select count(*) = 2 from api_keys"))
        await eventually(lambda: service.database.fetchval("select count(*) from library_items"))

    async def send(self, service: Service, *events: Event) -> None:
        assert not await service.producer.deliver([record_of(event, prefix=self.prefix) for event in events])

    async def said(self, kind: type[Event]) -> list[Any]:
        """All events of a kind, once there is one."""

        async def all_of_them() -> list[Event]:
            records = await records_of(self.bootstrap, self.prefix + TOPIC_OF[kind].name)
            wanted = [record for record in records if dict(record.headers)["ce_type"].decode() == event_type(kind)]
            return [kind.model_validate_json(record.value) for record in wanted]

        found: list[Any] = await eventually(all_of_them)
        return found

    async def has_read(self, group: str, topic: Topic) -> bool:
        """Whether the group has committed all that the topic holds."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.prefix + group)
        await consumer.start()
        try:
            partitions = [TopicPartition(self.prefix + topic.name, number) for number in range(PARTITIONS)]
            ends = await consumer.end_offsets(partitions)
            return all([(await consumer.committed(place) or 0) >= end for place, end in ends.items()])
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def terminal(self, service: Service) -> AsyncIterator[Callable[..., Awaitable[str]]]:
        """`calotype uncertain …` of an operator, against the stage's own HTTP side."""
        server = uvicorn.Server(uvicorn.Config(service.app, port=0, log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve())

        async def port() -> int:
            return server.servers[0].sockets[0].getsockname()[1] if server.started else 0

        environment = {
            **os.environ,
            "CALOTYPE_URL": f"http://127.0.0.1:{await eventually(port)}",
            "CALOTYPE_KEY": self.operator.token,
        }

        async def says(*arguments: str, code: int = 0) -> str:
            words = ("-m", "deploy.cli", "uncertain", *arguments)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, env=environment, stdout=PIPE, stderr=STDOUT
            )
            told = (await process.communicate())[0].decode()
            assert process.returncode == code, told
            return told

        try:
            yield says
        finally:
            server.should_exit = True
            await serving

    def client(self, service: Service, key: identity.NewKey) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=service.app)
        headers = {"Authorization": f"Bearer {key.token}"}
        return httpx.AsyncClient(transport=transport, base_url="http://inference", headers=headers)


@asynccontextmanager
async def open_scene(servers: EmbeddedServers, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    prefix = f"u{uuid4().hex[:8]}."
    with Provider(folder / "ledgers") as provider:
        environment = {
            "DATABASE_URL": await new_database(servers),
            "CALOTYPE_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
            "CALOTYPE_TOPIC_PREFIX": prefix,
            "CALOTYPE_TOPIC_PARTITIONS": str(PARTITIONS),
            "CALOTYPE_TOPIC_REPLICATION": "1",
            "CALOTYPE_BLOBS_URL": (folder / "blobs").as_uri(),
            "CALOTYPE_SESSION_SECRET": "of the live tests, long enough",
            "CALOTYPE_PROOF_CHILDREN": "0",
            "CALOTYPE_LEASE_SECONDS": "1.5",
            "CALOTYPE_PROVIDERS": f'{{"acme": {{"url": "{provider.url}", "key": "sk-test"}}}}',
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        await create_topics(InferenceSettings())
        yield Scene(provider, environment, prefix, servers.kafka_bootstrap)
