"""What consumer groups refused: listed until somebody replays or drops it, with who did and when.

A replay goes verbatim to the topic it came from, addressed to the one group that refused it. Dropping a record that a
job was waiting for ends that job as failed, and an ask for files anew likewise: nothing is left in between for ever.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from services.catalog.ledger.writing import Writing
from services.catalog.sql import arrays, queries
from services.catalog.stranded import stranded_asks, stranded_jobs
from shared import ids
from shared.audit import acted
from shared.crash import crash_point
from shared.decoding import CUT_HEADER, REPLAY_HEADER, header_text
from shared.errors import Rejected
from shared.events import DerivativesFailed, JobFailed
from shared.kafka import Producer, Record
from shared.observability import DEAD_LETTERS, IN_TROUBLE
from shared.outbox import Transaction
from shared.postgres import Connection, Pool, transaction
from shared.topics import Topic

ADDED = frozenset({"calotype-group", "calotype-reason", "calotype-detail", "calotype-origin"})


class DeadLetter(NamedTuple):
    """One refused record, in the order of the columns of `keep_dead_letters`."""

    dead_letter_id: UUID
    workspace: UUID | None
    topic: str
    consumer_group: str
    reason: str
    detail: str
    origin: str
    about: UUID | None
    request_id: UUID | None
    key: bytes | None
    value: bytes | None
    headers: str
    died_at: datetime


def read_dead_letter(record: Any, topic: Topic) -> DeadLetter:
    """Reads anything: a dead letter that could not be read would have nowhere left to go.

    What it is about stands in its headers; in the body too, where whoever wrote it left them out.
    """
    said = {name: header_text(value) for name, value in record.headers}
    group = said.get("calotype-group", "unknown")
    origin = said.get("calotype-origin", f"{record.topic}/{record.partition}/{record.offset}")
    body = _body(record.value) if "ce_jobid" not in said else {}
    request_id = _uuid(said.get("ce_requestid")) or _uuid(body.get("request_id"))
    return DeadLetter(
        dead_letter_id=ids.derive("dead-letter", origin, group),
        workspace=_uuid(said.get("ce_workspace")),
        topic=topic.name.removesuffix(".dlq"),
        consumer_group=group,
        reason=said.get("calotype-reason", "unknown"),
        detail=said.get("calotype-detail", ""),
        origin=origin,
        about=_uuid(said.get("ce_jobid")) or _uuid(body.get("job_id")) or request_id,
        request_id=request_id,
        key=record.key,
        value=record.value,
        headers=orjson.dumps([[name, _base64(value)] for name, value in record.headers if name not in ADDED]).decode(),
        died_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )


class Dropped(NamedTuple):
    """How many records, and what failed for want of them."""

    letters: int
    jobs: Sequence[JobFailed]
    asks: Sequence[DerivativesFailed]


async def count_trouble(connection: Connection) -> None:
    """For the metrics: refused records that nobody has ended, and publications that did not arrive, or may have."""
    rows = [row async for row in queries.open_dead_letters(connection)]
    DEAD_LETTERS.clear()
    for row in rows:
        DEAD_LETTERS.labels(row["consumer_group"], row["topic"]).set(row["letters"])
    rows = [row async for row in queries.publications_in_trouble(connection)]
    IN_TROUBLE.clear()
    for row in rows:
        IN_TROUBLE.labels(row["target"], row["state"]).set(row["publications"])


async def keep_dead_letters(running: Transaction, letters: Sequence[DeadLetter]) -> None:
    await queries.keep_dead_letters(running.connection, **arrays(queries.keep_dead_letters, letters))


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter with its record, for a person: text where it is text."""
    told = {name: value for name, value in row.items() if name not in {"record_key", "record_value", "headers"}}
    return told | {
        "key": _readable(row["record_key"]),
        "value": _readable(row["record_value"]),
        "headers": {name: _readable(_unbase64(value)) for name, value in orjson.loads(row["headers"])},
    }


async def replay(pool: Pool, producer: Producer, *, letters: Sequence[UUID], workspace: UUID, principal: str) -> int:
    """Sends the records again, each to the group that refused it; says how many.

    Raises:
        Unavailable: the broker is away; the letters stay open and can be replayed again.
        Rejected: one is not whole, or the broker refused it; it stays open, and the others were sent.
    """
    async with transaction(pool) as connection:
        found = queries.begin_replay(connection, ids=list(letters), workspace=workspace, principal=principal)
        rows = [row async for row in found]
        await _acted(connection, "dlq.replay", rows, workspace=workspace, principal=principal)
    whole: list[asyncpg.Record] = []
    cut: list[asyncpg.Record] = []
    for row in rows:
        (cut if _is_cut(row) else whole).append(row)
    crash_point("replay.before")
    refused = await producer.deliver([_again(row) for row in whole])
    crash_point("replay.after")
    sent = [row["dead_letter_id"] for place, row in enumerate(whole) if place not in refused]
    async with transaction(pool) as connection:
        await queries.end_replay(connection, ids=sent, principal=principal)
    if refused:
        place, why = next(iter(refused.items()))
        raise Rejected(
            "not_replayed",
            f"the broker refused it: {why!r}",
            str(whole[place]["dead_letter_id"]),
            "mend what the broker names and replay it again, or drop it",
        )
    if cut:
        first = cut[0]
        raise Rejected(
            "not_replayed",
            "it was too large for a dead letter, and only its beginning was kept",
            str(first["dead_letter_id"]),
            f"all of it lies at {first['origin']} while Kafka keeps it: send it mended from there, and drop the letter",
        )
    return len(sent)


async def drop(
    writing: Writing, *, letters: Sequence[UUID], workspace: UUID, principal: str, note: str | None
) -> Dropped:
    """Gives the records up; jobs, and new versions of assets, that waited for one of them fail."""
    found = queries.drop_dead_letters(
        writing.connection, ids=list(letters), workspace=workspace, principal=principal, note=note
    )
    dropped = [row async for row in found]
    await _acted(writing.connection, "dlq.drop", dropped, workspace=workspace, principal=principal, note=note)
    jobs = await stranded_jobs(writing.connection, dropped, principal=principal)
    asks = await stranded_asks(writing.connection, dropped, principal=principal)
    await writing.tell([*jobs, *asks])
    return Dropped(len(dropped), jobs, asks)


async def _acted(
    connection: Any, action: str, letters: Sequence[Any], *, workspace: UUID, principal: str, **more: Any
) -> None:
    if letters:
        told = {"dead_letters": [letter["dead_letter_id"] for letter in letters]} | more
        subject = f"{len(letters)} dead letters"
        await acted(connection, by=principal, workspace=workspace, action=action, subject=subject, detail=told)


def _is_cut(row: asyncpg.Record) -> bool:
    return any(name == CUT_HEADER for name, _ in orjson.loads(row["headers"]))


def _again(row: asyncpg.Record) -> Record:
    topic, _, _ = row["origin"].rsplit("/", 2)
    headers = [(name, _unbase64(value)) for name, value in orjson.loads(row["headers"])]
    return Record(
        topic, row["record_key"], [*headers, (REPLAY_HEADER, row["consumer_group"].encode())], row["record_value"]
    )


def _readable(value: bytes | None) -> str | dict[str, str] | None:
    """Text, or what it is in base64 where it is not."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": _base64(value)}


def _base64(value: bytes | None) -> str:
    return base64.b64encode(value or b"").decode()


def _unbase64(value: str) -> bytes:
    return base64.b64decode(value)


def _body(value: bytes | None) -> dict[str, Any]:
    try:
        body = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
