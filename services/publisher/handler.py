"""The Kafka edge: approvals become publications and targets become known.

Whichever comes first, the same publications follow.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel

from services.publisher.domain import Delivery, Refusal, delivery_of, failed, refusal_of
from services.publisher.outages import end_outages, take_at_once
from services.publisher.sql import queries
from services.publisher.superseding import supersede_delivered
from services.publisher.targets import patience_of
from shared.bus import Bus, Transaction
from shared.errors import Rejected
from shared.events import AssetApproved, LibraryItemChanged, PublicationState
from shared.leases import NewWork, Worker, enqueue
from shared.library.documents import TargetDocument
from shared.topics import ASSETS_APPROVED, LIBRARY_ITEMS

KIND = "publish"
HOLDS = frozenset({"published", "retired"})  # a draft changes nothing for anybody but its author


class Order(BaseModel):
    """The payload of one piece of work: all that is delivered, where to, and nothing that could have changed since."""

    target: str
    asset: AssetApproved


def payload_of(asset: AssetApproved, *, target: str) -> str:
    return Order(target=target, asset=asset).model_dump_json(exclude_none=True)


Planned = tuple[Delivery, Refusal | None]


def wire(bus: Bus, *, worker: Worker) -> None:
    async def approve(transaction: Transaction, assets: Sequence[AssetApproved]) -> None:
        await apply_approvals(transaction, assets, worker=worker)

    async def change(transaction: Transaction, changes: Sequence[LibraryItemChanged]) -> None:
        await apply_targets(transaction, changes, worker=worker)

    @bus.project(ASSETS_APPROVED, group="publisher", apply=approve)
    def on_asset_approved(event: AssetApproved) -> AssetApproved:
        return event

    @bus.project(LIBRARY_ITEMS, group="publisher-targets", apply=change)
    def on_library_item_changed(event: LibraryItemChanged) -> LibraryItemChanged | None:
        if event.kind != "target" or event.state not in HOLDS:
            return None
        TargetDocument.model_validate(
            event.document
        )  # one that nobody can read is a dead letter now, not a failure each
        return event


async def apply_approvals(transaction: Transaction, assets: Sequence[AssetApproved], *, worker: Worker) -> None:
    connection = transaction.connection
    await queries.guard_assets(connection)
    rows = queries.add_assets(
        connection,
        versions=[asset.asset_version_id for asset in assets],
        workspaces=[asset.workspace for asset in assets],
        approved=[asset.occurred_at for asset in assets],
        events=[asset.body().decode() for asset in assets],
        traceparents=[asset.traceparent for asset in assets],
    )
    new = {row["asset_version_id"] async for row in rows}
    fresh = {asset.asset_version_id: asset for asset in assets if asset.asset_version_id in new}.values()
    if not fresh:
        return
    await supersede_delivered(transaction, list(fresh))
    targets = await _targets(connection, {asset.workspace for asset in fresh})
    planned = [
        (delivery_of(asset, target=document.name), refusal_of(asset, target=document))
        for asset in fresh
        for document, since in targets[asset.workspace]
        if asset.occurred_at >= since
    ]
    await _publish(transaction, planned, worker=worker)


async def apply_targets(transaction: Transaction, changes: Sequence[LibraryItemChanged], *, worker: Worker) -> None:
    connection = transaction.connection
    await queries.guard_targets(connection)
    workspaces, names = [change.workspace for change in changes], [change.name for change in changes]
    changed = [change.occurred_at for change in changes]
    await queries.hear_targets(connection, workspaces=workspaces, names=names, since=changed)
    await queries.change_targets(
        connection,
        workspaces=workspaces,
        names=names,
        versions=[change.version for change in changes],
        states=[change.state for change in changes],
        documents=[orjson.dumps(change.document).decode() for change in changes],
        patiences=[_patience(change) for change in changes],
        changed=changed,
    )
    await end_outages(transaction, set(zip(workspaces, names, strict=True)))  # what was corrected is tried at once
    planned = []
    async for row in queries.owed(connection, workspaces=list(set(workspaces))):
        asset = AssetApproved.model_validate_json(row["event"])
        asset.__dict__["traceparent"] = row["traceparent"]  # travels beside the body, never in it
        document = TargetDocument.model_validate_json(row["document"])
        planned.append((delivery_of(asset, target=document.name), refusal_of(asset, target=document)))
    await _publish(transaction, planned, worker=worker)


def _patience(change: LibraryItemChanged) -> timedelta | None:
    try:
        return patience_of(TargetDocument.model_validate(change.document))
    except Rejected:
        return None  # nothing can be sent by it; each publication says so


async def _targets(connection: Any, workspaces: Iterable[UUID]) -> dict[UUID, list[tuple[TargetDocument, Any]]]:
    found: dict[UUID, list[tuple[TargetDocument, Any]]] = defaultdict(list)
    async for row in queries.targets_of(connection, workspaces=list(workspaces)):
        found[row["workspace"]].append((TargetDocument.model_validate_json(row["document"]), row["since"]))
    return found


async def _publish(transaction: Transaction, planned: Sequence[Planned], *, worker: Worker) -> None:
    """Writes the publications that are new; refused ones end here, the rest are the worker's."""
    if not planned:
        return
    rows = queries.add_publications(
        transaction.connection,
        ids=[delivery.publication_id for delivery, _ in planned],
        workspaces=[delivery.asset.workspace for delivery, _ in planned],
        requests=[delivery.asset.request_id for delivery, _ in planned],
        jobs=[delivery.asset.job_id for delivery, _ in planned],
        assets=[delivery.asset.asset_id for delivery, _ in planned],
        versions=[delivery.asset.asset_version_id for delivery, _ in planned],
        targets=[delivery.target for delivery, _ in planned],
        confidentialities=[delivery.asset.confidentiality for delivery, _ in planned],
        states=[PublicationState.FAILED if refusal else PublicationState.PENDING for _, refusal in planned],
        codes=[refusal and refusal.code for _, refusal in planned],
        details=[refusal and refusal.detail for _, refusal in planned],
        remedies=[refusal and refusal.remedy for _, refusal in planned],
    )
    new = {row["publication_id"] async for row in rows}
    ours = [(delivery, refusal) for delivery, refusal in planned if delivery.publication_id in new]
    refused = [(delivery, refusal) for delivery, refusal in ours if refusal is not None]
    if refused:
        now = await queries.now(transaction.connection)
        transaction.emit(*(failed(delivery, refusal, now=now) for delivery, refusal in refused))
    await _hand_over(transaction, [_work(delivery) for delivery, refusal in ours if refusal is None], worker=worker)


async def _hand_over(transaction: Transaction, work: Sequence[NewWork], *, worker: Worker) -> None:
    mine = await take_at_once(transaction.connection, work, worker=worker)
    taken = {piece.work_id for piece in mine}
    others = [piece for piece in work if piece.work_id not in taken]
    held = await enqueue(transaction.connection, mine, holder=worker.holder, lease=worker.lease_seconds)
    await enqueue(transaction.connection, others)
    if held:
        transaction.after_commit(lambda: worker.offer([each for each in mine if each.work_id in held]))
    if others:
        transaction.after_commit(worker.wake)


def _work(delivery: Delivery) -> NewWork:
    asset = delivery.asset
    return NewWork(
        work_id=delivery.publication_id,
        asked_at=asset.occurred_at,
        kind=KIND,
        subject=delivery.target,
        workspace=asset.workspace,
        request_id=asset.request_id,
        job_id=asset.job_id,
        traceparent=delivery.traceparent,
        payload=payload_of(asset, target=delivery.target),
    )
