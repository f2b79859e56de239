"""The Kafka edge of postprocess: generated images and asks for files anew become work, cancels become tombstones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql

from services.postprocess.domain import Cancelled, Ending, ended, needs_pixels, untouched
from shared.bus import Bus
from shared.events import CancelRequested, DerivativesRequested, ImageGenerated, Lane
from shared.leases import NewWork, Worker, buried, bury, drop_waiting, enqueue
from shared.outbox import Transaction
from shared.topics import CANCELS_REQUESTED, DERIVATIVES_REQUESTED, IMAGES_GENERATED

queries: Any = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")

KIND = "process"
ANEW = "process.anew"
# Rows are claimed by priority, then age.
PRIORITY = {Lane.DEDICATED: 1, Lane.BULK: -1}


def wire(bus: Bus, *, worker: Worker, proxies: Sequence[int], signs: bool = False) -> None:
    async def take(transaction: Transaction, events: Sequence[ImageGenerated]) -> None:
        await take_images(transaction, events, worker=worker, proxies=proxies, signs=signs)

    @bus.project(IMAGES_GENERATED, group="postprocess", apply=take)
    def on_image_generated(event: ImageGenerated) -> ImageGenerated:
        return event

    async def take_anew(transaction: Transaction, events: Sequence[DerivativesRequested]) -> None:
        # Never already claimed: jobs go before what is only to be better.
        await enqueue(transaction.connection, [work_anew(event) for event in events])
        transaction.after_commit(worker.wake)

    @bus.project(DERIVATIVES_REQUESTED, group="postprocess-anew", apply=take_anew)
    def on_derivatives_requested(event: DerivativesRequested) -> DerivativesRequested:
        return event

    @bus.project(CANCELS_REQUESTED, group="postprocess-cancels", apply=keep_cancels)
    def on_cancel_requested(event: CancelRequested) -> CancelRequested:
        return event


async def take_images(
    transaction: Transaction,
    events: Sequence[ImageGenerated],
    *,
    worker: Worker,
    proxies: Sequence[int],
    signs: bool = False,
) -> None:
    """What nobody works on is settled here, set-based; the rest is queued, as much as fits already claimed."""
    images = {event.asset_id: event for event in events}
    cancelled = await buried(transaction.connection, list(images.values()))
    over: dict[UUID, Ending] = {}
    for asset, event in images.items():
        if event.job_id in cancelled:
            over[asset] = Cancelled(by=cancelled[event.job_id])
        elif not needs_pixels(event, proxies=proxies, signs=signs):
            over[asset] = untouched(event)
    await _settle_now(transaction, images=images, endings=over)
    await _queue(transaction, [work_of(event) for asset, event in images.items() if asset not in over], worker=worker)


async def keep_cancels(transaction: Transaction, cancels: Sequence[CancelRequested]) -> None:
    """What waits ends with the cancel itself, what is being made when it is settled."""
    await bury(transaction.connection, cancels)
    dropped = await drop_waiting(transaction.connection, cancels)
    if not dropped:
        return
    at = await queries.current_time(transaction.connection)
    for row in dropped:
        image = ImageGenerated.model_validate_json(row["payload"]).model_copy(
            update={"traceparent": row["traceparent"]}
        )
        transaction.emit(ended(image, Cancelled(by=row["cancelled_by"]), at=at))


def work_of(event: ImageGenerated) -> NewWork:
    """One piece of work per run of a job: the asset's id is its key, so the same fact is worked on once."""
    return NewWork(
        work_id=event.asset_id,
        asked_at=event.occurred_at,
        kind=KIND,
        workspace=event.workspace,
        payload=event.body().decode(),
        request_id=event.request_id,
        job_id=event.job_id,
        run=event.run,
        lane=event.route.lane,
        priority=PRIORITY.get(event.route.lane, 0),
        deadline=event.deadline,
        traceparent=event.traceparent,
    )


def work_anew(event: DerivativesRequested) -> NewWork:
    """One piece of work per version and recipes, as the event's id follows from them.

    Without its request: its job has ended, and whoever cancels what is left of the request does not mean this.
    """
    return NewWork(
        work_id=event.event_id,
        asked_at=event.occurred_at,
        kind=ANEW,
        workspace=event.workspace,
        payload=event.body().decode(),
        lane=Lane.BULK,
        priority=PRIORITY[Lane.BULK],
        traceparent=event.traceparent,
    )


async def _settle_now(
    transaction: Transaction, *, images: Mapping[UUID, ImageGenerated], endings: Mapping[UUID, Ending]
) -> None:
    if not endings:
        return
    over = [images[asset] for asset in endings]
    new = queries.enqueue_finished(
        transaction.connection,
        kind=KIND,
        ids=[event.asset_id for event in over],
        asked=[event.occurred_at for event in over],
        workspaces=[event.workspace for event in over],
        requests=[event.request_id for event in over],
        jobs=[event.job_id for event in over],
        runs=[event.run for event in over],
        outcomes=[type(ending).__name__.lower() for ending in endings.values()],
    )
    async for row in new:
        asset = row["work_id"]
        transaction.emit(ended(images[asset], endings[asset], at=row["created_at"]))


async def _queue(transaction: Transaction, rows: Sequence[NewWork], *, worker: Worker) -> None:
    room = worker.room()
    first, rest = rows[:room], rows[room:]
    lease = worker.lease_seconds
    claimed = await enqueue(transaction.connection, first, holder=worker.holder, lease=lease)
    waiting = await enqueue(transaction.connection, rest)
    if claimed:
        transaction.after_commit(lambda: worker.offer([row for row in first if row.work_id in claimed]))
    if waiting:
        transaction.after_commit(worker.wake)
