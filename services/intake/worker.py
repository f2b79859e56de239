"""Slow work of intake: the parts of a batch file become requests, one lease and one transaction each; cancelling it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from services.intake.acceptance import queries
from services.intake.cancelling import cancel
from services.intake.expansion import Batch, Chunk, batch_of, judge, write
from services.intake.files import Part
from services.intake.shelves import Shelves
from shared import ids
from shared.blobs import Blobs, blob_key
from shared.errors import Rejected
from shared.leases import Leased, NewWork, Outcome
from shared.outbox import Transaction
from shared.postgres import Pool, unavailable_when_away

EXPAND = "expand-batch"
CANCEL = "cancel-batch"
KINDS = (EXPAND, CANCEL)
CANCEL_AT_ONCE = 1000


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
        rows = await judge(self._pool, self._blobs, batch.workspace, batch.sheet, part, offers, first=place == 0)
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
