"""From facts to rows: what each fact adds to which table. No I/O; a batch's rows are merged here, before any SQL.

The four facts of every job are read only as far as the tables need, which costs a third of decoding them; whatever is
rare is validated in full. Ids stay text: Postgres's driver takes them so, and no object is made of each.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from services.catalog.domain import STEP, Body, Standing, fold, standings
from services.catalog.ledger.words import seen_there
from services.catalog.review.machine import decision_of
from shared import ids
from shared.decoding import MARGIN, SetAside, decode_event, holds_nul
from shared.events import Event, File, PublicationState, Stage
from shared.events.envelope import event_type
from shared.topics import TOPICS, Topic

Row = tuple[Any, ...]

ONLY_READ = frozenset({"RequestAccepted", "PromptAssembled", "ImageGenerated", "ImageProcessed"})
KIND_OF = {topic.name: {event_type(event).encode(): event.__name__ for event in topic.events} for topic in TOPICS}
# A publication's states as they follow each other; what may still come back from is lower. A person may start it again
# from either of two, and either may come of that: the later word counts.
PUBLICATION_RANK = {
    PublicationState.PENDING: 0,
    PublicationState.UNCERTAIN: 2,
    PublicationState.FAILED: 2,
    PublicationState.DELIVERED: 3,
    PublicationState.SUPERSEDED: 4,
    PublicationState.WITHDRAWN: 5,
}


class Fact(NamedTuple):
    """What was said: its kind, its body to read from, its time, its trace, and its words as they came.

    It shows the bus no `traceparent`, so no span is opened for it: the ledger edge records none.
    """

    kind: str
    body: Body
    at: datetime
    trace: str | None
    text: str


def hear(record: Any, topic: Topic) -> Fact:
    """Reads one record.

    Raises:
        SetAside: unreadable, of a type the topic does not carry, or older than anything still deduplicated.
    """
    headers = dict(record.headers)
    kind = KIND_OF[topic.name].get(headers.get("ce_type", b""))
    if kind not in ONLY_READ:
        event = decode_event(record, topic)
        return Fact(
            type(event).__name__, _read(record.value), event.occurred_at, event.traceparent, record.value.decode()
        )
    body = _read(record.value)
    at = datetime.fromisoformat(body["occurred_at"])
    if topic.retention and record.timestamp / 1000 - at.timestamp() > (topic.retention + MARGIN).total_seconds():
        raise SetAside("stale", f"the fact of {at.isoformat()} is older than what is deduplicated")
    trace = headers.get("traceparent")
    return Fact(kind, body, at, trace.decode() if trace else None, record.value.decode())


def _read(value: bytes | None) -> dict[str, Any]:
    try:
        body = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise SetAside("bad_body", str(error)) from error
    missing = NEEDED - body.keys() if isinstance(body, dict) else NEEDED
    if missing:
        raise SetAside("bad_body", f"the body has no {', '.join(sorted(missing))}")
    if b"\\u0000" in (value or b"") and holds_nul(value or b""):
        raise SetAside("bad_body", "U+0000 cannot be stored as text")
    return body  # type: ignore[no-any-return]  # a dict, or everything would be missing


NEEDED = frozenset({"event_id", "occurred_at", "workspace", "cause_id"})


def heard(event: Event) -> Fact:
    """A fact the catalog itself made."""
    text = event.body()
    return Fact(type(event).__name__, orjson.loads(text), event.occurred_at, event.traceparent, text.decode())


def about(fact: Fact) -> str:
    """Whose life the fact belongs to: a job's, else a request's, else that of whatever it speaks of."""
    body = fact.body
    found: str | None = body.get("job_id") or body.get("request_id")
    return found or str(ids.derive("about", body["workspace"], fact.kind, body.get("item") or body.get("subject")))


def file_id(asset: UUID | str, sha256: str, recipe: str | None, rendition: str | None) -> UUID:
    """The derivative's id; the original is the derivative that no recipe made."""
    return ids.derive("derivative", asset, sha256, recipe or "", rendition or "original")


def id_of(asset: UUID, file: File) -> UUID:
    return file_id(asset, file.sha256, file.recipe, file.rendition)


def files_of(kind: str, body: Body) -> list[Body]:
    """Every file the fact names."""
    match kind:
        case "ImageProcessed":
            manifest = body.get("derivatives_manifest")
            return [body["original"], *body["files"], *body["proxies"], *([manifest] if manifest else ())]
        case "ImageGenerated":
            return [body["manifest"], *([body["mask"]] if body.get("mask") else ())]
        case _:
            return []


@dataclass(slots=True)
class Batch:
    """The rows of many facts, a list per table, in the order of the parameters of `queries.sql`."""

    facts: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    progress: dict[str, Row] = field(default_factory=dict)
    failures: dict[tuple[str, int], Row] = field(default_factory=dict)
    attempts: dict[str, Row] = field(default_factory=dict)
    assets: list[Fact] = field(default_factory=list)
    files: dict[UUID, Row] = field(default_factory=dict)
    publications: dict[str, Row] = field(default_factory=dict)
    measures: list[Row] = field(default_factory=list)
    rejections: list[Row] = field(default_factory=list)
    """Decisions that checks made."""
    cancels: list[Fact] = field(default_factory=list)
    retried: set[str] = field(default_factory=set)
    decided: list[tuple[str, str]] = field(default_factory=list)
    """Asset and version, of versions made anew that were decided on."""


def gather(facts: Iterable[Fact]) -> Batch:
    """Rows of a batch: one standing per job, one row per attempt, note and publication.

    A fact that is there twice is kept once by the ledger's key.
    """
    batch = Batch()
    for fact in facts:
        kind, body, at, trace, text = fact
        batch.standings += standings(kind, body, at)
        if kind != "JobProgressed":
            batch.facts.append((about(fact), body["event_id"], body["workspace"], kind, at, trace, text))
        if add := ADD.get(kind):
            add(batch, fact)
    batch.standings = fold(batch.standings)
    return batch


def _request(batch: Batch, fact: Fact) -> None:
    body, brief = fact.body, fact.body["brief"]
    batch.requests.append(
        (
            body["request_id"],
            body["workspace"],
            brief.get("batch_id"),
            brief.get("row_key"),
            brief.get("campaign"),
            brief["asset_type"],
            brief["template"],
            brief.get("product"),
            "\x1f".join(brief.get("skus", ())),
            brief.get("locale", "en"),
            brief.get("headline"),
            body.get("priority", "normal"),
            body["confidentiality"],
            body["variants"],
            body["principal"],
            fact.at,
            brief.get("parent_asset_id"),
        )
    )


def _progress(batch: Batch, fact: Fact) -> None:
    body = fact.body
    row = (
        body["job_id"],
        body["workspace"],
        body.get("run", 1),
        fact.at,
        STEP.get(Stage(body["stage"]), 0),
        body.get("waiting_on"),
        body.get("detail"),
        body.get("attempt", 1),
        body.get("step", 0),
        body.get("steps", 0),
        body.get("preview", 0),
    )
    known = batch.progress.get(row[0])
    if known is None or (known[2], known[3]) < (row[2], row[3]):
        batch.progress[row[0]] = row


def _generated(batch: Batch, fact: Fact) -> None:
    _attempts(batch, fact)
    _files(batch, fact)


def _processed(batch: Batch, fact: Fact) -> None:
    batch.assets.append(fact)
    _files(batch, fact)
    if measures := fact.body.get("measures"):
        batch.measures.append(_measures(fact, measures))


def _measures(fact: Fact, measures: Body) -> Row:
    body = fact.body
    brief, (x, y) = body["brief"], measures.get("centre") or (None, None)
    return (
        body["asset_id"],
        body["asset_version_id"],
        body["workspace"],
        body["job_id"],
        body.get("run", 1),
        fact.at,
        brief.get("campaign") or "",
        brief["asset_type"],
        measures["exposure"][0],
        measures.get("product_scale"),
        x,
        y,
        orjson.dumps(measures["colours"]).decode(),
    )


def _files(batch: Batch, fact: Fact) -> None:
    body = fact.body
    asset = body["asset_id"]
    for file in files_of(fact.kind, body):
        found = file_id(asset, file["sha256"], file.get("recipe"), file.get("rendition"))
        known = batch.files.get(found)
        if known is None or body["event_id"] < known[3]:
            batch.files[found] = (found, body["workspace"], body["job_id"], body["event_id"])


def _failed(batch: Batch, fact: Fact) -> None:
    body = fact.body
    row = (
        body["job_id"],
        body.get("run", 1),
        body["workspace"],
        body["request_id"],
        fact.at,
        body["stage"],
        body["reason"],
        body["detail"],
        body.get("remedy"),
    )
    known = batch.failures.get(row[:2])
    if known is None or row[4:8] < known[4:8]:
        batch.failures[row[:2]] = row
    _attempts(batch, fact)


def _attempts(batch: Batch, fact: Fact) -> None:
    for attempt in fact.body.get("attempts", ()):
        _attempt(batch, fact.body, attempt, settled=False)


def _settled(batch: Batch, fact: Fact) -> None:
    _attempt(batch, fact.body, fact.body["attempt"], settled=True)


def _attempt(batch: Batch, body: Body, attempt: Body, *, settled: bool) -> None:
    cost = attempt.get("cost")
    row = (
        body["job_id"],
        attempt["attempt_id"],
        body["workspace"],
        body.get("run", 1),
        attempt.get("number", 1),
        attempt["backend"],
        attempt["state"],
        None if cost is None else Decimal(cost),
        attempt.get("currency", "USD"),
        attempt.get("seconds"),
        settled,
        attempt.get("provider_request_id"),
        attempt.get("latency_seconds"),
        attempt.get("price_list"),
        attempt.get("device_seconds"),
    )
    known = batch.attempts.get(row[1])
    if known is None or (known[10], known[7] is not None) < (settled, cost is not None):
        batch.attempts[row[1]] = row


def _publication(batch: Batch, fact: Fact) -> None:
    body = fact.body
    state, location, detail = PUBLISHED[fact.kind](body)
    row = (
        body["publication_id"],
        body["workspace"],
        body["request_id"],
        body["job_id"],
        body["asset_version_id"],
        body["target"],
        PUBLICATION_RANK[state],
        state.value,
        location,
        detail,
        fact.at,
    )
    if known := batch.publications.get(row[0]):
        row = _both(known, row)
    batch.publications[row[0]] = row


def _both(known: Row, row: Row) -> Row:
    """The later word of a publication, and where it stands: what superseded it does not say that."""
    earlier, later = (known, row) if (known[6], known[10]) < (row[6], row[10]) else (row, known)
    withdrawn = later[7] == PublicationState.WITHDRAWN.value
    return (*later[:8], None if withdrawn else later[8] or earlier[8], *later[9:])


def _publication_failed(body: Body) -> tuple[PublicationState, None, str]:
    state = PublicationState.UNCERTAIN if body.get("uncertain") else PublicationState.FAILED
    return state, None, f"{body['detail']}: {body['remedy']}" if body.get("remedy") else body["detail"]


# State, location and detail that each fact says of a publication.
PUBLISHED: dict[str, Callable[[Body], tuple[PublicationState, str | None, str | None]]] = {
    "AssetPublished": lambda body: (PublicationState.DELIVERED, body["location"], seen_there(body)),
    "PublicationFailed": _publication_failed,
    "PublicationWithdrawn": lambda body: (PublicationState.WITHDRAWN, None, body["reason"]),
    "AssetSuperseded": lambda body: (PublicationState.SUPERSEDED, None, f"superseded by {body['superseded_by']}"),
}


def _rejected(batch: Batch, fact: Fact) -> None:
    _decided(batch, fact)
    if decision := decision_of(fact.body):
        batch.rejections.append((*decision, fact.at, fact.trace))


def _cancel(batch: Batch, fact: Fact) -> None:
    batch.cancels.append(fact)


def _decided(batch: Batch, fact: Fact) -> None:
    if fact.body.get("supersedes"):
        batch.decided.append((fact.body["asset_id"], fact.body["asset_version_id"]))


def _retried(batch: Batch, fact: Fact) -> None:
    batch.retried.add(fact.body["request_id"])


ADD: dict[str, Callable[[Batch, Fact], None]] = {
    "RequestAccepted": _request,
    "JobProgressed": _progress,
    "ImageGenerated": _generated,
    "ImageProcessed": _processed,
    "JobFailed": _failed,
    "JobCancelled": _attempts,
    "JobRetried": _retried,
    "AttemptSettled": _settled,
    "CancelRequested": _cancel,
    "AssetApproved": _decided,
    "AssetRejected": _rejected,
    **dict.fromkeys(PUBLISHED, _publication),
}
