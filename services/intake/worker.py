"""Slow work of intake: the parts of a batch file become requests, one lease and one transaction each; cancelling it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from services.intake.acceptance import Ask, digest_of, queries, take
from services.intake.batches import Row, Sheet, doubled, judged
from services.intake.cancelling import cancel
from services.intake.domain import Origin
from services.intake.files import Part
from services.intake.offers import Offers
from services.intake.shelves import Shelves
from shared import ids
from shared.blobs import Blobs, blob_key
from shared.errors import Rejected
from shared.events import Problem
from shared.leases import Leased, NewWork, Outcome
from shared.observability import context_of, start_span, traceparent_of
from shared.outbox import Transaction
from shared.postgres import Pool, unavailable_when_away

EXPAND = "expand-batch"
CANCEL = "cancel-batch"
KINDS = (EXPAND, CANCEL)
CANCEL_AT_ONCE = 1000
ROWS_A_TURN = 50  # of the event loop: some 5 ms, then others may run


def expansion(batch_id: UUID, upload: int, workspace: UUID, *, traceparent: str | None) -> NewWork:
    return NewWork(
        work_id=ids.derive("expansion", batch_id, upload),
        kind=EXPAND,
        workspace=workspace,
        traceparent=traceparent,
        payload=orjson.dumps({"batch_id": str(batch_id), "upload": upload}).decode(),
    )


def cancellation(batch_id: UUID, upload: int, workspace: UUID, *, by: str, reason: str | None) -> NewWork:
    payload = {"batch_id": str(batch_id), "by": by, "reason": reason}
    return NewWork(
        work_id=ids.derive("batch-cancellation", batch_id, upload),
        kind=CANCEL,
        workspace=workspace,
        priority=1,
        payload=orjson.dumps(payload).decode(),
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    batch_id: UUID
    state: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancels:
    workspace: UUID
    requests: Sequence[UUID]
    by: str
    reason: str | None


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


class Expander:
    """`run` reads and judges outside any transaction; `record` writes inside the one that settles the lease."""

    def __init__(self, pool: Pool, blobs: Blobs, shelves: Shelves) -> None:
        self._pool = pool
        self._blobs = blobs
        self._shelves = shelves

    async def run(self, lease: Leased) -> Outcome:
        payload = orjson.loads(lease.payload)
        async with unavailable_when_away():
            found = await queries.batch(self._pool, batch_id=UUID(payload["batch_id"]))
        if lease.kind == CANCEL:
            return await self._cancel(lease, payload)
        if found["state"] != "expanding" or found["upload"] != payload["upload"]:
            return Outcome(name="dropped", detail=f"the batch is {found['state']}")
        try:
            chunk = await self._read(batch_of(found), orjson.loads(found["parts"]), found["next_part"])
        except Rejected as error:
            return Outcome(name="failed", record=End(batch_id=found["batch_id"], state="failed", detail=str(error)))
        if chunk.last:
            return Outcome(name="expanded", record=chunk)
        return Outcome.again("the next part", delay=0.0, record=chunk)

    async def _read(self, batch: Batch, parts: Sequence[tuple[str, int]], place: int) -> Chunk:
        sha256, first_line = parts[place]
        key = blob_key(batch.workspace, batch.batch_id, sha256, batch.sheet.format)
        part = Part(await self._blobs.get(key), first_line)
        offers = await self._shelves.of(self._pool, batch.workspace)
        rows = await judge(batch.sheet, part, offers, first=place == 0)
        return Chunk(batch=batch, rows=rows, next_part=place + 1, last=place + 1 == len(parts))

    async def _cancel(self, lease: Leased, payload: Mapping[str, Any]) -> Outcome:
        batch_id = UUID(payload["batch_id"])
        async with unavailable_when_away():
            rows = queries.requests_to_cancel(self._pool, batch_id=batch_id, many=CANCEL_AT_ONCE)
            requests = [row["request_id"] async for row in rows]
        if not requests:
            return Outcome(name="cancelled", record=End(batch_id=batch_id, state="cancelled"))
        some = Cancels(workspace=lease.workspace, requests=requests, by=payload["by"], reason=payload["reason"])
        return Outcome.again("further requests", delay=0.0, record=some)

    async def record(self, transaction: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
        for _, outcome in settled:
            match outcome.record:
                case Chunk() as chunk:
                    await write(transaction, chunk)
                case Cancels() as some:
                    events = await cancel(
                        transaction.connection,
                        some.workspace,
                        [(request, None) for request in some.requests],
                        by=some.by,
                        reason=some.reason,
                    )
                    transaction.emit(*events)
                case End() as end:
                    await queries.end_batch(
                        transaction.connection, batch_id=end.batch_id, state=end.state, detail=end.detail
                    )


def exhausted(lease: Leased, why: str) -> Outcome:
    payload = orjson.loads(lease.payload)
    return Outcome(
        name="failed", detail=why, record=End(batch_id=UUID(payload["batch_id"]), state="failed", detail=why)
    )


async def judge(sheet: Sheet, part: Part, offers: Offers, *, first: bool) -> list[Row]:
    """Every row of the part read and resolved, a few at a time so that the process stays answering."""
    rows: list[Row] = []
    for row in sheet.rows(part, first=first):
        rows.append(judged(row, offers))
        if len(rows) % ROWS_A_TURN == 0:
            await asyncio.sleep(0)
    return rows


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
