"""A catalog on real servers: a database and topics of its own, facts to send, people with keys, HTTP on a port."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.servers import EmbeddedServers
from services.catalog.app import build
from services.catalog.feed import Feed
from services.catalog.review.desk import Desk
from services.catalog.routes.frame import Reading
from services.catalog.settings import CatalogSettings
from services.catalog.web.data import CatalogPages
from shared.events import BY_TYPE, ApiKey, Event, WorkspaceChanged
from shared.identity import NewKey, new_key
from shared.kafka import Record, create_topics, record_of
from shared.service import Service, open_service
from tests.catalog.facts import WORKSPACE
from tests.live.stage import eventually, new_database

PARTITIONS = 2
ROLES = {"ada": ["reviewer"], "mara": ["reviewer"], "rita": ["reader"], "otto": ["operator"]}


@dataclass(eq=False)
class Catalog:
    """A running catalog, with a client for each person in `ROLES`."""

    service: Service
    url: str
    keys: dict[str, NewKey]
    clients: dict[str, httpx.AsyncClient]

    @property
    def ada(self) -> httpx.AsyncClient:
        return self.clients["ada"]

    @property
    def pages(self) -> CatalogPages:
        """What the pages are drawn from."""
        service = self.service
        feed = Feed(service.database)
        reading = Reading(service.database, service.gate, service.settings.public_url)
        return CatalogPages(reading, Desk(service.facts, feed, public_url=self.url), feed, service.blobs)

    async def send(self, *events: Event) -> None:
        prefix = self.service.settings.topic_prefix
        await self.deliver([record_of(event, prefix=prefix) for event in events])

    async def deliver(self, records: Sequence[Record]) -> None:
        assert await self.service.producer.deliver(records) == {}

    async def hear(self, *events: Event) -> None:
        """Sends the facts and waits until every one of them is in the ledger."""
        await self.send(*events)
        await self.heard(*events)

    async def heard(self, *events: Event) -> None:
        missing = {event.event_id: event for event in events}

        async def all_there() -> bool:
            for row in await self.rows("select event_id from ledger where event_id = any($1)", list(missing)):
                missing.pop(row["event_id"])
            return not missing

        try:
            await eventually(all_there)
        except AssertionError as error:
            raise AssertionError(f"not in the ledger: {list(missing.values())}") from error

    async def sql(self, query: str, *values: Any) -> Any:
        return await self.service.database.fetchval(query, *values)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.service.database.fetch(query, *values)]

    async def assets(self, **filters: Any) -> list[dict[str, Any]]:
        answer = await self.ada.get("/v1/assets", params=filters)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["assets"]
        return found

    async def said(self, topic: str) -> list[Event]:
        """Every event of one topic, from its beginning to its end of now."""
        name = self.service.settings.topic_prefix + topic
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.service.settings.kafka_bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(name, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[Event] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += [BY_TYPE[dict(r.headers)["ce_type"].decode()].model_validate_json(r.value) for r in batch]
            return found
        finally:
            await consumer.stop()


def workspace_changed(
    keys: dict[str, NewKey], *, workspace: UUID = WORKSPACE, undo_seconds: float = 0.0, revision: int = 1
) -> WorkspaceChanged:
    return WorkspaceChanged.of(
        cause_id=f"revision {revision}",
        occurred_at=datetime.now(UTC),
        workspace=workspace,
        name="Salt & Linden",
        undo_seconds=undo_seconds,
        revision=revision,
        keys=[
            ApiKey(key_id=key.key_id, sha256=key.sha256, principal=name.partition("/")[0], roles=ROLES[name])
            for name, key in keys.items()
        ],
    )


def verdict(asset: dict[str, Any], decision: str = "approve", **more: Any) -> dict[str, Any]:
    """The decision of a person who saw this asset just now."""
    return {
        "asset_version": asset["asset_version"],
        "review_version": asset["review_version"],
        "decision": decision,
    } | more


@asynccontextmanager
async def catalog(
    servers: EmbeddedServers, folder: Path, *, undo_seconds: float = 0.0, database: str | None = None
) -> AsyncIterator[Catalog]:
    settings = CatalogSettings(
        DATABASE_URL=database or await new_database(servers),
        kafka_bootstrap=servers.kafka_bootstrap,
        topic_prefix=f"t{uuid4().hex[:8]}.",
        topic_partitions=PARTITIONS,
        topic_replication=1,
        blobs_url=(folder / "blobs").as_uri(),
        session_secret="of the live tests",
        public_url="http://calotype.test",
        trace_sample=1.0,
    )
    await create_topics(settings)
    service = await open_service("catalog", settings, roles=frozenset({"consume", "work", "http"}))
    await build(service)
    await service.start()
    server = uvicorn.Server(uvicorn.Config(service.app, port=0, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve())
    keys = {name: new_key() for name in ROLES}

    async def port() -> int:
        return server.servers[0].sockets[0].getsockname()[1] if server.started else 0

    url = f"http://127.0.0.1:{await eventually(port)}"
    clients = {
        name: httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key.token}"})
        for name, key in keys.items()
    }
    running = Catalog(service, url, keys, clients)
    try:
        changed = workspace_changed(keys, undo_seconds=undo_seconds)
        await running.hear(changed)

        async def known() -> bool:
            return bool(await running.sql("select count(*) from api_keys") == len(keys))

        await eventually(known)
        yield running
    finally:
        for client in clients.values():
            await client.aclose()
        await service.stop()
        server.should_exit = True
        await serving
