"""Images made again from their manifests: leased work of its own, which tells the jobs' stages nothing.

A replay emits no fact, writes no attempt and stores no file, so whatever becomes of it the job's one end stays. Its row
says what came of it. A call that may be billed is made once, and only where whoever asked said so.
"""

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import orjson
import structlog

from services.inference import accounts
from services.inference.accounts import PATIENCE, Word, away_delay, away_of, hear
from services.inference.backends import (
    Backend,
    BackendFailure,
    Generated,
    Generation,
    GenerationCancelled,
    Resumable,
)
from services.inference.domain import RESUMABLE, SHARES, Failed
from services.inference.flows import Limits, Line
from services.inference.queue import LOOK_EVERY, flow_of_lease, put_back_unaffordable, will_run
from services.inference.replaying import Manifest, Order, generation_of, read
from services.inference.sources import load_sources
from services.inference.turns import Room
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.comparing import Change, Measure, Verdict, changed, compare, judged
from shared.crash import crash_point
from shared.errors import BlobMissing, Rejected, Unavailable
from shared.events import FailureReason
from shared.leases import MAX_FAILURES, Leased, Outcome, Worker
from shared.outbox import Transaction
from shared.postgres import Connection, Pool, noted, transaction

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "replays.sql", "asyncpg")

TELL_EVERY = 0.5  # seconds between two steps that are written down
AT_ONCE = 1  # of one kind of backend in one process: whoever waits for a new image goes first
GONE = "the original's bytes are not stored any more"
CUT_OFF = "its worker ended while the provider was called: the image may have been made and billed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a settlement writes of a replay: a verdict, or why there is none.

    `cost` None is not known, unless nobody was asked for the image: then it is 0. `is_uncertain`: whoever was asked may
    have billed it, and somebody has to find out.
    """

    order: Order
    verdict: Verdict | None = None
    measure: Measure | None = None
    changed: Sequence[Change] = ()
    reason: FailureReason | None = None
    detail: str | None = None
    cost: Decimal | None = None
    currency: str | None = None
    price_list: str | None = None
    provider_request_id: str | None = None
    seconds: float | None = None
    device_seconds: float | None = None
    word: Word | None = None
    cancelled_by: str | None = None
    is_uncertain: bool = False

    @property
    def state(self) -> str:
        return "cancelled" if self.cancelled_by else "failed" if self.verdict is None else "judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A try that is not the last one; `is_free`: it is known to have cost nothing."""

    order: Order
    word: Word | None
    is_free: bool
    device_seconds: float | None = None


LEASE_LOST = Outcome.again("its lease was lost", delay=0.0)


@dataclass(frozen=True, kw_only=True)
class Replayer:
    """Makes images again on the backends of this process, by kind."""

    backends: Mapping[str, Backend]
    blobs: Blobs
    pool: Pool

    async def run(self, lease: Leased) -> Outcome:
        order = Order.model_validate_json(lease.payload)
        began, course = time.monotonic(), Course()
        try:
            manifest = read(await self.blobs.get(manifest_key(lease.workspace, order.asset_id, order.manifest_sha256)))
            sources = await load_sources(lease.workspace, manifest.uses, self.blobs)
            first = await self._first(lease.workspace, manifest)
            before = await self._begin(lease, order)
        except (Rejected, BackendFailure) as error:
            return _over(unread(order, error))
        if isinstance(before, Outcome):
            return before
        try:
            keep_id = functools.partial(self._keep_id, order.replay_id)
            work = generation_of(manifest, order, sources=sources, alone=lease.epoch > 1, keep_id=keep_id)
            crash_point("call.before")
            made = await self._make(lease, order, work, course, resumes=before)
            crash_point("call.after")
            lease.free()
            same = hashlib.sha256(made.image).hexdigest() == manifest.output.sha256
            measure, why_not = (None, None) if same else await self._measured(order, first, made)
        except GenerationCancelled as stopped:
            return _stopped(order, stopped, by=course.cancelled_by)
        except BackendFailure as failure:
            return await self._failed(lease, order, failure)
        known = made.cost is not None
        ended = Ended(
            order=order,
            verdict=judged(same_bytes=same, measure=measure),
            measure=measure,
            changed=changed(manifest.made_by, orjson.loads(orjson.dumps(made.manifest))),
            detail=GONE if first is None else why_not,
            cost=made.cost if known else _priced(order, made),
            currency=made.currency if known else order.currency,
            price_list=None if known else order.price_list,
            provider_request_id=made.provider_request_id,
            seconds=round(time.monotonic() - began, 3),
            device_seconds=made.device_seconds,
            word=Word(lease=lease),
        )
        return _over(ended if course.cancelled_by is None else discarded(ended, by=course.cancelled_by))

    async def _first(self, workspace: UUID, manifest: Manifest) -> bytes | None:
        """The picture as it was made; None where it is gone, and only its hash is left to compare with."""
        output = manifest.output
        key = blob_key(workspace, manifest.asset_id, output.sha256, EXTENSIONS.get(output.media_type, ""))
        with contextlib.suppress(BlobMissing):
            return await self.blobs.get(key)
        return None

    async def _begin(self, lease: Leased, order: Order) -> Outcome | str | None:
        """Writes down that somebody is called: nothing comes back.

        Where who bills was called before: the provider's id of that call if it can be asked about, else how this ends.
        """
        if order.bills and lease.may_be_anothers:  # who may have ended it
            return LEASE_LOST
        async with noted(transaction(self.pool)) as connection:
            if await queries.begin_call(connection, replay=order.replay_id, once=order.bills):
                return None
            before = await queries.before(connection, replay=order.replay_id)
        if before["is_over"]:
            return _over(cut_off(order))  # another worker, or who gave it up, has said how: that stands
        if not (before["was_called"] and order.bills):
            return _over(cancelled(order, before["cancelled_by"]))
        if order.kind in RESUMABLE and before["provider_request_id"] is not None:
            return str(before["provider_request_id"])
        return _over(cut_off(order))

    async def _keep_id(self, replay: UUID, provider_request_id: str) -> None:
        async with noted(transaction(self.pool)) as connection:
            await queries.keep_provider_id(connection, replay=replay, provider_id=provider_request_id)

    async def _make(
        self, lease: Leased, order: Order, work: Generation, course: "Course", *, resumes: str | None
    ) -> Generated:
        """`resumes`: the provider's id of what another worker ordered."""
        backend = self.backends[order.kind]
        async with self._watched(order.replay_id, course):
            try:
                if resumes is not None:
                    assert isinstance(backend, Resumable), "what is resumed is never called anew"
                    return await backend.resume(work, resumes, progress=course.reached)
                return await backend.generate(
                    work, progress=course.reached, cancelled=lambda: lease.lost or course.cancelled_by is not None
                )
            except (BackendFailure, GenerationCancelled):
                raise
            except Exception as error:
                log.exception("backend.failed", replay=str(order.replay_id), kind=order.kind)
                reason, words = FailureReason.INTERNAL, repr(error)[:500]
                raise BackendFailure(reason, words, retriable=True, uncertain=order.bills) from error

    async def _measured(self, order: Order, first: bytes | None, made: Generated) -> tuple[Measure | None, str | None]:
        """How far it is from the first, or why nobody knows; the image is made, and its cost is booked either way."""
        if first is None:
            return None, GONE
        try:
            return await compare(first, made.image), None
        except asyncio.CancelledError:
            if not order.bills:
                raise  # the next worker makes it again
            return None, "it could not be compared: this process was told to end"
        except Exception as error:
            log.exception("replay.not_compared", replay=str(order.replay_id))
            return None, f"it could not be compared: {error!r}"

    @contextlib.asynccontextmanager
    async def _watched(self, replay: UUID, course: "Course") -> AsyncIterator[None]:
        """Tells and hears of it meanwhile; what a database that is away does not hear, nobody needs."""
        tasks = [asyncio.create_task(self._tell(replay, course)), asyncio.create_task(self._listen(replay, course))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, replay: UUID, course: "Course") -> None:
        """Writes down which step it is at, now and then."""
        while True:
            await course.news.wait()
            course.news.clear()
            with contextlib.suppress(Unavailable):
                async with transaction(self.pool) as connection:
                    await queries.note_step(connection, replay=replay, step=course.step, steps=course.steps)
            await asyncio.sleep(TELL_EVERY)

    async def _listen(self, replay: UUID, course: "Course") -> None:
        """Looks whether somebody cancelled it, as often as a person would notice."""
        while course.cancelled_by is None:
            with contextlib.suppress(Unavailable):
                async with transaction(self.pool) as connection:
                    course.cancelled_by = await queries.cancelled_by(connection, replay=replay)
            await asyncio.sleep(LOOK_EVERY)

    async def _failed(self, lease: Leased, order: Order, failure: BackendFailure) -> Outcome:
        """Again where that may help and cannot be billed twice."""
        away = away_of(failure, call=order.call)
        word = Word(lease=lease, away=away, busy=failure.busy, first=lease.epoch == 1)
        free = failure.billed is False
        if failure.retriable and not failure.uncertain and (free or not order.bills):
            has_time = await self._is_patient(order) if away else lease.failures + 1 < MAX_FAILURES
            if has_time or failure.shared:
                delay = max(2.0**lease.failures, failure.after or 0.0)
                if away:
                    delay = failure.after or away_delay(lease.epoch)
                later = Later(order=order, word=word, is_free=free, device_seconds=failure.device_seconds)
                counted = away is None and not failure.shared
                return Outcome.again(failure.detail, delay=delay, failed=counted, record=later)
        billed = None if failure.uncertain else failure.billed
        return _over(
            Ended(
                order=order,
                reason=failure.reason,
                detail=failure.detail,
                cost=cost_of(order, billed=billed),
                currency=order.currency,
                price_list=order.price_list if billed else None,
                provider_request_id=failure.provider_request_id,
                device_seconds=failure.device_seconds,
                word=word,
                is_uncertain=order.bills and billed is None,
            )
        )

    async def _is_patient(self, order: Order) -> bool:
        """Whether it waits for a provider that is away; what it waited for before is none of that."""
        with contextlib.suppress(Unavailable):
            async with transaction(self.pool) as connection:
                return not await queries.is_long_away(connection, replay=order.replay_id, patience=PATIENCE)
        return True


@dataclass(slots=True, eq=False)
class Course:
    """How far it is, and who does not want it any more."""

    step: int = 0
    steps: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled_by: str | None = None

    def reached(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps
        self.news.set()


def cost_of(order: Order, *, billed: bool | None = None) -> Decimal | None:
    """Of a call that gave no image: where it says nothing of its cost nobody knows that, here as with a provider."""
    if billed is False or order.price == 0:
        return Decimal(0)
    return order.price if billed else None


def cancelled(order: Order, by: str) -> Ended:
    """While nobody works on it; what was called for it before may have been billed."""
    detail = f"cancelled by {by}"
    return Ended(order=order, cancelled_by=by, detail=detail, cost=cost_of(order), is_uncertain=order.bills)


def unread(order: Order, error: Rejected | BackendFailure) -> Ended:
    """What it is to be made from is not there. Nobody was called this time; somebody may have been before."""
    reason, detail = FailureReason.INVALID_REQUEST, str(error)
    if isinstance(error, BackendFailure):
        reason, detail = error.reason, error.detail
    return Ended(order=order, reason=reason, detail=detail, cost=cost_of(order), is_uncertain=order.bills)


def cut_off(order: Order) -> Ended:
    return Ended(order=order, reason=FailureReason.BACKEND_UNAVAILABLE, detail=CUT_OFF, is_uncertain=True)


def discarded(ended: Ended, *, by: str) -> Ended:
    """What was made before anybody stopped it: its cost is booked, and nothing is said of it."""
    return replace(ended, cancelled_by=by, verdict=None, measure=None, changed=(), detail=f"cancelled by {by}")


def _stopped(order: Order, stopped: GenerationCancelled, *, by: str | None) -> Outcome:
    if by is None:
        return LEASE_LOST
    cost, uncertain = cost_of(order, billed=stopped.billed), order.bills and stopped.billed is None
    return _over(
        replace(cancelled(order, by), cost=cost, is_uncertain=uncertain, device_seconds=stopped.device_seconds)
    )


def exhausted(lease: Leased, why: str) -> Outcome:
    order = Order.model_validate_json(lease.payload)
    reason, cost = FailureReason.INTERNAL, cost_of(order)
    return _over(Ended(order=order, reason=reason, detail=why, cost=cost, is_uncertain=order.bills))


async def is_called(connection: Connection, order: Order) -> bool:
    """Whether a call that may be billed was made for it, of which nobody knows the end."""
    return order.bills and bool((await queries.before(connection, replay=order.replay_id))["was_called"])


async def give_up(connection: Connection, order: Order, why: str) -> Failed:
    """Ends a replay that nobody will make; what a call that was cut off cost is not known."""
    ended = Ended(order=order, reason=FailureReason.UNROUTABLE, detail=why, cost=cost_of(order))
    if await is_called(connection, order):
        ended = cut_off(order)
    await end(connection, ended)
    return Failed(reason=ended.reason or FailureReason.INTERNAL, detail=ended.detail or why)


async def record(transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
    """What came of replays, in the transaction that settles their work: fenced as that is."""
    found = [outcome.record for _, outcome in settled if isinstance(outcome.record, Ended | Later)]
    await hear(transaction, [each.word for each in found if each.word is not None])
    for each in found:
        if isinstance(each, Later):
            await queries.try_later(
                transaction.connection,
                replay=each.order.replay_id,
                free=each.is_free,
                away=each.word is not None and each.word.away is not None,
                device=each.device_seconds,
            )
        else:
            await end(transaction.connection, each)


async def end(connection: Connection, ended: Ended) -> None:
    await queries.end_replay(
        connection,
        replay=ended.order.replay_id,
        state=ended.state,
        verdict=ended.verdict,
        measure=orjson.dumps(asdict(ended.measure)).decode() if ended.measure else None,
        changed=orjson.dumps([asdict(change) for change in ended.changed]).decode(),
        reason=ended.reason,
        detail=ended.detail,
        cost=ended.cost,
        currency=ended.currency,
        price_list=ended.price_list,
        provider_id=ended.provider_request_id,
        seconds=ended.seconds,
        device=ended.device_seconds,
        uncertain=ended.is_uncertain,
    )


class Claims:
    """Takes replays whose turn it is, as jobs are taken: by workspace, behind brakes and accounts that are away.

    `permitted`: those of them that today's table lets go where they are to go.
    """

    worker: Worker

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        limits: Limits,
        permitted: Callable[[Connection, Sequence[Leased]], Awaitable[list[Leased]]],
    ) -> None:
        self.kinds = list(kinds)
        self._permitted = permitted
        self._limits = limits
        self.line = Line(kinds, shares=SHARES, limits=limits)

    async def claim(self, connection: Connection, many: int) -> list[Leased]:
        room = Room(calls=await accounts.rooms(connection, self.kinds))
        holder, lease = self.worker.holder, self.worker.lease_seconds
        rows = await self.line.take(connection, many, holder=holder, lease=lease, room=room)
        leases = await self._permitted(connection, [Leased(**row) for row in rows]) if rows else []
        return await self._afford(connection, leases) if leases else []

    async def _afford(self, connection: Connection, leases: Sequence[Leased]) -> list[Leased]:
        """Those that their workspaces' caps have room for; what was let go before has its money set aside already."""
        let_go = queries.reserved(connection, replays=[lease.work_id for lease in leases])
        before = {row["replay_id"] async for row in let_go}
        costs = [(lease, Order.model_validate_json(lease.payload).cost) for lease in leases]
        dear = [(lease, cost) for lease, cost in costs if cost and will_run(lease) and lease.work_id not in before]
        back = await put_back_unaffordable(connection, dear, self._limits)
        begun = {lease.work_id: cost.amount for lease, cost in dear if lease.work_id not in back}
        if begun:
            await queries.reserve(connection, replays=list(begun), amounts=list(begun.values()))
        taken = [lease for lease in leases if lease.work_id not in back]
        await self._limits.called(connection, [flow_of_lease(lease) for lease in taken])
        return taken


def manifest_key(workspace: UUID, asset: UUID, sha256: str) -> str:
    return blob_key(workspace, asset, sha256, "json")


def _priced(order: Order, made: Generated) -> Decimal | None:
    return None if order.price is None else order.price * made.charges


def _over(ended: Ended) -> Outcome:
    return Outcome(name=ended.state, record=ended, detail=ended.detail)
