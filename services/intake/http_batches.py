"""Batch files over HTTP: stored as they arrive, answered, and expanded afterwards; or only looked through."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from services.intake.acceptance import queries
from services.intake.arrivals import FILE_CAP, STORED_AS, Arrival
from services.intake.batches import errors_csv_header, errors_csv_line
from services.intake.expansion import Batch, batch_of, judge, sort_out
from services.intake.http import Intake, Reason, not_found
from services.intake.previews import Looked
from services.intake.worker import cancellation, expansion
from services.intake.writing import writing
from shared.blobs import blob_key
from shared.errors import Rejected
from shared.events import Problem
from shared.http import HttpProblem
from shared.identity import Caller, May
from shared.leases import enqueue
from shared.postgres import Connection, Pool, workspace_transaction

FAULTS_A_PAGE = 500


class BatchState(BaseModel):
    """`rows` of the current file are accepted (new requests), unchanged (made before) or refused, once it is read."""

    batch_id: UUID
    name: str
    state: str
    upload: int = Field(description="How many files were sent for this batch")
    rows: int
    accepted: int
    unchanged: int
    refused: int
    jobs: int = Field(description="Jobs made by the current file")
    detail: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    created_at: datetime
    updated_at: datetime


class RowState(BaseModel):
    line: int
    key: str | None
    state: str
    request_id: UUID | None = None
    jobs: int = 0
    problems: list[dict[str, Any]] = Field(default_factory=list)


class Rows(BaseModel):
    rows: list[RowState]
    next_after: int | None = Field(description="Give this as `after` for the next page")


class CancelBatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = None


class LargerFiles:
    """Lets files through that are larger than a request may be, where nothing is read before it is known who sends.

    `caps`: path → the most bytes a body may have there.
    """

    def __init__(self, app: ASGIApp, *, caps: Mapping[str, int]) -> None:
        self.app = app
        self.caps = caps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self.caps:
            scope.setdefault("state", {})["body_cap"] = self.caps[scope["path"]]
        await self.app(scope, receive, send)


def wire(app: FastAPI, intake: Intake) -> None:
    app.add_middleware(LargerFiles, caps={"/v1/batches": FILE_CAP, "/v1/batches/preview": FILE_CAP})
    _wire_sending(app, intake)
    _wire_reading(app, intake)


def _wire_sending(app: FastAPI, intake: Intake) -> None:
    pool = intake.pool
    submitter, canceller = Depends(intake.gate.needs(May.SUBMIT)), Depends(intake.gate.needs(May.CANCEL))

    @app.post("/v1/batches", status_code=202)
    async def send(request: Request, caller: Annotated[Caller, submitter]) -> Any:
        """Stores a CSV or JSONL file and answers; its rows become requests afterwards.

        The file is the body, or the part `file` of a form. The batch's name, and values for fields that the rows leave
        empty, stand in the query or in the form.
        """
        stored: list[tuple[str, int]] = []
        rows = 0
        arrival = await Arrival.of(request)
        async with aclosing(arrival.parts()) as parts:
            async for part in parts:
                sha256 = hashlib.sha256(part.data).hexdigest()
                key = blob_key(caller.workspace, arrival.batch_id(caller.workspace), sha256, arrival.format)
                await intake.blobs.put(key, part.data, media_type=STORED_AS[arrival.format])
                rows += sum(1 for _ in arrival.sheet.rows(part, first=not stored))
                stored.append((sha256, part.first_line))
        if not rows:
            raise Rejected("empty", "the file has no rows", "file", "send a header and at least one row")
        batch = arrival.batch(caller)
        async with writing(pool, intake.outbox, caller.workspace) as transaction:
            upload = await _store(transaction.connection, batch, stored, rows)
            work = expansion(batch.batch_id, upload, caller.workspace, traceparent=batch.traceparent)
            await enqueue(transaction.connection, [work])
            transaction.after_commit(intake.worker.wake)
        status = f"/v1/batches/{batch.batch_id}"
        answer = {"batch_id": batch.batch_id, "name": batch.name, "upload": upload, "rows": rows, "state": "expanding"}
        return answer | {"status": status}

    @app.post("/v1/batches/preview")
    async def preview(request: Request, caller: Annotated[Caller, submitter]) -> Any:
        """What sending this file would do; with `Accept: text/csv`, the refused rows with problem, column and fix."""
        arrival = await Arrival.of(request)
        looked = Looked(keep_report="text/csv" in request.headers.get("accept", ""))
        offers = await intake.shelves.of(pool, caller.workspace)
        async with aclosing(arrival.parts()) as parts:
            async for part in parts:
                rows = await judge(
                    pool, intake.blobs, caller.workspace, arrival.sheet, part, offers, first=looked.rows == 0
                )
                async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
                    looked.add(await sort_out(connection, arrival.batch(caller), rows, seen=looked.keys))
        if looked.keep_report:
            lines = looked.errors_csv(arrival.sheet)
            return StreamingResponse(lines, media_type="text/csv; charset=utf-8")
        return looked.summary(arrival.name, arrival.sheet)

    @app.post("/v1/batches/{batch_id}/cancel", status_code=202)
    async def cancel_batch(batch_id: UUID, caller: Annotated[Caller, canceller], ask: CancelBatch | None = None) -> Any:
        """Stops reading the file, and asks for an end of every job it has made.

        Its rows stay known under their keys: to make them after all, send the file under another name.
        """
        async with writing(pool, intake.outbox, caller.workspace) as transaction:
            locked = await queries.lock_batch(transaction.connection, batch_id=batch_id)
            if locked is None:
                raise not_found("batch", batch_id)
            if locked["state"] not in {"cancelling", "cancelled"}:
                await queries.end_batch(transaction.connection, batch_id=batch_id, state="cancelling", detail=None)
                work = cancellation(
                    batch_id,
                    locked["upload"],
                    caller.workspace,
                    by=caller.principal,
                    reason=ask.reason if ask else None,
                )
                await enqueue(transaction.connection, [work])
                transaction.after_commit(intake.worker.wake)
        return {"batch_id": batch_id, "cancel_requested": True}


def _wire_reading(app: FastAPI, intake: Intake) -> None:
    pool = intake.pool
    reader = Depends(intake.gate.needs(May.READ))

    @app.get("/v1/batches")
    async def batches(
        caller: Annotated[Caller, reader], limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> list[BatchState]:
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            rows = queries.batches_of(connection, workspace=caller.workspace, many=limit)
            return [BatchState(**dict(row)) async for row in rows]

    @app.get("/v1/batches/{batch_id}")
    async def batch(batch_id: UUID, caller: Annotated[Caller, reader]) -> BatchState:
        return BatchState(**dict(await _find(pool, batch_id, caller)))

    @app.get("/v1/batches/{batch_id}/rows")
    async def rows(
        batch_id: UUID,
        caller: Annotated[Caller, reader],
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> Rows:
        """The rows of the current file by line, each with its request or with what is wrong."""
        found = await _find(pool, batch_id, caller)
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            lines = queries.rows_after(connection, batch_id=batch_id, upload=found["upload"], line=after, many=limit)
            states = [
                RowState(
                    line=line["line"],
                    key=line["row_key"],
                    state=line["state"],
                    request_id=line["request_id"],
                    jobs=line["jobs"],
                    problems=orjson.loads(line["problems"] or "[]"),
                )
                async for line in lines
            ]
        return Rows(rows=states, next_after=states[-1].line if len(states) == limit else None)

    @app.get("/v1/batches/{batch_id}/errors.csv")
    async def errors(batch_id: UUID, caller: Annotated[Caller, reader]) -> StreamingResponse:
        """The refused rows as they were written, with problem, column and fix: repair it and send it again as it is."""
        found = batch_of(await _find(pool, batch_id, caller))
        headers = {"Content-Disposition": 'attachment; filename="errors.csv"'}
        return StreamingResponse(_errors(pool, found), media_type="text/csv; charset=utf-8", headers=headers)


async def _find(pool: Pool, batch_id: UUID, caller: Caller) -> Any:
    async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
        row = await queries.batch(connection, batch_id=batch_id)
    if row is None:
        raise not_found("batch", batch_id)
    return row


async def _errors(pool: Pool, found: Batch) -> AsyncIterator[str]:
    columns, delimiter = found.sheet.columns, found.sheet.delimiter
    yield errors_csv_header(columns, delimiter=delimiter)
    line = 0
    while True:
        async with workspace_transaction(pool, stage="intake", workspace=found.workspace) as connection:
            page = queries.faults_after(
                connection, batch_id=found.batch_id, upload=found.upload, line=line, many=FAULTS_A_PAGE
            )
            faults = [(row["line"], row["cells"], row["problems"]) async for row in page]
        for _, cells, problems in faults:
            said = [Problem.model_validate(problem) for problem in orjson.loads(problems)]
            yield errors_csv_line(columns, orjson.loads(cells), said, delimiter=delimiter)
        if len(faults) < FAULTS_A_PAGE:
            return
        line = faults[-1][0]


async def _store(connection: Connection, batch: Batch, parts: Sequence[tuple[str, int]], rows: int) -> int:
    """The number of this file among those sent for the batch. Raises HttpProblem while the one before is being read."""
    sheet = batch.sheet
    sent = await queries.send_batch(
        connection,
        batch_id=batch.batch_id,
        workspace=batch.workspace,
        name=batch.name,
        principal=batch.principal,
        format=sheet.format,
        encoding=sheet.encoding,
        delimiter=sheet.delimiter,
        header=orjson.dumps(list(sheet.titles)).decode(),
        defaults=orjson.dumps(dict(sheet.defaults)).decode(),
        parts=orjson.dumps(list(parts)).decode(),
        rows=rows,
        traceparent=batch.traceparent,
    )
    if sent is None:
        raise HttpProblem(
            "in_flight",
            f"the file before this one is still being read into batch {batch.name!r}",
            where="name",
            remedy=f"wait until GET /v1/batches/{batch.batch_id} says it is expanded, then send this one",
        )
    await queries.forget_faults(connection, batch_id=batch.batch_id, upload=sent["upload"])
    return int(sent["upload"])
