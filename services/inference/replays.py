"""Images made again from their manifests: leased work of its own, which tells the jobs' stages nothing.

A replay emits no fact, writes no attempt and stores no file, so whatever becomes of it the job's one end stays. Its row
says what came of it. A call that may be billed is made once, and only where whoever asked said so.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import orjson
import structlog

from services.inference import accounts
from services.inference.accounts import Word, away_of, hear
from services.inference.backends import Backend, BackendFailure, Generated, GenerationCancelled
from services.inference.comparing import compare
from services.inference.domain import SHARES, Failed
from services.inference.flows import Limits, Line
from services.inference.replaying import Change, Manifest, Measure, Order, Verdict, changed, generation_of, judged, read
from services.inference.sources import load_sources
from services.inference.turns import Room, flow_of
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.crash import crash_point
from shared.errors import BlobMissing, Rejected, Unavailable
from shared.events import FailureReason
from shared.leases import MAX_FAILURES, Leased, Outcome, Worker
from shared.outbox import Transaction
from shared.postgres import Connection, Pool, transaction

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "replays.sql", "asyncpg")

TELL_EVERY = 0.5  # seconds between two steps that are written down
AT_ONCE = 1  # of one kind of backend in one process: whoever waits for a new image goes first
CUT_OFF = "its worker ended while the provider was called: the image may have been made and billed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a settlement writes of a replay: a verdict, or why there is none. `cost` None is not known."""

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
    word: Word | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A try that said something of its provider, and nothing was billed."""

    order: Order
    word: Word | None


@dataclass(frozen=True, kw_only=True)
class Replayer:
    """Makes images again on the backends of this process, by kind."""

    backends: Mapping[str, Backend]
    blobs: Blobs
    pool: Pool

    async def run(self, lease: Leased) -> Outcome:
        order = Order.model_validate_json(lease.payload)
        began = time.monotonic()
        try:
            manifest = read(await self.blobs.get(manifest_key(lease.workspace, order.asset_id, order.manifest_sha256)))
            sources = await load_sources(lease.workspace, manifest.uses, self.blobs)
            first = await self._first(lease.workspace, manifest)
            if order.bills and not await self._may_call(order):
                return _over(Ended(order=order, reason=FailureReason.BACKEND_UNAVAILABLE, detail=CUT_OFF))
            work = generation_of(manifest, order, sources=sources, alone=lease.epoch > 1)
            crash_point("call.before")
            made = await self._make(lease, order, work)
            crash_point("call.after")
            lease.free()
            same = hashlib.sha256(made.image).hexdigest() == manifest.output.sha256
            measure = None if same or first is None else await compare(first, made.image)
        except GenerationCancelled:
            return Outcome.again("its lease was lost", delay=0.0)
        except BackendFailure as failure:
            return await self._failed(lease, order, failure)
        except Rejected as error:
            reason = FailureReason.INVALID_REQUEST
            return _over(Ended(order=order, reason=reason, detail=str(error), cost=Decimal(0)))
        known = made.cost is not None
        return _over(
            Ended(
                order=order,
                verdict=judged(same_bytes=same, measure=measure),
                measure=measure,
                changed=changed(manifest.made_by, orjson.loads(orjson.dumps(made.manifest))),
                detail=None if first is not None else "the original's bytes are not stored any more",
                cost=made.cost if known else _priced(order, made),
                currency=made.currency if known else order.currency,
                price_list=None if known else order.price_list,
                provider_request_id=made.provider_request_id,
                seconds=round(time.monotonic() - began, 3),
                word=Word(lease=lease),
            )
        )

    async def _first(self, workspace: UUID, manifest: Manifest) -> bytes | None:
        """The picture as it was made; None where it is gone, and only its hash is left to compare with."""
        output = manifest.output
        key = blob_key(workspace, manifest.asset_id, output.sha256, EXTENSIONS.get(output.media_type, ""))
        with contextlib.suppress(BlobMissing):
            return await self.blobs.get(key)
        return None

    async def _may_call(self, order: Order) -> bool:
        """Whether nobody was called yet for this replay; from now on somebody was."""
        async with transaction(self.pool) as connection:
            return bool(await queries.begin_call(connection, replay=order.replay_id))

    async def _make(self, lease: Leased, order: Order, work: Any) -> Generated:
        backend = self.backends[order.kind]
        async with self._told(order.replay_id) as tell:
            return await backend.generate(work, progress=tell, cancelled=lambda: lease.lost)

    @contextlib.asynccontextmanager
    async def _told(self, replay: UUID) -> AsyncIterator[Callable[[int, int], None]]:
        """Writes down which step it is at, now and then; what a database that is away does not hear, nobody needs."""
        steps = Steps()
        telling = asyncio.create_task(self._tell(replay, steps))
        try:
            yield steps.reached
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, replay: UUID, steps: "Steps") -> None:
        while True:
            await steps.news.wait()
            steps.news.clear()
            with contextlib.suppress(Unavailable):
                async with transaction(self.pool) as connection:
                    await queries.note_step(connection, replay=replay, step=steps.step, steps=steps.steps)
            await asyncio.sleep(TELL_EVERY)

    async def _failed(self, lease: Leased, order: Order, failure: BackendFailure) -> Outcome:
        """Again where that may help and cannot be billed twice."""
        word = Word(lease=lease, away=away_of(failure, call=order.call), busy=failure.busy, first=lease.epoch == 1)
        safe = not order.bills or failure.billed is False
        counted = not (failure.shared or failure.busy)
        if failure.retriable and not failure.uncertain and safe and lease.failures + counted < MAX_FAILURES:
            delay = max(2.0**lease.failures, failure.after or 0.0)
            return Outcome.again(failure.detail, delay=delay, failed=counted, record=Later(order=order, word=word))
        billed = None if failure.uncertain else failure.billed
        cost = order.price if billed else None if order.bills and billed is None else Decimal(0)
        return _over(
            Ended(
                order=order,
                reason=failure.reason,
                detail=failure.detail,
                cost=cost,
                currency=order.currency,
                price_list=order.price_list if billed else None,
                provider_request_id=failure.provider_request_id,
                word=word,
            )
        )


@dataclass(slots=True, eq=False)
class Steps:
    """How far it is."""

    step: int = 0
    steps: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def reached(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps
        self.news.set()


def exhausted(lease: Leased, why: str) -> Outcome:
    order = Order.model_validate_json(lease.payload)
    cost = None if order.bills else Decimal(0)
    return _over(Ended(order=order, reason=FailureReason.INTERNAL, detail=why, cost=cost))


async def give_up(connection: Connection, order: Order, why: str) -> Failed:
    """Ends a replay that nobody will make; what a call that was cut off cost is not known."""
    is_cut_off = bool(await queries.was_called(connection, replay=order.replay_id))
    failed = Failed(reason=FailureReason.UNROUTABLE, detail=why)
    if is_cut_off:
        failed = Failed(reason=FailureReason.BACKEND_UNAVAILABLE, detail=CUT_OFF)
    cost = None if is_cut_off else Decimal(0)
    await end(connection, Ended(order=order, reason=failed.reason, detail=failed.detail, cost=cost))
    return failed


async def record(transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
    """What came of replays, in the transaction that settles their work: fenced as that is."""
    found = [outcome.record for _, outcome in settled if isinstance(outcome.record, Ended | Later)]
    await hear(transaction, [each.word for each in found if each.word is not None])
    for each in found:
        if isinstance(each, Later):
            await queries.call_costs_nothing(transaction.connection, replay=each.order.replay_id)
        else:
            await end(transaction.connection, each)


async def end(connection: Connection, ended: Ended) -> None:
    await queries.end_replay(
        connection,
        replay=ended.order.replay_id,
        state="failed" if ended.verdict is None else "judged",
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
    )


class Claims:
    """Takes replays whose turn it is, as jobs are taken: by workspace, behind brakes and accounts that are away."""

    worker: Worker

    def __init__(self, kinds: Sequence[str], *, limits: Limits) -> None:
        self.kinds = list(kinds)
        self._limits = limits
        self.line = Line(kinds, shares=SHARES, limits=limits)

    async def claim(self, connection: Connection, many: int) -> list[Leased]:
        room = Room(calls=await accounts.rooms(connection, self.kinds))
        holder, lease = self.worker.holder, self.worker.lease_seconds
        rows = await self.line.take(connection, many, holder=holder, lease=lease, room=room)
        await self._limits.called(connection, [flow_of(row) for row in rows])
        return [Leased(**row) for row in rows]


def manifest_key(workspace: UUID, asset: UUID, sha256: str) -> str:
    return blob_key(workspace, asset, sha256, "json")


def _priced(order: Order, made: Generated) -> Decimal | None:
    return None if order.price is None else order.price * made.charges


def _over(ended: Ended) -> Outcome:
    name = "failed" if ended.verdict is None else "judged"
    return Outcome(name=name, record=ended, detail=ended.detail)
