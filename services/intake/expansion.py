"""Rows of a batch told apart (new, unchanged, at fault) and written down, one part of the file at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from services.intake.acceptance import Ask, digest_of, known_parents, known_sources, queries, take
from services.intake.batches import Row, Sheet, doubled, judged
from services.intake.domain import Origin
from services.intake.files import Part
from shared import ids
from shared.blobs import Blobs
from shared.events import Problem
from shared.library.offers import Offers
from shared.observability import context_of, start_span, traceparent_of
from shared.outbox import Transaction
from shared.postgres import Connection, Pool

ROWS_A_TURN = 50  # of the event loop: some 5 ms, then others may run


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a part's rows belong to."""

    batch_id: UUID
    workspace: UUID
    name: str
    principal: str
    upload: int
    sheet: Sheet
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One part read and judged, to be written with the settlement of its lease."""

    batch: Batch
    rows: Sequence[Row]
    next_part: int
    last: bool


def batch_of(row: Mapping[str, Any]) -> Batch:
    sheet = Sheet(
        format=row["format"],
        encoding=row["encoding"],
        delimiter=row["delimiter"],
        titles=orjson.loads(row["header"]),
        defaults=orjson.loads(row["defaults"]),
    )
    return Batch(
        batch_id=row["batch_id"],
        workspace=row["workspace"],
        name=row["name"],
        principal=row["principal"],
        upload=row["upload"],
        sheet=sheet,
        traceparent=row["traceparent"],
    )


async def judge(
    connection: Connection | Pool,
    blobs: Blobs,
    workspace: UUID,
    sheet: Sheet,
    part: Part,
    offers: Offers,
    *,
    first: bool,
) -> list[Row]:
    """Every row of the part read and resolved, a few at a time so that the process stays answering."""
    rows = [row async for row in _in_turns(sheet.rows(part, first=first))]
    asked = [row.asked for row in rows if row.asked]
    sources = await known_sources(connection, workspace, asked)
    parents = await known_parents(blobs, workspace, asked)
    return [judged(row, offers, sources, parents) async for row in _in_turns(rows)]


async def _in_turns(rows: Iterable[Row]) -> AsyncIterator[Row]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % ROWS_A_TURN == 0:
            await asyncio.sleep(0)


async def write(transaction: Transaction, chunk: Chunk) -> None:
    """One part in one transaction: requests, rows, faults and the batch's count, or nothing of them."""
    connection, batch = transaction.connection, chunk.batch
    locked = await queries.lock_batch(connection, batch_id=batch.batch_id)
    if locked["state"] != "expanding" or locked["upload"] != batch.upload:
        return  # cancelled while the part was being read
    sorted_out = await sort_out(connection, batch, chunk.rows, seen={})
    taken = await take(connection, batch.workspace, [ask for _, ask in sorted_out.new])
    kept: list[tuple[Row, str, UUID, bool]] = [
        (row, digest, request, False) for row, digest, request in sorted_out.same
    ]
    for (row, ask), verdict in zip(sorted_out.new, taken.verdicts, strict=True):
        if verdict.problems:
            sorted_out.faults.append((row, verdict.problems))
        else:
            kept.append((row, ask.digest, ask.origin.request_id, verdict.event is not None))
    await _keep(connection, batch, kept, sorted_out.faults)
    accepted = sum(1 for *_, is_new in kept if is_new)
    await queries.advance_batch(
        connection,
        batch_id=batch.batch_id,
        next_part=chunk.next_part,
        accepted=accepted,
        unchanged=len(kept) - accepted,
        refused=len(sorted_out.faults),
        jobs=sum(verdict.event.variants for verdict in taken.verdicts if verdict.event),
        state="expanded" if chunk.last else "expanding",
    )
    transaction.emit(*taken.events)


@dataclass(slots=True)
class SortedOut:
    """Rows told apart by what is known of their keys."""

    new: list[tuple[Row, Ask]]
    same: list[tuple[Row, str, UUID]]
    faults: list[tuple[Row, Sequence[Problem]]]


async def sort_out(connection: Any, batch: Batch, rows: Sequence[Row], *, seen: dict[str, int]) -> SortedOut:
    """New rows as asks, unchanged ones with the request they have, and faults: a key twice in one file is one.

    `seen`: key → line of the rows before these, as far as they are not written down yet; these rows are added to it.
    """
    keys = [row.key for row in rows if row.asked is not None]
    known = {row["row_key"]: row async for row in queries.rows_known(connection, batch_id=batch.batch_id, keys=keys)}
    found = SortedOut([], [], [])
    for row in rows:
        if row.key is not None and row.asked is not None:
            before = known.get(row.key)
            first = seen.get(row.key)
            if first is None and before is not None and before["upload"] == batch.upload and before["line"] != row.line:
                first = before["line"]
            if first is not None:
                found.faults.append((row, [doubled(row, first)]))
                continue
            seen[row.key] = row.line
            digest = digest_of(row.asked)
            if before is not None and before["digest"] == digest:
                found.same.append((row, digest, before["request_id"]))
                continue
            if row.resolved is not None:
                supersedes = before["request_id"] if before is not None else None
                found.new.append((row, _ask(batch, row, digest, supersedes)))
                continue
        found.faults.append((row, row.problems))
    return found


def _ask(batch: Batch, row: Row, digest: str, supersedes: UUID | None) -> Ask:
    assert row.key is not None
    request_id = ids.request_id_for_row(batch.workspace, batch.name, row.key, digest)
    origin = Origin(
        request_id=request_id,
        workspace=batch.workspace,
        principal=batch.principal,
        cause=request_id,
        kind="batch",
        id=row.key,
        batch_id=batch.batch_id,
        row_key=row.key,
        supersedes=supersedes,
        traceparent=_trace(batch),
    )
    return Ask(origin=origin, digest=digest, resolved=row.resolved)


def _trace(batch: Batch) -> str:
    """Each row starts a trace of its own, linked to the one its file came with."""
    span = start_span("row", parent=None, link=context_of(batch.traceparent))
    span.end()
    return traceparent_of(span)


async def _keep(
    connection: Any,
    batch: Batch,
    kept: Sequence[tuple[Row, str, UUID, bool]],
    faults: Sequence[tuple[Row, Sequence[Problem]]],
) -> None:
    if kept:
        await queries.keep_rows(
            connection,
            batch_id=batch.batch_id,
            workspace=batch.workspace,
            upload=batch.upload,
            keys=[row.key for row, *_ in kept],
            digests=[digest for _, digest, _, _ in kept],
            requests=[request for _, _, request, _ in kept],
            lines=[row.line for row, *_ in kept],
            changed=[is_new for *_, is_new in kept],
        )
    if faults:
        await queries.keep_faults(
            connection,
            batch_id=batch.batch_id,
            workspace=batch.workspace,
            upload=batch.upload,
            lines=[row.line for row, _ in faults],
            keys=[row.key and _storable(row.key) for row, _ in faults],
            cells=[orjson.dumps(list(row.cells)).decode() for row, _ in faults],
            problems=[
                orjson.dumps([problem.model_dump(exclude_none=True) for problem in problems]).decode()
                for _, problems in faults
            ],
        )


def _storable(text: str) -> str:
    """Postgres stores no U+0000; the row's report says that it was there."""
    return text.replace("\x00", "\ufffd")
