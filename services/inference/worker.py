"""The leased side: one attempt at one image, stored before the event that names it leaves.

Attempt written (with the claim) → backend → image, mask and manifest stored → settled with the attempt and the fact in
one transaction. Whatever is cancelled meanwhile ends so, and what it cost is booked all the same.
"""

import asyncio
import functools
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

import structlog

from services.inference.accounts import Word, away_delay, away_of, hear, was_tried_long
from services.inference.backends import Backend, BackendFailure, Generated, GenerationCancelled, Resumable, Source
from services.inference.backends.null import make_nothing
from services.inference.domain import (
    DOUBTFUL,
    LATE,
    UNCERTAIN_REMEDY,
    Cancelled,
    Ending,
    Failed,
    Job,
    Made,
    ended,
    generation_of,
    manifest_of,
    succeeded,
)
from services.inference.presence import Paces
from services.inference.progress import Progress, State
from services.inference.queue import Desk, Piece, attempt_columns, queries
from services.inference.routing import CALLING
from services.inference.sources import load_sources
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.crash import crash_point
from shared.errors import Rejected, Unavailable
from shared.events import Attempt, AttemptState, FailureReason, File, PromptAssembled, WaitingOn
from shared.leases import MAX_FAILURES, Leased, Outcome, buried
from shared.observability import ended_span
from shared.outages import Away
from shared.outbox import Transaction
from shared.retry import Backoff

log = structlog.get_logger()

ANOTHER_WORKER = "another worker"
STILL_TRUE = 10.0  # seconds: for so long what the routing table said at the claim holds for who is called then

T = TypeVar("T")
KeepId = Callable[[UUID, str], Awaitable[None]]


async def keep_no_id(attempt_id: UUID, provider_request_id: str) -> None:
    """Where no attempt is kept."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement writes beside the work: the attempt that ended, and the run's end if this is one."""

    piece: Piece
    attempt: Attempt | None
    ending: Ending | None
    traceparent: str | None = None
    word: Word | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """How one attempt went; `again`: trying once more may help, not before `after` seconds.

    `away`: the provider took no call, or asked for patience (`busy`), which is no failure of the job. `asked`: somebody
    was called at all, so that it says something of the provider.
    `shared`: it may have been another image's doing, so it does not count against this one.
    """

    attempt: Attempt
    ending: Ending
    again: bool = False
    after: float = 0.0
    away: Away | None = None
    busy: bool = False
    asked: bool = True
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes images on the backends of this process, by kind."""

    backends: Mapping[str, Backend]
    blobs: Blobs
    desk: Desk
    progress: Progress
    keep_id: KeepId = keep_no_id
    paces: Paces = field(default_factory=Paces)

    async def run(self, lease: Leased) -> Outcome:
        """One attempt; whatever becomes of it is an outcome."""
        with self.desk.at_work(lease) as piece:
            if piece.is_doubtful:
                return _over(Settled(piece, None, DOUBTFUL, lease.traceparent))
            if piece.barred is not None:
                return _over(Settled(piece, None, piece.barred, lease.traceparent))
            started = time.time_ns()
            try:
                tried = await self._try(lease, piece)
            finally:
                self.progress.forget(piece)
            seconds = round((time.time_ns() - started) / 1e9, 3)
            attempt = tried.attempt.model_copy(update={"seconds": seconds})
            parent = _attempt_span(lease, piece, attempt, started)
            _log(piece, attempt, tried.ending)
            if attempt.state is AttemptState.SUCCEEDED:
                self.paces.note(lease.workspace, piece.job, seconds)
            said = Word(lease=lease, away=tried.away, busy=tried.busy, first=piece.number == 1)
            word = said if tried.asked else None
            has_time = lease.failures + 1 < MAX_FAILURES if tried.away is None else not was_tried_long(piece.tried_for)
            if tried.again and (has_time or tried.shared):
                return self._again(lease, piece, tried, Settled(piece, attempt, None, word=word))
            return _over(Settled(piece, attempt, tried.ending, parent, word))

    async def _try(self, lease: Leased, piece: Piece) -> Tried:
        sources = await self._sources(lease, piece)
        return sources if isinstance(sources, Tried) else await self._make(lease, piece, sources)

    async def _make(self, lease: Leased, piece: Piece, sources: tuple[Source, ...]) -> Tried:
        def is_cancelled() -> bool:
            return lease.lost or piece.cancelled_by is not None

        def on_step(step: int, steps: int) -> None:
            self.progress.tell(State(piece, lease.traceparent, step, steps))

        job = piece.job
        if job.bills and piece.resumes is None and lease.may_be_anothers:  # who then says that it was called
            late = "its lease ran out before the call; nothing was sent"
            failure = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, late, retriable=True, billed=False)
            return replace(_tried(piece, failure), asked=False)
        try:
            backend = self.backends[job.kind]
            keep_id = functools.partial(self.keep_id, piece.attempt_id)
            work = generation_of(
                job, attempt_id=piece.attempt_id, keep_id=keep_id, sources=sources, earlier=piece.earlier
            )
            work = replace(work, preview=functools.partial(self.progress.show, piece))
            crash_point("call.before")
            if piece.resumes is not None:
                assert isinstance(backend, Resumable), "what is resumed is never called anew"
                generated = await backend.resume(work, piece.resumes, progress=on_step)
            else:
                generated = await backend.generate(work, progress=on_step, cancelled=is_cancelled)
            crash_point("call.after")
            lease.free()
        except GenerationCancelled as stopped:
            cost, used = _cost(job, billed=stopped.billed), stopped.device_seconds
            attempt = _attempt(piece, AttemptState.CANCELLED, cost=cost, device_seconds=used)
            return Tried(attempt, Cancelled(by=piece.cancelled_by or ANOTHER_WORKER))
        except BackendFailure as failure:
            return _tried(piece, failure)
        except Exception as error:
            log.exception("backend.failed", job=str(job.event.job_id), backend=job.backend)
            reason, words = FailureReason.INTERNAL, repr(error)[:500]
            return _tried(piece, BackendFailure(reason, words, retriable=True, uncertain=job.bills))
        attempt = succeeded(job, generated, attempt_id=piece.attempt_id, number=piece.number)
        try:
            return Tried(attempt, await self._store(lease, piece, generated))
        except asyncio.CancelledError:
            if not job.bills:
                raise
            # The process ends and takes the image with it, but what it cost is known.
            detail = "the image was made and paid for, and its worker was told to end before the store took it"
            return Tried(attempt, Failed(reason=FailureReason.UPLOAD_FAILED, detail=detail))

    async def _sources(self, lease: Leased, piece: Piece) -> tuple[Source, ...] | Tried:
        """The pictures to start from, or the end of an attempt without them.

        Waits for a store that is away as long as the lease is ours: that is no failure of the job. After a long wait
        whoever calls somebody is claimed anew, for the routing table may be another by now.
        """
        if not piece.job.event.sources or piece.resumes is not None:  # who is only asked for an image has them already
            return ()
        tries: list[float] = []

        def load() -> Awaitable[tuple[Source, ...]]:
            tries.append(time.monotonic())
            return load_sources(piece.job.event.workspace, piece.job.event.sources, self.blobs)

        try:
            sources = await self._once_the_store_is_there(
                lease,
                piece,
                load,
                event="sources.wait_for_store",
                detail="the object store is away; the pictures to start from are there",
            )
        except BackendFailure as failure:
            return replace(_tried(piece, failure), asked=False)
        if sources is None:
            attempt = _attempt(piece, AttemptState.CANCELLED, cost=Decimal(0))
            return Tried(attempt, Cancelled(by=piece.cancelled_by or ANOTHER_WORKER), asked=False)
        if piece.job.kind in CALLING and tries[-1] - tries[0] > STILL_TRUE:
            late = "the object store was away for long; nothing was sent, and its turn comes again"
            anew = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, late, retriable=True, billed=False, shared=True)
            return replace(_tried(piece, anew), away=None, asked=False)
        return sources

    async def _store(self, lease: Leased, piece: Piece, generated: Generated) -> Ending:
        """Waits for a store that is away as long as the lease is ours: the image has been paid for."""
        try:
            made = await self._once_the_store_is_there(
                lease,
                piece,
                lambda: self._put_all(piece, generated),
                event="image.waits_for_store",
                detail="the object store is away; the image is made and waits to be stored",
            )
        except Rejected as error:
            return Failed(reason=FailureReason.UPLOAD_FAILED, detail=f"the object store refused a file: {error}")
        return made or Cancelled(by=piece.cancelled_by or ANOTHER_WORKER)

    async def _once_the_store_is_there(
        self, lease: Leased, piece: Piece, use: Callable[[], Awaitable[T]], *, event: str, detail: str
    ) -> T | None:
        """What `use` gives; None where the lease is lost or the job cancelled before the store answers."""
        backoff = Backoff()
        while not lease.lost and piece.cancelled_by is None:
            try:
                return await use()
            except Unavailable as error:
                log.warning(event, job=str(piece.job.event.job_id), cause=str(error))
                self.progress.tell(State(piece, lease.traceparent, waiting_on=WaitingOn.RETRY, detail=detail))
                await backoff.wait()
        return None

    async def _put_all(self, piece: Piece, generated: Generated) -> Made:
        size = {"width": generated.width, "height": generated.height}
        original = _file(piece, "original", generated.image, generated.media_type).model_copy(update=size)
        words = manifest_of(piece.job, generated, sha256=original.sha256)
        manifest = _file(piece, "manifest", words, "application/json")
        stored = [(original, generated.image), (manifest, words)]
        mask = None
        if generated.mask is not None:
            mask = _file(piece, "mask", generated.mask, "image/png")
            stored.append((mask, generated.mask))
        await asyncio.gather(*(self.blobs.put(file.key, data, media_type=file.media_type) for file, data in stored))
        return Made(
            original=original, manifest=manifest, mask=mask, focal=generated.focal, live_area=generated.live_area
        )

    def _again(self, lease: Leased, piece: Piece, tried: Tried, settled: Settled) -> Outcome:
        ending = tried.ending
        assert isinstance(ending, Failed)
        if tried.away is None:
            delay = max(2.0**lease.failures, tried.after)
        else:
            delay = tried.after or away_delay(piece.number)
        detail = f"{ending.detail}; attempt {piece.number + 1} in {delay:.0f} s"
        on = WaitingOn.RATE if tried.busy else WaitingOn.RETRY
        self.progress.tell(State(piece, lease.traceparent, waiting_on=on, detail=detail))
        failed = tried.away is None and not tried.shared
        return Outcome.again(ending.detail, delay=delay, failed=failed, record=settled)

    def exhausted(self, lease: Leased, why: str) -> Outcome:
        """Work that was lost too often, or whose deadline passed while it waited."""
        piece = self.desk.take(lease)
        if piece.is_doubtful:
            return _over(Settled(piece, None, DOUBTFUL, lease.traceparent))
        last = next((attempt.reason for attempt in reversed(piece.earlier) if attempt.reason), FailureReason.INTERNAL)
        failed = Failed(reason=last if lease.failures >= MAX_FAILURES else FailureReason.INTERNAL, detail=why)
        if why == "expired":
            failed = LATE
        return _over(Settled(piece, None, failed, lease.traceparent))

    async def make_nothing(self, leases: Sequence[Leased]) -> list[Outcome]:
        """All work of the null backend at once."""
        return [_over(_nothing(self.desk.take(lease), lease.traceparent)) for lease in leases]


async def record(transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
    """Attempts and facts of a settlement, dated by its transaction. What was cancelled meanwhile ends so."""
    found = [outcome.record for _, outcome in settled if isinstance(outcome.record, Settled)]
    await hear(transaction, [each.word for each in found if each.word])
    await _end_attempts(transaction, [(each.piece.job.event, each.attempt) for each in found if each.attempt])
    over = [(each, each.ending) for each in found if each.ending is not None]
    if not over:
        return
    cancelled = await buried(transaction.connection, [each.piece.job.event for each, _ in over])
    at = await queries.current_time(transaction.connection)
    for each, ending in over:
        by = cancelled.get(each.piece.job.event.job_id)
        attempts = [*each.piece.earlier, *([each.attempt] if each.attempt else [])]
        transaction.emit(
            ended(
                each.piece.job,
                Cancelled(by=by) if by else ending,
                attempts=attempts,
                at=at,
                traceparent=each.traceparent,
            )
        )


async def _end_attempts(transaction: Transaction, attempts: Sequence[tuple[PromptAssembled, Attempt]]) -> None:
    if attempts:
        await queries.end_attempts(transaction.connection, **attempt_columns(attempts))


def _file(piece: Piece, name: str, data: bytes, media_type: str) -> File:
    sha256, extension = hashlib.sha256(data).hexdigest(), EXTENSIONS[media_type]
    key = blob_key(piece.job.event.workspace, piece.job.asset_id, sha256, extension)
    return File(name=f"{name}.{extension}", media_type=media_type, bytes=len(data), sha256=sha256, key=key)


def _over(settled: Settled) -> Outcome:
    ending = settled.ending
    detail = ending.detail if isinstance(ending, Failed) else None
    return Outcome(name=type(ending).__name__.lower(), record=settled, detail=detail)


def _nothing(piece: Piece, traceparent: str | None) -> Settled:
    attempt = _attempt(piece, AttemptState.SUCCEEDED, cost=Decimal(0))
    return Settled(piece, attempt, make_nothing(piece.job), traceparent)


def _tried(piece: Piece, failure: BackendFailure) -> Tried:
    billed = None if failure.uncertain else failure.billed
    attempt = _attempt(
        piece,
        AttemptState.UNCERTAIN if failure.uncertain else AttemptState.FAILED,
        failure.reason,
        cost=_cost(piece.job, billed=billed),
        provider_request_id=failure.provider_request_id or piece.resumes,
        device_seconds=failure.device_seconds,
    ).model_copy(
        update={
            "price_list": piece.job.price_list if billed else None,
            "latency_seconds": failure.latency_seconds,
        }
    )
    remedy = UNCERTAIN_REMEDY if failure.uncertain else failure.remedy
    # An uncertain attempt may have been billed: a person looks before anything is sent again.
    again = failure.retriable and not failure.uncertain
    ending = Failed(reason=failure.reason, detail=failure.detail, remedy=remedy)
    away = away_of(failure, call=piece.job.call)
    after = failure.after or 0.0
    return Tried(attempt, ending, again, after, away=away, busy=failure.busy, shared=failure.shared)


def _cost(job: Job, *, billed: bool | None) -> Decimal | None:
    return None if billed is None else job.price if billed else Decimal(0)


def _attempt(
    piece: Piece,
    state: AttemptState,
    reason: FailureReason | None = None,
    *,
    cost: Decimal | None = None,
    provider_request_id: str | None = None,
    device_seconds: float | None = None,
) -> Attempt:
    """What an attempt cost is not known unless somebody says so."""
    return Attempt(
        attempt_id=piece.attempt_id,
        number=piece.number,
        backend=piece.job.backend,
        state=state,
        cost=cost,
        currency=piece.job.currency,
        provider_request_id=provider_request_id,
        reason=reason,
        device_seconds=device_seconds,
    )


def _attempt_span(lease: Leased, piece: Piece, attempt: Attempt, started_ns: int) -> str | None:
    return ended_span(
        f"generate {piece.job.kind}",
        parent=lease.traceparent,
        started_ns=started_ns,
        attributes={
            "calotype.job": str(piece.job.event.job_id),
            "calotype.backend": piece.job.backend,
            "calotype.attempt": piece.number,
            "calotype.state": attempt.state.value,
        },
    )


def _log(piece: Piece, attempt: Attempt, ending: Ending) -> None:
    event = piece.job.event
    log.info(
        "attempt.ended",
        workspace=str(event.workspace),
        request=str(event.request_id),
        job=str(event.job_id),
        backend=piece.job.backend,
        attempt=piece.number,
        state=attempt.state.value,
        seconds=attempt.seconds,
        reason=attempt.reason and attempt.reason.value,
        ending=type(ending).__name__.lower(),
    )
