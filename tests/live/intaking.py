"""Intake on real servers: a workspace with a library of its own, its HTTP side, and what it says on Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
from aiokafka import AIOKafkaConsumer

from deploy.local.servers import EmbeddedServers
from services.intake.app import build
from services.intake.settings import IntakeSettings
from shared.events import BY_TYPE, Event
from shared.kafka import Record, record_of
from shared.service import Service
from shared.topics import (
    CANCELS_REQUESTED,
    IMAGE_REQUESTS,
    LIBRARY_ITEMS,
    REQUESTS_ACCEPTED,
    REQUESTS_REJECTED,
    WORKSPACES,
)
from tests.live.serving import serving
from tests.live.stage import new_database
from tests.prompt.library import documents

BOOTSTRAP = {"Authorization": "Bearer of-the-live-tests"}
SAID = (REQUESTS_ACCEPTED, REQUESTS_REJECTED, CANCELS_REQUESTED, LIBRARY_ITEMS, WORKSPACES)
GOOD: dict[str, Any] = {
    "campaign": "winter",
    "asset_type": "tile",
    "skus": ["OIL-100"],
    "variables": {"setting": "linen", "headline": "Slow down"},
    "channels": ["web"],
}


class Intake:
    """A running intake, one workspace in it, and what it says."""

    def __init__(self, service: Service, client: httpx.AsyncClient, heard: AIOKafkaConsumer) -> None:
        self.service = service
        self.client = client
        self.workspace = UUID(int=0)
        self._heard = heard
        self._events: dict[UUID, Event] = {}  # by id: what is sent again is no second fact

    async def found(self, name: str = "Salt & Linden", **fields: Any) -> dict[str, Any]:
        """Makes a workspace and acts as its admin from here on."""
        made = await self.client.post("/v1/workspaces", json={"name": name, **fields}, headers=BOOTSTRAP)
        assert made.status_code == 201, made.text
        self.workspace = UUID(made.json()["workspace"])
        self.client.headers["Authorization"] = f"Bearer {made.json()['token']}"
        return dict(made.json())

    async def publish(self, *published: Any) -> httpx.Response:
        fields = [orjson.loads(document.canonical()) for document in published or documents()]
        return await self.client.post("/v1/library", json={"documents": fields})

    async def submit(self, key: str, /, **changes: Any) -> httpx.Response:
        return await self.client.post("/v1/requests", json=GOOD | changes, headers={"Idempotency-Key": key})

    async def send_file(self, text: str | bytes, *, media_type: str = "text/csv", **query: str) -> httpx.Response:
        data = text.encode() if isinstance(text, str) else text
        return await self.client.post(
            "/v1/batches", content=data, params=query, headers={"Content-Type": media_type}, timeout=60
        )

    async def expanded(self, sent: httpx.Response) -> dict[str, Any]:
        """The batch, once its file was read to the end."""
        assert sent.status_code == 202, sent.text

        async def state() -> dict[str, Any]:
            return dict((await self.client.get(sent.json()["status"])).json())

        await until(lambda: _is(state, lambda batch: batch["state"] not in {"expanding", "cancelling"}))
        return await state()

    async def ask(self, event_id: str, body: Any, **attributes: str | None) -> None:
        """One CloudEvent in binary mode."""
        told: dict[str, str | None] = {"specversion": "1.0", "id": event_id, "source": "/shop"}
        told |= {"type": "calotype.ImageRequested", "workspace": str(self.workspace)} | attributes
        headers = [(f"ce_{name}", value.encode()) for name, value in told.items() if value is not None]
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        await self.send(Record("", event_id.encode(), [*headers, ("content-type", b"application/json")], data))

    async def send(self, *records: Record) -> None:
        topic = self.service.settings.topic_prefix + IMAGE_REQUESTS.name
        placed = [Record(topic, record.key, record.headers, record.body) for record in records]
        assert not await self.service.producer.deliver(placed)

    async def tell(self, *events: Event) -> None:
        prefix = self.service.settings.topic_prefix
        assert not await self.service.producer.deliver([record_of(event, prefix=prefix) for event in events])

    async def said(self, kind: type[Event], count: int, *, within: float = 60) -> list[Any]:
        """The first so many events of a kind, in the order they were heard."""
        async with asyncio.timeout(within):
            while len(self._of(kind)) < count:
                self._hear(await self._heard.getone())
        return self._of(kind)[:count]

    async def all_said(self, kind: type[Event]) -> list[Any]:
        """Every event of a kind up to now, in the order they happened: partitions are read in any order."""
        await until(self._nothing_unsent)
        for partition, end in (await self._heard.end_offsets(self._heard.assignment())).items():
            while await self._heard.position(partition) < end:
                self._hear(await self._heard.getone())
        return sorted(self._of(kind), key=lambda event: event.occurred_at)

    async def _nothing_unsent(self) -> bool:
        return not await self.service.database.fetchval("select count(*) from outbox")

    def _hear(self, record: Any) -> None:
        event = BY_TYPE[dict(record.headers)["ce_type"].decode()].model_validate_json(record.value)
        event.__dict__["traceparent"] = dict(record.headers).get("traceparent", b"").decode() or None
        self._events.setdefault(event.event_id, event)

    def _of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self._events.values() if isinstance(event, kind)]


class Line:
    """A line to a server that can be cut and mended: what is behind it is away without being stopped for others."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._open: set[asyncio.StreamWriter] = set()
        self._is_cut = False

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def cut(self) -> None:
        self._is_cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._is_cut = False

    async def stop(self) -> None:
        self.cut()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        there_reader, there = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, there}
        await asyncio.gather(self._pass_on(reader, there), self._pass_on(there_reader, writer))
        self._open -= {writer, there}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


async def _is(state: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> bool:
    return wanted(await state())


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 60, every: float = 0.02) -> None:
    """Asks again until it holds: what runs beside the test can only be asked for."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, "still not so"
        await asyncio.sleep(every)


@asynccontextmanager
async def intake_on(servers: EmbeddedServers, folder: Path, **changes: Any) -> AsyncIterator[Intake]:
    fields: dict[str, Any] = {
        "DATABASE_URL": await new_database(servers),
        "kafka_bootstrap": servers.kafka_bootstrap,
        "topic_prefix": f"i{uuid4().hex[:8]}.",
        "topic_partitions": 2,
        "topic_replication": 1,
        "blobs_url": f"file://{folder}/blobs",
        "session_secret": "of the live tests, long enough",
        "bootstrap_token": "of-the-live-tests",
    }
    settings = IntakeSettings(**fields | changes)
    roles, topics = ("consume", "work", "http"), [topic.name for topic in SAID]
    async with serving("intake", settings, build, roles=roles, topics=topics) as (service, heard):
        transport = httpx.ASGITransport(app=service.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            yield Intake(service, client, heard)
