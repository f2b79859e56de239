"""Approved assets, targets and a target in memory, as the publisher's tests need them."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from services.publisher.domain import Delivered, Delivery, delivery_of
from services.publisher.targets import Uncertain
from shared import ids
from shared.errors import Unavailable
from shared.events import (
    Approver,
    AssetApproved,
    Brief,
    Confidentiality,
    Pin,
    PublicFile,
    Receipt,
    SourceType,
    Verified,
)
from shared.library.documents import TargetDocument

NAMES = UUID("00000000-0000-4000-8000-00000000a11e")
WORKSPACE = uuid5(NAMES, "workspace")
APPROVED_AT = datetime(2026, 11, 20, 14, 2, tzinfo=UTC)
FILES = {"original": b"the original's bytes", "web-wide": b"a wide derivative", "email-hero": b"a derivative for mail"}


def approved(name: str = "a", *, files: dict[str, bytes] | None = None, **changed: Any) -> AssetApproved:
    """An approval of the asset `name`: the same name gives the same event."""
    contents = FILES if files is None else files
    job_id = uuid5(NAMES, f"job {name}")
    asset_id = ids.asset_id(job_id, 1)
    fields: dict[str, Any] = {
        "cause_id": uuid5(NAMES, f"decision {name}"),
        "occurred_at": APPROVED_AT,
        "workspace": WORKSPACE,
        "client_reference": "PO-7",
        "request_id": uuid5(NAMES, f"request {name}"),
        "job_id": job_id,
        "asset_id": asset_id,
        "asset_version_id": ids.asset_version_id(asset_id, "0" * 64, []),
        "confidentiality": Confidentiality.PUBLIC,
        "files": [public_file(name, rendition, data) for rendition, data in contents.items()],
        "alt_text": "An amber bottle on a bone wall",
        "caption": "Slow evenings",
        "brief": Brief(
            campaign="winter-home", asset_type="product-tile", template="product-tile@3", brand="salt-and-linden@1"
        ),
        "approvers": [Approver(principal="ada", at=APPROVED_AT)],
        "rubric": Pin(name="tiles", version=1, digest="1" * 64),
        "source_type": SourceType.TRAINED,
    }
    return AssetApproved.of(**(fields | changed))


def newer(asset: AssetApproved, *, hours: float = 1) -> AssetApproved:
    """The approval of another version of the same asset, so many hours later."""
    fields = asset.model_dump(exclude={"event_id", "cause_id", "occurred_at", "asset_version_id", "supersedes"})
    return AssetApproved.of(
        **fields,
        cause_id=uuid5(NAMES, f"decision {asset.event_id} {hours}"),
        occurred_at=asset.occurred_at + timedelta(hours=hours),
        asset_version_id=ids.asset_version_id(asset.asset_id, "0" * 64, [], asked=f"{hours}"),
        supersedes=asset.asset_version_id,
    )


def public_file(name: str, rendition: str, data: bytes) -> PublicFile:
    sha256 = hashlib.sha256(data).hexdigest()
    return PublicFile(
        name=f"winter-home-{name}-{rendition}.png",
        media_type="image/png",
        bytes=len(data),
        sha256=sha256,
        url=f"https://images.example/v1/files/{sha256}",
        rendition=rendition,
    )


def target_document(name: str = "site", **changed: Any) -> TargetDocument:
    fields: dict[str, Any] = {"name": name, "version": 1, "owner": "web team", "type": "folder"}
    return TargetDocument(**(fields | changed))


def delivery(name: str = "a", *, target: str = "site", **changed: Any) -> Delivery:
    return delivery_of(approved(name, **changed), target=target)


def reader(files: dict[str, bytes] | None = None) -> Callable[[PublicFile], Awaitable[bytes]]:
    """Fetches a file's bytes as the object store would."""
    contents = {hashlib.sha256(data).hexdigest(): data for data in (FILES if files is None else files).values()}

    async def read(file: PublicFile) -> bytes:
        return contents[file.sha256]

    return read


@dataclass
class MemoryTarget:
    """A target in this process. `down` refuses all; `drops` and `mumbles` time out, the set being lost or taken."""

    sets: dict[UUID, dict[str, bytes]] = field(default_factory=dict)
    down: bool = False
    drops: bool = False
    mumbles: bool = False
    keyed: bool = True
    deliveries: int = 0

    async def look_up(self, delivery: Delivery) -> bool:
        self._answer()
        return delivery.publication_id in self.sets

    async def deliver(self, delivery: Delivery, *, read: Callable[[PublicFile], Awaitable[bytes]]) -> None:
        self._answer()
        taken = {file.name: await read(file) for file in delivery.asset.files}
        if self.drops:
            raise Uncertain("no answer within 10 s")
        if delivery.publication_id not in self.sets:
            self.deliveries += 1
        self.sets.setdefault(delivery.publication_id, taken)
        if self.mumbles:
            raise Uncertain("no answer within 10 s")

    async def read_back(self, delivery: Delivery) -> Delivered:
        self._answer()
        location = f"memory:{delivery.publication_id}"
        receipts = [
            Receipt(location=f"{location}/{name}", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), name=name)
            for name, data in self.sets[delivery.publication_id].items()
        ]
        return Delivered(location=location, receipts=receipts)

    async def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("site", "connection refused")


@dataclass
class PostBox:
    """Neither key nor look-up: whatever is thrown in is in, as often as it is thrown."""

    keyed: bool = False
    taken: list[UUID] = field(default_factory=list)
    down: bool = False
    drops: bool = False
    mumbles: bool = False
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.waits.set()

    async def deliver(self, delivery: Delivery, *, read: Callable[[PublicFile], Awaitable[bytes]]) -> Delivered:
        if self.down:
            raise Unavailable("post box", "connection refused")
        await self.waits.wait()
        if self.drops:
            raise Uncertain("no answer within 10 s")
        self.taken.append(delivery.publication_id)
        if self.mumbles:
            raise Uncertain("no answer within 10 s")
        receipt = Receipt(location="box:", sha256="0" * 64, bytes=1, name="set")
        return Delivered(location="box:", receipts=[receipt], verified=Verified.ACKNOWLEDGED)

    async def close(self) -> None:
        pass
