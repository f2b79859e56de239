"""The leased side: fetch the original, have a child make the files, store them, settle.

Files are stored before the event that names them, under keys that are their hashes, so a second try after a crash
stores the same bytes again and nothing twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from services.postprocess.children import ChildDied, Children, OutOfMemory, PictureRefused
from services.postprocess.domain import Asked, Cancelled, Ending, Failed, Processed, ended, ended_anew
from services.postprocess.files import Stored, complete
from services.postprocess.handler import ANEW, queries
from services.postprocess.inputs import fetched
from services.postprocess.ordering import needed, order
from services.postprocess.rulings import ruled
from services.postprocess.signing import Chain
from services.postprocess.twins import TWIN, Twins, unseen, wants_twins
from shared.blobs import Blobs
from shared.errors import BlobMissing, Rejected
from shared.events import (
    DerivativesRequested,
    Event,
    FailureReason,
    ImageGenerated,
    JobProgressed,
    JobStatus,
    Stage,
    Verdict,
)
from shared.leases import MAX_FAILURES, Leased, Outcome, buried
from shared.library.documents import Brand, Recipe, Rubric
from shared.library.pinned import Library
from shared.observability import ended_span, log_context
from shared.outbox import Transaction

log = structlog.get_logger()

Progress = Callable[[JobProgressed], None]
T = TypeVar("T")


class GivenUp(Exception):
    """An image that cannot be processed; trying again would not help."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.detail)
        self.failed = failed


@dataclass(frozen=True, slots=True)
class Finished:
    """What a settlement needs to write its fact."""

    event: ImageGenerated
    ending: Ending
    anew: DerivativesRequested | None = None


@dataclass(frozen=True, kw_only=True)
class Processor:
    """How one generated image becomes an asset version."""

    blobs: Blobs
    library: Library
    children: Children
    progress: Progress
    proxies: Sequence[int]
    chain: Chain | None = None
    twins: Twins | None = None

    async def run(self, lease: Leased) -> Outcome:
        """Raises Unavailable while the store is away, or who signs; that costs the work nothing."""
        asked, started_ns = asked_of(lease), time.time_ns()
        event = asked.image
        with log_context(workspace=event.workspace, request=event.request_id, job=event.job_id):
            if asked.anew is None:  # else its job has ended, and is not running again
                self.progress(_started(event, lease))
            try:
                ending: Ending = await self._process(asked)
            except GivenUp as given_up:
                ending = given_up.failed
            except (ChildDied, OutOfMemory) as error:
                log.warning("image.attempt_failed", cause=str(error), attempt=lease.failures + 1)
                if lease.failures + 1 < MAX_FAILURES:
                    return Outcome.again(str(error), delay=2.0**lease.failures, failed=True)
                ending = _broken(error)
            seconds = (time.time_ns() - started_ns) / 1e9
            log.info("image.ended", ending=_name(ending), seconds=round(seconds, 3))
        traceparent = _span(lease, event, ending, started_ns=started_ns)
        return _finished(asked, ending, traceparent=traceparent)

    async def _process(self, work: Asked) -> Processed:
        event = work.image
        recipes, rubric, brand = await self._documents(event)
        reading = self.blobs.get(event.original.key)
        original = await _read(reading, "the original", otherwise=FailureReason.CORRUPT_OUTPUT)
        inputs_at = needed(event, recipes, brand, rubric)
        inputs = await fetched(self.blobs, inputs_at)
        asked = order(
            event,
            recipes,
            proxies=self.proxies,
            brand=brand,
            rubric=rubric,
            inputs=list(inputs.pictures),
            missing=inputs.missing,
            chain=self.chain,
        )
        try:
            development = await self.children.develop(original, asked, list(inputs.pictures.values()))
        except PictureRefused as refused:
            raise GivenUp(_refused(refused)) from refused
        blocking = frozenset(rubric.blocking_checks)
        processed, files = complete(event, development, blocking=blocking, asked=asked, inputs=inputs_at)
        await self._store(files)
        # Made anew it has the same original, which was judged when it was young: those that came after are no twins.
        twins = [] if work.anew else await self._twins(event, processed, rubric)
        found = [*processed.checks, *twins]
        return replace(processed, checks=ruled(found, rubric))

    async def _twins(self, event: ImageGenerated, processed: Processed, rubric: Rubric) -> list[Verdict]:
        """After the files are stored: what is known from here on is there."""
        if not wants_twins(rubric):
            return []
        if self.twins is None or processed.measures is None:
            return [unseen()]
        return [await self.twins.judge(event, processed.measures, limit=rubric.limits.get(TWIN))]

    async def _documents(self, event: ImageGenerated) -> tuple[dict[str, Recipe], Rubric, Brand | None]:
        workspace = event.workspace
        internal = FailureReason.INTERNAL
        reading = self.library.get(Rubric, workspace, event.rubric)
        rubric = await _read(reading, event.rubric.label, otherwise=internal)
        recipes = {
            channel: await _read(self.library.get(Recipe, workspace, pin), pin.label, otherwise=internal)
            for channel, pin in event.recipes.items()
        }
        if event.brand is None:  # of an image made before brands travelled with it
            return recipes, rubric, None
        brand = await _read(self.library.get(Brand, workspace, event.brand), event.brand.label, otherwise=internal)
        return recipes, rubric, brand

    async def _store(self, files: Sequence[Stored]) -> None:
        puts = (self.blobs.put(each.file.key, each.data, media_type=each.file.media_type) for each in files)
        try:
            await asyncio.gather(*puts)
        except Rejected as error:
            raise GivenUp(
                Failed(
                    reason=FailureReason.UPLOAD_FAILED,
                    detail=f"the object store refused a file: {error}",
                    remedy="an operator looks at the object store, then runs the job again",
                )
            ) from error

    async def record(self, transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
        """Writes the facts of a settlement, with its transaction's time. What was cancelled meanwhile ends so."""
        finished = [(lease, outcome.record) for lease, outcome in settled if isinstance(outcome.record, Finished)]
        if not finished:
            return
        cancelled = await buried(transaction.connection, [lease for lease, _ in finished])
        at = await queries.current_time(transaction.connection)
        for _, made in finished:
            by = cancelled.get(made.event.job_id) if made.anew is None else None
            transaction.emit(_fact(made, Cancelled(by=by) if by else made.ending, at=at))


def exhausted(lease: Leased, why: str) -> Outcome:
    """How work ends that failed or was lost too often, or whose deadline passed."""
    if why == "expired":
        failed = Failed(
            reason=FailureReason.EXPIRED,
            detail="its deadline passed before its files were made",
            remedy="ask again with a later deadline",
        )
    else:
        failed = Failed(
            reason=FailureReason.INTERNAL, detail=why, remedy="an operator reads the log and runs the job again"
        )
    return _finished(asked_of(lease), failed, traceparent=lease.traceparent)


def asked_of(lease: Leased) -> Asked:
    if lease.kind == ANEW:
        anew = DerivativesRequested.model_validate_json(lease.payload)
        return Asked(image=anew.image, anew=anew)
    return Asked(image=ImageGenerated.model_validate_json(lease.payload))


def _fact(made: Finished, ending: Ending, *, at: datetime) -> Event:
    if made.anew is None or isinstance(ending, Cancelled):
        return ended(made.event, ending, at=at)
    return ended_anew(made.anew, ending, at=at)


def _name(ending: Ending) -> str:
    return type(ending).__name__.lower()


def _span(lease: Leased, event: ImageGenerated, ending: Ending, *, started_ns: int) -> str | None:
    attributes = {"calotype.job": str(event.job_id), "calotype.attempt": lease.epoch, "calotype.ending": _name(ending)}
    return ended_span("process image", parent=lease.traceparent, started_ns=started_ns, attributes=attributes)


def _finished(asked: Asked, ending: Ending, *, traceparent: str | None) -> Outcome:
    """What is told hangs below `traceparent`."""
    below = {"traceparent": traceparent}
    anew = asked.anew.model_copy(update=below) if asked.anew else None
    detail = ending.detail if isinstance(ending, Failed) else None
    return Outcome(
        name=_name(ending), record=Finished(asked.image.model_copy(update=below), ending, anew), detail=detail
    )


def _started(event: ImageGenerated, lease: Leased) -> JobProgressed:
    return JobProgressed.of(
        cause_id=f"{event.event_id}/{lease.epoch}",
        occurred_at=datetime.now(UTC),
        workspace=event.workspace,
        request_id=event.request_id,
        job_id=event.job_id,
        run=event.run,
        stage=Stage.POSTPROCESS,
        status=JobStatus.RUNNING,
        attempt=lease.failures + 1,
        traceparent=lease.traceparent,
    )


async def _read(reading: Awaitable[T], what: str, *, otherwise: FailureReason) -> T:
    """What is read, or why the job ends: it is not there, or it is there and no good (`otherwise`)."""
    try:
        return await reading
    except BlobMissing as error:
        raise GivenUp(
            Failed(
                reason=FailureReason.MISSING_SOURCE,
                detail=f"{what} is not in the object store: {error.key}",
                remedy="an operator restores it from a backup, then runs the job again",
            )
        ) from error
    except Rejected as error:
        raise GivenUp(
            Failed(
                reason=otherwise,
                detail=f"{what} cannot be read: {error}",
                remedy="an operator restores it from a backup, then runs the job again",
            )
        ) from error


def _refused(refused: PictureRefused) -> Failed:
    if refused.code == "recipe":
        return Failed(
            reason=FailureReason.INVALID_REQUEST,
            detail=refused.detail,
            remedy="publish a corrected version of the recipe and ask again",
        )
    return Failed(
        reason=FailureReason.CORRUPT_OUTPUT,
        detail=f"the backend's picture was refused as {refused.code}: {refused.detail}",
        remedy="run the job again; if it stays so, look at the backend",
    )


def _broken(error: Exception) -> Failed:
    memory = isinstance(error, OutOfMemory)
    return Failed(
        reason=FailureReason.OUT_OF_MEMORY if memory else FailureReason.INTERNAL,
        detail=f"{MAX_FAILURES} attempts failed, the last one because: {error}",
        remedy="raise CALOTYPE_CHILD_MEMORY_MB" if memory else "an operator looks at the original and the log",
    )
