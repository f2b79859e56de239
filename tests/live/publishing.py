"""A publisher on real servers: a database and topics of its own, approvals to send, publications to hear."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from aiokafka import AIOKafkaConsumer

from deploy.local.servers import EmbeddedServers
from services.publisher.app import build
from services.publisher.settings import PublisherSettings
from shared.blobs import Blobs, blob_key, open_blobs
from shared.events import (
    BY_TYPE,
    ApiKey,
    AssetApproved,
    AssetPublished,
    AssetSuperseded,
    Event,
    LibraryItemChanged,
    PublicationFailed,
    WorkspaceChanged,
)
from shared.identity import NewKey, new_key
from shared.kafka import record_of
from shared.library.documents import TargetDocument
from shared.service import Service
from shared.topics import ASSETS_PUBLISHED
from tests.live.items import published
from tests.live.serving import serving
from tests.live.stage import new_database
from tests.publisher.builders import APPROVED_AT, FILES, WORKSPACE

Ended = AssetPublished | PublicationFailed | AssetSuperseded


def settings_at(servers: EmbeddedServers, url: str, folder: Path, **changed: Any) -> PublisherSettings:
    fields: dict[str, Any] = {
        "DATABASE_URL": url,
        "kafka_bootstrap": servers.kafka_bootstrap,
        "topic_prefix": f"{url.rpartition('/')[2]}.",
        "topic_partitions": 2,
        "topic_replication": 1,
        "blobs_url": (folder / "blobs").as_uri(),
        "publish_folder": folder / "published",
        "session_secret": "of the live tests",
    }
    return PublisherSettings(**(fields | changed))


def blobs_at(settings: PublisherSettings) -> Blobs:
    return open_blobs(settings.blobs_url, public_url=settings.public_url, secret="of the live tests")


async def hold(blobs: Blobs, asset: AssetApproved, files: dict[str, bytes] | None = None) -> AssetApproved:
    """Puts an asset's bytes where the stages before would have put them."""
    for data in (FILES if files is None else files).values():
        key = blob_key(asset.workspace, asset.asset_id, hashlib.sha256(data).hexdigest(), "png")
        await blobs.put(key, data, media_type="image/png")
    return asset


def target_changed(
    document: TargetDocument, *, workspace: UUID = WORKSPACE, state: str = "published", at: Any = APPROVED_AT
) -> LibraryItemChanged:
    return published(document, workspace=workspace, at=at, state=state)


def workspace_changed(workspace: UUID, keys: list[tuple[UUID, NewKey, tuple[str, ...]]]) -> WorkspaceChanged:
    return WorkspaceChanged.of(
        cause_id=f"key {len(keys)}",
        occurred_at=APPROVED_AT,
        workspace=workspace,
        name="Salt & Linden",
        revision=len(keys),
        keys=[
            ApiKey(key_id=key.key_id, sha256=key.sha256, principal="ada", roles=list(roles)) for _, key, roles in keys
        ],
    )


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Asks again until it holds: what another process does can only be asked for."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


class Publishing:
    """A running publisher, and what it says."""

    def __init__(self, service: Service, heard: AIOKafkaConsumer, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self._heard = heard
        self._keys: list[tuple[UUID, NewKey, tuple[str, ...]]] = []

    async def send(self, *events: Event) -> None:
        prefix = self.service.settings.topic_prefix
        assert not await self.service.producer.deliver([record_of(event, prefix=prefix) for event in events])

    async def ended(self, count: int) -> list[Ended]:
        """The next so many ends of publications."""
        found: list[Ended] = []
        async with asyncio.timeout(60):
            while len(found) < count:
                found.append(read_ended(await self._heard.getone()))
        return found

    @asynccontextmanager
    async def member(
        self, workspace: UUID = WORKSPACE, *, roles: tuple[str, ...] = ("reader",)
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody of the workspace, once the publisher has heard of their key."""
        key = new_key()
        self._keys.append((workspace, key, roles))
        await self.send(workspace_changed(workspace, [held for held in self._keys if held[0] == workspace]))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.service.app),
            base_url="http://publisher",
            headers={"authorization": f"Bearer {key.token}"},
        ) as client:

            async def known() -> bool:
                return (await client.get("/v1/targets")).status_code == 200

            await until(known)
            yield client


def read_ended(record: Any) -> Ended:
    event = BY_TYPE[dict(record.headers)["ce_type"].decode()].model_validate_json(record.value)
    assert isinstance(event, AssetPublished | PublicationFailed | AssetSuperseded)
    event.__dict__["traceparent"] = dict(record.headers).get("traceparent", b"").decode() or None
    return event


@asynccontextmanager
async def publisher(servers: EmbeddedServers, folder: Path, **changed: Any) -> AsyncIterator[Publishing]:
    settings = settings_at(servers, await new_database(servers), folder, **changed)
    roles, topics = ("consume", "work", "http"), (ASSETS_PUBLISHED.name,)
    async with serving("publisher", settings, build, roles=roles, topics=topics) as (service, heard):
        yield Publishing(service, heard, settings.publish_folder)
