"""What becomes of a generated image: an asset version, a named failure or a cancelled job. No I/O, no clock.

An ending says how a piece of work ended; the event is made of it in the transaction that settles it, with that
transaction's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.postprocess.names import file_name
from shared import ids
from shared.events import (
    DerivativesFailed,
    DerivativesRequested,
    FailureReason,
    File,
    ImageGenerated,
    ImageProcessed,
    JobCancelled,
    JobFailed,
    Measures,
    Stage,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """The asset version is complete and stored."""

    original: File
    files: Sequence[File] = ()
    proxies: Sequence[File] = ()
    checks: Sequence[Verdict] = ()
    measures: Measures | None = None
    manifest: File | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    reason: FailureReason
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    by: str


Ending = Processed | Failed | Cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What files are to be made of: `image`; `anew` where somebody asked for an approved version's by other recipes."""

    image: ImageGenerated
    anew: DerivativesRequested | None = None


def needs_pixels(event: ImageGenerated, *, proxies: Sequence[int], signs: bool = False) -> bool:
    """Whether anything is made of the original at all: without channels, proxies and a key it passes as it is."""
    return bool(event.recipes or proxies or signs)


def ended(event: ImageGenerated, ending: Ending, *, at: datetime) -> ImageProcessed | JobFailed | JobCancelled:
    """The fact that leaves: caused by the generated image, true since `at`."""
    same = _about(event, at=at)
    match ending:
        case Failed():
            return JobFailed.of(
                **same, stage=Stage.POSTPROCESS, reason=ending.reason, detail=ending.detail, remedy=ending.remedy
            )
        case Cancelled():
            return JobCancelled.of(**same, stage=Stage.POSTPROCESS, by=ending.by)
        case Processed():
            return _processed(event, ending, at=at)


def ended_anew(
    asked: DerivativesRequested, ending: Processed | Failed, *, at: datetime
) -> ImageProcessed | DerivativesFailed:
    """The fact that leaves when an approved version's files were asked for by other recipes.

    Its job has long ended and is none the wiser: what fails here is not the job.
    """
    # As if the ask were the fact of the image: it is the cause, and its trace is gone on with.
    image = asked.image.model_copy(update={"event_id": asked.event_id, "traceparent": asked.traceparent})
    if isinstance(ending, Processed):
        return _processed(image, ending, at=at, supersedes=asked.supersedes)
    return DerivativesFailed.of(
        **_about(image, at=at),
        asset_id=asked.asset_id,
        supersedes=asked.supersedes,
        reason=ending.reason,
        detail=ending.detail,
        remedy=ending.remedy,
    )


def _processed(
    event: ImageGenerated, ending: Processed, *, at: datetime, supersedes: UUID | None = None
) -> ImageProcessed:
    hashes = [file.identity for file in ending.files]
    return ImageProcessed.of(
        **_about(event, at=at),
        asset_id=event.asset_id,
        asset_version_id=ids.asset_version_id(
            event.asset_id, ending.original.sha256, hashes, asked=event.event_id if supersedes else None
        ),
        brief=event.brief,
        original=ending.original,
        files=list(ending.files),
        proxies=list(ending.proxies),
        checks=list(ending.checks),
        measures=ending.measures,
        derivatives_manifest=ending.manifest,
        focal=event.focal,
        source_type=event.source_type,
        rubric=event.rubric,
        alt_text=event.alt_text,
        caption=event.caption,
        supersedes=supersedes,
    )


def _about(event: ImageGenerated, *, at: datetime) -> dict[str, Any]:
    return {
        "cause_id": event.event_id,
        "occurred_at": at,
        "workspace": event.workspace,
        "client_reference": event.client_reference,
        "traceparent": event.traceparent,
        "request_id": event.request_id,
        "job_id": event.job_id,
        "run": event.run,
        "confidentiality": event.confidentiality,
    }


def untouched(event: ImageGenerated) -> Processed:
    """The asset version of an image nothing is made of: its original, under a name for people."""
    extension = event.original.key.rpartition(".")[2]
    name = file_name(event.brief, asset_id=event.asset_id, rendition="original", extension=extension)
    return Processed(original=event.original.model_copy(update={"name": name}))
