"""The work edge: look up, deliver what is not there, read back and hash, settle with the receipt.

The leased row is the intent: it was committed before anything is sent, and whoever takes it over looks up first. So
a worker killed between any two steps leaves nothing at the target or the whole set, and the next finds out which.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import orjson
import structlog
from opentelemetry.trace import SpanKind

from services.publisher.domain import (
    Delivered,
    Delivery,
    Refusal,
    delivery_of,
    difference,
    failed,
    published,
    refusal_of,
)
from services.publisher.handler import Order, queries
from services.publisher.targets import Read, Target, Uncertain
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.bus import Transaction
from shared.crash import crash_point
from shared.errors import Rejected
from shared.events import Event, PublicationState, PublicFile
from shared.leases import Leased, Outcome
from shared.library.documents import TargetDocument
from shared.observability import is_sampled, log_context, start_span, traceparent_of
from shared.postgres import Pool, unavailable_when_away

log = structlog.get_logger()

SWITCHED_OFF_SECONDS = 30.0  # between looks at a target that its owner switched off


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How a publication ended: delivered, or why not."""

    delivery: Delivery
    state: PublicationState
    delivered: Delivered | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Delivers one leased publication at a time; what it is to deliver stands in the lease."""

    pool: Pool
    blobs: Blobs
    open_target: Callable[[TargetDocument, UUID], Target]

    async def run(self, lease: Leased) -> Outcome:
        """Raises Unavailable while target, store or database is away: the lease is given back at no cost."""
        started_ns = time.time_ns()
        delivery = _delivery(lease)
        asset = delivery.asset
        with log_context(workspace=asset.workspace, request=asset.request_id, job=asset.job_id):
            outcome = await self._publish(lease, delivery)
        return _traced(lease, outcome, started_ns=started_ns)

    async def _publish(self, lease: Leased, delivery: Delivery) -> Outcome:
        document = await self._target_now(lease.workspace, delivery.target)
        if isinstance(document, Refusal):
            return _ended(Settled(delivery=delivery, state=PublicationState.FAILED, refusal=document))
        if not document.enabled:
            return Outcome.again(f"{document.name} is switched off", delay=SWITCHED_OFF_SECONDS)
        # Asked again: a ceiling may have come down while the publication waited.
        refusal = refusal_of(delivery.asset, target=document)
        if refusal is not None:
            return _ended(Settled(delivery=delivery, state=PublicationState.FAILED, refusal=refusal))
        try:
            return await self._deliver(lease, delivery, document)
        except Rejected as error:
            refusal = Refusal(code=error.code, detail=str(error), remedy=error.remedy or "mend it, then retry")
            return _ended(Settled(delivery=delivery, state=PublicationState.FAILED, refusal=refusal))

    async def _deliver(self, lease: Leased, delivery: Delivery, document: TargetDocument) -> Outcome:
        target = self.open_target(document, lease.workspace)
        try:
            if not lease.lost and not await target.look_up(delivery):
                try:
                    crash_point("call.before")
                    await target.deliver(delivery, read=self._reader(delivery))
                    crash_point("call.after")
                except Uncertain as error:
                    if not await target.look_up(delivery):
                        return _uncertain(delivery, error)
            delivered = await target.read_back(delivery)
            crash_point("read_back.after")
        finally:
            await target.close()
        wrong = difference(delivery.asset, delivered.receipts)
        if wrong is not None:
            return _ended(Settled(delivery=delivery, state=PublicationState.FAILED, refusal=wrong))
        log.info("publication.delivered", target=delivery.target, location=delivered.location)
        return _ended(Settled(delivery=delivery, state=PublicationState.DELIVERED, delivered=delivered))

    async def _target_now(self, workspace: UUID, name: str) -> TargetDocument | Refusal:
        async with unavailable_when_away():
            row = await queries.target_now(self.pool, workspace=workspace, name=name)
        if row is None or row["state"] != "published":
            return Refusal(
                code="target_retired",
                detail=f"{name} was retired before this was delivered",
                remedy=f"publish a new version of {name}, then retry",
            )
        return TargetDocument.model_validate_json(row["document"])

    def _reader(self, delivery: Delivery) -> Read:
        async def read(file: PublicFile) -> bytes:
            asset = delivery.asset
            extension = EXTENSIONS.get(file.media_type)
            if extension is None:
                raise Rejected(
                    "media_type", f"{file.media_type} is no type of ours", file.name, "process the job again"
                )
            return await self.blobs.get(blob_key(asset.workspace, asset.asset_id, file.sha256, extension))

        return read

    async def record(self, transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
        """Beside the settlement of the leases: the publications' new state, and the events that say so."""
        now: datetime = await queries.now(transaction.connection)
        ends = [_end(lease, outcome) for lease, outcome in settled]
        await queries.settle_publications(
            transaction.connection,
            now=now,
            ids=[lease.work_id for lease, _ in settled],
            states=[end.state for end in ends],
            codes=[end.refusal and end.refusal.code for end in ends],
            details=[end.refusal and end.refusal.detail for end in ends],
            remedies=[end.refusal and end.refusal.remedy for end in ends],
            locations=[end.delivered and end.delivered.location for end in ends],
            receipts=[end.delivered and _json(end.delivered) for end in ends],
        )
        for _, outcome in settled:
            if isinstance(outcome.record, Settled):
                transaction.emit(_event(outcome.record, now=now))


def exhausted(lease: Leased, why: str) -> Outcome:
    """A publication that failed or was lost too often: it may stand at the target, and that is what is said."""
    return _uncertain(_delivery(lease), why)


def _traced(lease: Leased, outcome: Outcome, *, started_ns: int) -> Outcome:
    """One span, made when the work is over: none stays open over a lease. The fact it ends in hangs below."""
    settled = outcome.record
    if not isinstance(settled, Settled) or not is_sampled(lease.traceparent):
        return outcome
    span = start_span(
        "publish asset",
        parent=lease.traceparent,
        kind=SpanKind.CLIENT,
        started_ns=started_ns,
        attributes={
            "calotype.job": str(lease.job_id),
            "calotype.publication": str(lease.work_id),
            "calotype.target": settled.delivery.target,
            "calotype.attempt": lease.epoch,
            "calotype.ending": settled.state,
        },
    )
    span.end()
    return replace(
        outcome, record=replace(settled, delivery=replace(settled.delivery, traceparent=traceparent_of(span)))
    )


def _delivery(lease: Leased) -> Delivery:
    order = Order.model_validate_json(lease.payload)
    return replace(delivery_of(order.asset, target=order.target), run=lease.run, traceparent=lease.traceparent)


def _uncertain(delivery: Delivery, why: object) -> Outcome:
    refusal = Refusal(code="uncertain", detail=str(why), remedy=f"look whether {delivery.target} has it, then retry")
    return _ended(Settled(delivery=delivery, state=PublicationState.UNCERTAIN, refusal=refusal))


def _ended(settled: Settled) -> Outcome:
    return Outcome(name=settled.state, detail=settled.refusal.detail if settled.refusal else None, record=settled)


def _end(lease: Leased, outcome: Outcome) -> Settled:
    """How it ended, or that it has not: then the publication says what it waits for."""
    if isinstance(outcome.record, Settled):
        return outcome.record
    waiting = Refusal(code="waiting", detail=outcome.detail or "", remedy="nothing to do: it is tried again")
    return Settled(delivery=_delivery(lease), state=PublicationState.PENDING, refusal=waiting)


def _json(delivered: Delivered) -> str:
    return orjson.dumps([receipt.model_dump() for receipt in delivered.receipts]).decode()


def _event(settled: Settled, *, now: datetime) -> Event:
    if settled.delivered is not None:
        return published(settled.delivery, settled.delivered, now=now)
    assert settled.refusal is not None
    uncertain = settled.state is PublicationState.UNCERTAIN
    return failed(settled.delivery, settled.refusal, now=now, uncertain=uncertain)
