"""From facts to rows: what each fact adds to which table. No I/O; a batch's rows are merged here, before any SQL."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from services.catalog.domain import STEP, Standing, fold, standings
from shared import ids
from shared.decoding import decode_event
from shared.events import (
    AssetPublished,
    AssetSuperseded,
    Attempt,
    AttemptSettled,
    CancelRequested,
    Event,
    File,
    ImageGenerated,
    ImageProcessed,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobRetried,
    PublicationFailed,
    PublicationState,
    PublicationWithdrawn,
    RequestAccepted,
)
from shared.topics import Topic

Row = tuple[Any, ...]

# A publication's states as they follow each other; what may still come back from is lower.
PUBLICATION_RANK = {
    PublicationState.PENDING: 0,
    PublicationState.UNCERTAIN: 1,
    PublicationState.FAILED: 2,
    PublicationState.DELIVERED: 3,
    PublicationState.SUPERSEDED: 4,
    PublicationState.WITHDRAWN: 5,
}


class Heard(NamedTuple):
    """A fact, and its words as they came: the ledger keeps those."""

    event: Event
    body: str


def hear(record: Any, topic: Topic) -> Heard:
    """Decodes one record. It shows the bus no `traceparent`, so no span is opened: the ledger edge records none."""
    event = decode_event(record, topic)
    return Heard(event, record.value.decode())


def heard(event: Event) -> Heard:
    """A fact the catalog itself made."""
    return Heard(event, event.body().decode())


def about(event: Event) -> UUID:
    """Whose life the fact belongs to: a job's, else a request's, else that of whatever it speaks of."""
    subject: UUID | None = getattr(event, "job_id", None) or getattr(event, "request_id", None)
    return subject or ids.derive("about", event.workspace, type(event).__name__, getattr(event, event.SUBJECT))


def file_id(asset: UUID, file: File) -> UUID:
    """The derivative's id; the original is the derivative that no recipe made."""
    return ids.derivative_id(asset, file.sha256, file.recipe or "", file.rendition or "original")


def files_of(event: Event) -> list[tuple[UUID, File]]:
    """Every file the fact names, by id."""
    match event:
        case ImageProcessed():
            manifest = [event.derivatives_manifest] if event.derivatives_manifest else []
            files = [event.original, *event.files, *event.proxies, *manifest]
        case ImageGenerated():
            files = [event.manifest, *([event.mask] if event.mask else [])]
        case _:
            return []
    return [(file_id(event.asset_id, file), file) for file in files]


@dataclass(slots=True)
class Batch:
    """The rows of many facts, a list per table, in the order of the columns of `queries.sql`."""

    facts: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    progress: dict[UUID, Row] = field(default_factory=dict)
    failures: list[Row] = field(default_factory=list)
    attempts: dict[UUID, Row] = field(default_factory=dict)
    assets: list[ImageProcessed] = field(default_factory=list)
    files: list[Row] = field(default_factory=list)
    publications: dict[UUID, Row] = field(default_factory=dict)
    cancels: list[CancelRequested] = field(default_factory=list)
    retried: set[UUID] = field(default_factory=set)


def gather(many: Iterable[Heard]) -> Batch:
    """Rows of a batch: each fact once, one standing per job, one row per attempt and publication."""
    batch = Batch()
    for event_id, (event, body) in {h.event.event_id: h for h in many}.items():
        batch.standings += standings(event)
        if not isinstance(event, JobProgressed):
            batch.facts.append(
                (
                    about(event),
                    event_id,
                    event.workspace,
                    getattr(event, "request_id", None),
                    type(event).__name__,
                    event.occurred_at,
                    event.traceparent,
                    body,
                )
            )
        if add := ADD.get(type(event)):
            add(batch, event)
    batch.standings = fold(batch.standings)
    return batch


def _request(batch: Batch, event: RequestAccepted) -> None:
    brief = event.brief
    batch.requests.append(
        (
            event.request_id,
            event.workspace,
            brief.batch_id,
            brief.row_key,
            brief.campaign,
            brief.asset_type,
            brief.template,
            brief.product,
            "\x1f".join(brief.skus),
            brief.locale,
            brief.headline,
            event.priority.value,
            event.confidentiality.value,
            event.variants,
            event.principal,
            event.occurred_at,
        )
    )


def _progress(batch: Batch, event: JobProgressed) -> None:
    row = (
        event.job_id,
        event.workspace,
        event.run,
        event.occurred_at,
        STEP[event.stage],
        event.waiting_on.value if event.waiting_on else None,
        event.detail,
        event.attempt,
        event.step,
        event.steps,
    )
    known = batch.progress.get(event.job_id)
    if known is None or (known[2], known[3]) < (event.run, event.occurred_at):
        batch.progress[event.job_id] = row


def _generated(batch: Batch, event: ImageGenerated) -> None:
    _attempts(batch, event)
    _files(batch, event)


def _processed(batch: Batch, event: ImageProcessed) -> None:
    batch.assets.append(event)
    _files(batch, event)


def _files(batch: Batch, event: ImageGenerated | ImageProcessed) -> None:
    batch.files += [(found, event.workspace, event.job_id, event.event_id) for found, _ in files_of(event)]


def _failed(batch: Batch, event: JobFailed) -> None:
    batch.failures.append(
        (
            event.job_id,
            event.run,
            event.workspace,
            event.request_id,
            event.occurred_at,
            event.stage.value,
            event.reason.value,
            event.detail,
            event.remedy,
        )
    )
    _attempts(batch, event)


def _attempts(batch: Batch, event: ImageGenerated | JobFailed | JobCancelled) -> None:
    for attempt in event.attempts:
        _attempt(batch, event, attempt, settled=False)


def _settled(batch: Batch, event: AttemptSettled) -> None:
    _attempt(batch, event, event.attempt, settled=True)


def _attempt(
    batch: Batch, event: ImageGenerated | JobFailed | JobCancelled | AttemptSettled, attempt: Attempt, *, settled: bool
) -> None:
    row = (
        event.job_id,
        attempt.attempt_id,
        event.workspace,
        event.run,
        attempt.number,
        attempt.backend,
        attempt.state.value,
        attempt.cost,
        attempt.currency,
        attempt.seconds,
        settled,
    )
    known = batch.attempts.get(attempt.attempt_id)
    if known is None or (known[10], known[7] is not None) < (settled, attempt.cost is not None):
        batch.attempts[attempt.attempt_id] = row


Published = AssetPublished | PublicationFailed | PublicationWithdrawn | AssetSuperseded


def _publication(batch: Batch, event: Published) -> None:
    state, location, detail = PublicationState.DELIVERED, None, None
    match event:
        case AssetPublished():
            location = event.location
        case PublicationFailed():
            state = PublicationState.UNCERTAIN if event.uncertain else PublicationState.FAILED
            detail = f"{event.detail}: {event.remedy}" if event.remedy else event.detail
        case PublicationWithdrawn():
            state, detail = PublicationState.WITHDRAWN, event.reason
        case AssetSuperseded():
            state, detail = PublicationState.SUPERSEDED, f"superseded by {event.superseded_by}"
    row = (
        event.publication_id,
        event.workspace,
        event.request_id,
        event.job_id,
        event.asset_version_id,
        event.target,
        PUBLICATION_RANK[state],
        state.value,
        location,
        detail,
        event.occurred_at,
    )
    known = batch.publications.get(event.publication_id)
    if known is None or (known[6], known[10]) < (row[6], row[10]):
        batch.publications[event.publication_id] = row


def _cancel(batch: Batch, event: CancelRequested) -> None:
    batch.cancels.append(event)


def _retried(batch: Batch, event: JobRetried) -> None:
    batch.retried.add(event.request_id)


ADD: dict[type[Event], Callable[[Batch, Any], None]] = {
    RequestAccepted: _request,
    JobProgressed: _progress,
    ImageGenerated: _generated,
    ImageProcessed: _processed,
    JobFailed: _failed,
    JobCancelled: _attempts,
    JobRetried: _retried,
    AttemptSettled: _settled,
    AssetPublished: _publication,
    PublicationFailed: _publication,
    PublicationWithdrawn: _publication,
    AssetSuperseded: _publication,
    CancelRequested: _cancel,
}
