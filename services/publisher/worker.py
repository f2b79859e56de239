"""The work edge: look up, deliver what is not there, read back and hash, settle with the receipt.

The leased row is the intent: it was committed before anything is sent. Whoever takes it over looks up first, or sends
again under the same key; where a target offers neither, nothing is sent twice and the publication ends `uncertain`. So
a worker killed between any two steps leaves nothing at the target or the whole set, and the next finds out which.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import orjson
import structlog
from opentelemetry.trace import SpanKind

from services.publisher.arriving import TURNS, seen, spoiled, unread, unseen
from services.publisher.domain import (
    Delivered,
    Delivery,
    Newer,
    Refusal,
    delivery_of,
    difference,
    failed,
    published,
    refusal_of,
    superseded,
)
from services.publisher.handler import Order
from services.publisher.outages import end_outages, note_outages
from services.publisher.proving import Proof
from services.publisher.sql import queries
from services.publisher.superseding import hold_versions, supersede
from services.publisher.targets import Busy, Readable, Serving, Target, Uncertain, patience_of
from shared.blobs import Blobs
from shared.bus import Transaction
from shared.crash import crash_point
from shared.credentials import NAME as CREDENTIALS
from shared.credentials import Verifier
from shared.errors import Rejected, Unavailable
from shared.events import Event, PublicationState
from shared.leases import Leased, Outcome
from shared.library.documents import TargetDocument
from shared.observability import ended_span, log_context
from shared.outages import Away, Pace
from shared.postgres import Pool, unavailable_when_away

log = structlog.get_logger()

SWITCHED_OFF_SECONDS = 30.0  # between looks at a target that its owner switched off
NEWER_SECONDS = 0.5  # between looks whether an older version has ended; the older one's waits grow, so they part
OURS = frozenset({"blobs", "postgres", CREDENTIALS})  # what is away when these are is not the target


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one try came to: an end, or a wait. `unsure`: this try or one before may have been taken.

    `seconds` of a wait, where its length is known.
    """

    delivery: Delivery
    state: PublicationState
    delivered: Delivered | None = None
    refusal: Refusal | None = None
    unsure: bool = False
    answered: bool = False
    away: Away | None = None
    newer: Newer | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How publication and target stand when a try begins."""

    state: str | None
    document: str | None
    unsure: bool
    sent: bool
    down: str | None
    newer: str | None
    newer_stands: bool
    older_under_way: bool
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Delivers one leased publication at a time; what it is to deliver stands in the lease."""

    pool: Pool
    blobs: Blobs
    open_target: Callable[[TargetDocument, UUID], Target]
    pace: Pace = field(default_factory=Pace)
    verifier: Verifier = field(default_factory=Verifier)
    turns: defaultdict[tuple[UUID, str], asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(TURNS))
    )

    async def run(self, lease: Leased) -> Outcome:
        """Raises Unavailable while store, database or verifier is away: the lease is given back at no cost."""
        started_ns = time.time_ns()
        asset = _delivery(lease).asset
        with log_context(workspace=asset.workspace, request=asset.request_id, job=asset.job_id):
            tried = await self._publish(lease)
        return _traced(lease, self._outcome(lease, tried), started_ns=started_ns)

    async def _publish(self, lease: Leased) -> Tried:
        delivery = _delivery(lease)
        standing = await self._standing(lease, delivery.target)
        delivery = delivery.at(standing.now)
        unsure = standing.unsure or lease.losses > 0
        if (not_now := _over(delivery, standing) or _in_turn(delivery, standing, unsure=unsure)) is not None:
            return not_now
        try:
            document = _document(standing, delivery)
            if not document.enabled:
                off = Away(cause=f"{document.name} is switched off", seconds=SWITCHED_OFF_SECONDS)
                return _waits(delivery, off, unsure=unsure)
            late = _is_late(lease, patience_of(document), now=standing.now)
            if late and standing.down is not None:
                return _gave_up(delivery, standing.down, unsure=unsure)
            tried = await self._open_and_deliver(lease, delivery, document, unsure=unsure)
        except Rejected as error:
            return _refused(delivery, _refusal(error), unsure=unsure)
        return _too_late(tried) if late and tried.state is PublicationState.PENDING else tried

    async def _open_and_deliver(
        self, lease: Leased, delivery: Delivery, document: TargetDocument, *, unsure: bool
    ) -> Tried:
        try:
            target = self.open_target(document, lease.workspace)
        except Unavailable as error:
            return _waits(delivery, Away(cause=str(error)), unsure=unsure)
        try:
            if isinstance(target, Readable):
                return await self._look_up_and_deliver(lease, delivery, target)
            tried = await self._send(lease, delivery, target, unsure=unsure)
            return _judged(tried, keyed=target.keyed) if document.require_provenance else tried
        except Busy as error:
            return _waits(delivery, Away(cause=str(error), seconds=error.seconds), unsure=unsure)
        except Unavailable as error:
            if error.dependency in OURS:
                raise
            return _waits(delivery, Away(cause=str(error)), unsure=unsure)
        finally:
            await target.close()

    async def _look_up_and_deliver(self, lease: Leased, delivery: Delivery, target: Readable) -> Tried:
        proof = self._proof(delivery)
        if not lease.lost and not await target.look_up(delivery):
            try:
                crash_point("call.before")
                await target.deliver(delivery, read=proof.read)
                crash_point("call.after")
            except Uncertain as error:
                if not await target.look_up(delivery):  # it may still come: the next try looks first
                    return _waits(delivery, Away(cause=str(error)), unsure=True)
            except Rejected as error:
                return _refused(delivery, _refusal(error), unsure=False, answered=True)
        delivered = await target.read_back(delivery)
        crash_point("read_back.after")
        wrong = difference(delivery.asset, delivered.receipts)
        if wrong is not None:
            return _refused(delivery, wrong, unsure=False, answered=True)
        try:
            await proof.complete()
        except Rejected as error:
            return _refused(delivery, _refusal(error), unsure=False, answered=True)
        return _delivered(delivery, delivered)

    async def _send(self, lease: Leased, delivery: Delivery, target: Target, *, unsure: bool) -> Tried:
        """To a target that cannot be looked up: again under the same key, or, where it knows none, once."""
        proof = self._proof(delivery)
        await proof.complete()  # such a target may fetch nothing, and be told where the files are
        if not target.keyed and not await self._mark_sent(lease):
            return _waits(
                delivery, Away(cause="another worker has it"), unsure=unsure
            )  # and settles it: this is fenced
        try:
            crash_point("call.before")
            delivered = await target.deliver(delivery, read=proof.read)
            crash_point("call.after")
        except Rejected as error:
            return _refused(delivery, _refusal(error), unsure=unsure, answered=True)
        except Unavailable:
            raise
        except (Uncertain, asyncio.CancelledError) as error:
            # Cancelled: this process ends, and nobody waits for the answer any more.
            cause = str(error) or "its worker ended while it was under way"
            if not target.keyed:
                return _uncertain(delivery, cause)
            waits = _waits(delivery, Away(cause=cause), unsure=True)
            return waits if isinstance(error, Uncertain) else replace(waits, away=None)
        except Exception as error:
            if target.keyed:
                raise
            log.exception("publication.unclear", target=delivery.target)
            return _uncertain(delivery, repr(error))
        assert delivered is not None, "a target that cannot be read back says what it took"
        if delivered.stands and isinstance(target, Serving):
            turns = self.turns[lease.workspace, delivery.target]
            delivered = await seen(delivered, delivery, target=target, proof=proof, verifier=self.verifier, turns=turns)
        return _delivered(delivery, delivered)

    async def _mark_sent(self, lease: Leased) -> bool:
        """Before anything leaves: whoever takes the lease over must not send it again. False where one has."""
        crash_point("commit.before")
        async with unavailable_when_away():
            is_ours = await queries.mark_sent(self.pool, id=lease.work_id, epoch=lease.epoch) is not None
        crash_point("commit.after")
        return is_ours

    async def _standing(self, lease: Leased, name: str) -> Standing:
        async with unavailable_when_away():
            row = await queries.standing(self.pool, workspace=lease.workspace, name=name, id=lease.work_id)
        return Standing(**dict(row))

    def _proof(self, delivery: Delivery) -> Proof:
        return Proof(delivery, blobs=self.blobs, verifier=self.verifier)

    def _outcome(self, lease: Leased, tried: Tried) -> Outcome:
        detail = tried.refusal.detail if tried.refusal else None
        if tried.state is PublicationState.PENDING:
            delay = self.pace.after(lease.epoch - 1, draw=random.random())  # noqa: S311  # jitter is no secret
            return Outcome.again(detail or "", delay=tried.seconds or delay, record=tried)
        return Outcome(name=tried.state, detail=detail, record=tried)

    async def record(self, transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
        """Beside the settlement of the leases: the publications' new state, how their targets do, and the events."""
        ids = [lease.work_id for lease, _ in settled]
        await hold_versions(transaction, ids)
        now: datetime = await queries.now(transaction.connection)
        tries = [_tried(lease, outcome) for lease, outcome in settled]
        await queries.settle_publications(
            transaction.connection,
            now=now,
            ids=ids,
            states=[tried.state for tried in tries],
            codes=[tried.refusal and tried.refusal.code for tried in tries],
            details=[tried.refusal and tried.refusal.detail for tried in tries],
            remedies=[tried.refusal and tried.refusal.remedy for tried in tries],
            locations=[tried.delivered and tried.delivered.location for tried in tries],
            receipts=[tried.delivered and _json(tried.delivered) for tried in tries],
            verified=[tried.delivered and tried.delivered.verified for tried in tries],
            unsure=[tried.unsure for tried in tries],
        )
        of = [(tried.delivery.asset.workspace, tried.delivery.target) for tried in tries]
        await note_outages(
            transaction,
            [(target, tried.away) for target, tried in zip(of, tries, strict=True) if tried.away],
            pace=self.pace,
        )
        await end_outages(transaction, {target for target, tried in zip(of, tries, strict=True) if tried.answered})
        transaction.emit(*(_event(tried, now=now) for tried in tries if tried.state is not PublicationState.PENDING))
        if any(tried.delivered for tried in tries):
            await supersede(transaction, ids, now=now)


def exhausted(lease: Leased, why: str) -> Outcome:
    """A publication that failed or was lost too often: it may stand at the target, and that is what is said."""
    tried = _uncertain(_delivery(lease), why)
    return Outcome(name=tried.state, detail=why, record=tried)


def _traced(lease: Leased, outcome: Outcome, *, started_ns: int) -> Outcome:
    """The fact it ends in hangs below the span of the try."""
    tried = outcome.record
    if not isinstance(tried, Tried) or tried.state is PublicationState.PENDING:
        return outcome
    trace = ended_span(
        "publish asset",
        parent=lease.traceparent,
        kind=SpanKind.CLIENT,
        started_ns=started_ns,
        attributes={
            "calotype.job": str(lease.job_id),
            "calotype.publication": str(lease.work_id),
            "calotype.target": tried.delivery.target,
            "calotype.attempt": lease.epoch,
            "calotype.ending": tried.state,
        },
    )
    return replace(outcome, record=replace(tried, delivery=replace(tried.delivery, traceparent=trace)))


def _delivery(lease: Leased) -> Delivery:
    order = Order.model_validate_json(lease.payload)
    return replace(delivery_of(order.asset, target=order.target), run=lease.run, traceparent=lease.traceparent)


def _delivered(delivery: Delivery, delivered: Delivered) -> Tried:
    log.info("publication.delivered", target=delivery.target, location=delivered.location)
    return Tried(delivery=delivery, state=PublicationState.DELIVERED, delivered=delivered, answered=True)


def _judged(tried: Tried, *, keyed: bool) -> Tried:
    """Of a target that takes signed files only, and says where it put them: they have to be signed there too."""
    if tried.delivered is None:
        return tried
    refusal = spoiled(tried.delivered, target=tried.delivery.target)
    if refusal is not None:
        return _refused(tried.delivery, refusal, unsure=False, answered=True)
    cause = unread(tried.delivered)
    if cause is None:
        return tried
    if not keyed:  # sent again it would be there twice
        return _refused(tried.delivery, unseen(cause, target=tried.delivery.target), unsure=False, answered=True)
    # It is sent again under the same key, and asked again: the target answers, so nothing else waits for this.
    return replace(_waits(tried.delivery, Away(cause=cause), unsure=True), away=None, answered=True)


def _over(delivery: Delivery, standing: Standing) -> Tried | None:
    """The end of one that is not to be sent any more."""
    if standing.sent:
        return _uncertain(delivery, "its worker was lost while it was under way")
    if standing.newer is None or not standing.newer_stands:
        return None
    return _superseded(delivery, Newer.of(standing.newer))


def _in_turn(delivery: Delivery, standing: Standing, *, unsure: bool) -> Tried | None:
    """The wait of one that would meet another version on its way: what is taken last is what a target serves."""
    if standing.newer is not None:
        version = Newer.of(standing.newer).asset_version_id
        cause, seconds = f"{version}, which was approved later, goes first", None
    elif standing.older_under_way:
        cause, seconds = "an older version is under way", NEWER_SECONDS
    else:
        return None
    return replace(_waits(delivery, Away(cause=cause), unsure=unsure), away=None, seconds=seconds)


def _superseded(delivery: Delivery, newer: Newer) -> Tried:
    """Not sent: whoever takes what comes last would serve it in the newer one's place."""
    refusal = Refusal(
        code="superseded",
        detail=f"superseded by {newer.asset_version_id}, which stands at {delivery.target}",
        remedy="nothing to do",
    )
    return Tried(delivery=delivery, state=PublicationState.SUPERSEDED, refusal=refusal, newer=newer)


def _waits(delivery: Delivery, away: Away, *, unsure: bool) -> Tried:
    waiting = Refusal(code="waiting", detail=away.cause, remedy="nothing to do: it is tried again")
    return Tried(delivery=delivery, state=PublicationState.PENDING, refusal=waiting, unsure=unsure, away=away)


def _refused(delivery: Delivery, refusal: Refusal, *, unsure: bool, answered: bool = False) -> Tried:
    """Refused now; where a try before may have been taken, that does not tell what stands at the target."""
    if unsure:
        return replace(
            _uncertain(delivery, f"an earlier try may have been taken; now {refusal.detail}"), answered=answered
        )
    return Tried(delivery=delivery, state=PublicationState.FAILED, refusal=refusal, answered=answered)


def _gave_up(delivery: Delivery, cause: str, *, unsure: bool) -> Tried:
    refusal = Refusal(
        code="gave_up",
        detail=f"{delivery.target} took nothing for as long as its document lets us try; last: {cause}",
        remedy=f"when {delivery.target} is back, retry",
    )
    return _refused(delivery, refusal, unsure=unsure)


def _too_late(tried: Tried) -> Tried:
    """The end of a wait on the target, past the patience of its document."""
    cause = tried.refusal.detail if tried.refusal else ""
    if tried.answered:  # it took the message: what is missing is a look
        refusal = unseen(cause, target=tried.delivery.target)
        return _refused(tried.delivery, refusal, unsure=False, answered=True)
    if tried.away is None:
        return tried
    return replace(_gave_up(tried.delivery, cause, unsure=tried.unsure), away=tried.away)


def _uncertain(delivery: Delivery, why: object) -> Tried:
    refusal = Refusal(
        code="uncertain", detail=str(why), remedy=f"look whether {delivery.target} has it, then settle or retry"
    )
    return Tried(delivery=delivery, state=PublicationState.UNCERTAIN, refusal=refusal, unsure=True)


def _refusal(error: Rejected) -> Refusal:
    detail = f"{error.where}: {error.what}" if error.where else error.what
    return Refusal(code=error.code, detail=detail, remedy=error.remedy or "mend it, then retry")


def _document(standing: Standing, delivery: Delivery) -> TargetDocument:
    """The target as it is now: it may have been retired, or its ceiling come down, while the publication waited."""
    name = delivery.target
    if standing.state != "published" or standing.document is None:
        remedy = f"publish a new version of {name}, then retry"
        raise Rejected("target_retired", f"{name} was retired before this was delivered", remedy=remedy)
    document = TargetDocument.model_validate_json(standing.document)
    refusal = refusal_of(delivery.asset, target=document) if document.enabled else None
    if refusal is not None:
        raise Rejected(refusal.code, refusal.detail, remedy=refusal.remedy)
    return document


def _is_late(lease: Leased, patience: timedelta | None, *, now: datetime) -> bool:
    return patience is not None and lease.created_at is not None and now - lease.created_at > patience


def _tried(lease: Leased, outcome: Outcome) -> Tried:
    """What a try came to; one that met nothing but our own trouble says what it waits for."""
    if isinstance(outcome.record, Tried):
        return outcome.record
    return replace(_waits(_delivery(lease), Away(cause=outcome.detail or ""), unsure=False), away=None)


def _json(delivered: Delivered) -> str:
    return orjson.dumps([receipt.model_dump() for receipt in delivered.receipts]).decode()


def _event(tried: Tried, *, now: datetime) -> Event:
    if tried.delivered is not None:
        return published(tried.delivery, tried.delivered, now=now)
    if tried.newer is not None:
        return superseded(tried.delivery, tried.newer, now=now)
    assert tried.refusal is not None
    uncertain = tried.state is PublicationState.UNCERTAIN
    return failed(tried.delivery, tried.refusal, now=now, uncertain=uncertain)
