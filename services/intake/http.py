"""Single requests over HTTP: taken in, looked at, cancelled; and what a workspace has used."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.intake.acceptance import UNKNOWN_DIGEST, Ask, Verdict, digest_of, known_parents, known_sources, queries
from services.intake.cancelling import cancel
from services.intake.domain import Origin, answer, jobs_of
from services.intake.front import Front
from services.intake.shelves import Shelves
from services.intake.sources import resolve_all
from services.intake.writing import writing
from shared import ids
from shared.blobs import Blobs
from shared.http import Gate, HttpProblem, refusal, trace_of
from shared.identity import Caller, May
from shared.leases import Worker
from shared.library.asks import CONTROL, read
from shared.outbox import Outbox
from shared.postgres import Pool, workspace_transaction

MAX_KEY = 200
ASK_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ImageRequested"}}},
    }
}


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What the routes of this stage work with."""

    pool: Pool
    outbox: Outbox
    gate: Gate
    blobs: Blobs
    shelves: Shelves
    front: Front
    worker: Worker


Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]


class Cancel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job_id: UUID | None = Field(default=None, description="One job of the request; without it all of them")
    reason: Reason | None = None


class RequestState(BaseModel):
    """What intake knows of a request; its jobs' progress is `GET /v1/jobs?request=…`."""

    request_id: UUID
    state: str
    jobs: list[UUID]
    ended: int = Field(description="Jobs that were generated, failed or cancelled")
    cancel_requested: bool
    batch_id: UUID | None
    row_key: str | None
    accepted_at: datetime
    template: str
    campaign: str | None
    channels: list[str]
    confidentiality: str
    supersedes: UUID | None


class Spent(BaseModel):
    """Cost of attempts on one day (UTC); `unpriced` of them have a cost nobody knows."""

    day: date
    currency: str
    cost: str
    attempts: int
    unpriced: int


class Used(BaseModel):
    """Jobs of one day (UTC): accepted, of these ended, and of these given back for they cost no attempt."""

    day: date
    jobs: int
    ended: int
    released: int


class Usage(BaseModel):
    limits: dict[str, Any]
    open_jobs: int
    days: list[Used]
    spent: list[Spent]


def wire(app: FastAPI, intake: Intake) -> None:
    pool, gate = intake.pool, intake.gate
    submitter, canceller = Depends(gate.needs(May.SUBMIT)), Depends(gate.needs(May.CANCEL))
    reader = Depends(gate.needs(May.READ))

    @app.post("/v1/requests", status_code=202, openapi_extra=ASK_SCHEMA)
    async def submit(request: Request, caller: Annotated[Caller, submitter]) -> Response:
        """Takes one request in. The same `Idempotency-Key` again gives the same answer."""
        return await take_in(intake, request, caller, key=idempotency_key(request), body=await request.body())

    @app.get("/v1/requests/{request_id}")
    async def show(request_id: UUID, caller: Annotated[Caller, reader]) -> RequestState:
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            row = await queries.request(connection, request_id=request_id)
        if row is None or row["state"] != "accepted":
            raise not_found("request", request_id)
        kept = orjson.loads(row["answer"])
        return RequestState(**kept | dict(row) | {"jobs": jobs_of(request_id, kept["variants"])})

    @app.post("/v1/requests/{request_id}/cancel", status_code=202)
    async def cancel_request(request_id: UUID, caller: Annotated[Caller, canceller], ask: Cancel | None = None) -> Any:
        """Asks for an end; whichever stage holds a job obeys at its next safe point."""
        ask = ask or Cancel()
        async with writing(pool, intake.outbox, caller.workspace) as transaction:
            row = await queries.request(transaction.connection, request_id=request_id)
            if row is None or row["state"] != "accepted":
                raise not_found("request", request_id)
            if ask.job_id is not None and ask.job_id not in jobs_of(request_id, row["jobs"]):
                raise not_found("job of this request", ask.job_id)
            facts = await cancel(
                transaction.connection,
                caller.workspace,
                [(request_id, ask.job_id)],
                by=caller.principal,
                reason=ask.reason,
            )
            transaction.emit(*facts)
        return {"request_id": request_id, "job_id": ask.job_id, "cancel_requested": True}

    @app.get("/v1/usage")
    async def usage(caller: Annotated[Caller, reader], days: Annotated[int, Query(ge=1, le=366)] = 31) -> Usage:
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            workspace = await queries.workspace(connection, workspace=caller.workspace)
            used = queries.usage(connection, workspace=caller.workspace, days=days)
            jobs = [Used(**dict(row)) async for row in used]
            paid = queries.usage_spent(connection, workspace=caller.workspace, days=days)
            spent = [Spent(**dict(row) | {"cost": f"{row['cost']:f}"}) async for row in paid]
            open_jobs = await queries.open_jobs(connection, workspace=caller.workspace)
        return Usage(limits=orjson.loads(workspace["limits"]), open_jobs=open_jobs, days=jobs, spent=spent)


async def take_in(intake: Intake, request: Request, caller: Caller, *, key: str, body: bytes) -> Response:
    """The answer to a request that was sent. Raises HttpProblem where it is refused."""
    pool = intake.pool
    asked = read(body)
    if isinstance(asked, list):
        raise refusal(asked)
    offers = await intake.shelves.of(pool, caller.workspace)
    sources = await known_sources(pool, caller.workspace, [asked])
    parents = await known_parents(intake.blobs, caller.workspace, [asked])
    resolved = resolve_all(asked, offers, sources, parents)
    request_id = ids.request_id_for_http(caller.workspace, caller.principal, key)
    origin = Origin(
        request_id=request_id,
        workspace=caller.workspace,
        principal=caller.principal,
        cause=request_id,
        kind="http",
        id=key,
        traceparent=trace_of(request),
    )
    digest = digest_of(asked)
    # One with problems goes the same way: its key may have been answered before the library changed.
    if isinstance(resolved, list):
        ask = Ask(origin=origin, digest=digest, problems=resolved)
    else:
        ask = Ask(origin=origin, digest=digest, resolved=resolved)
    return _answer(ask, await intake.front.submit(ask))


def _answer(ask: Ask, verdict: Verdict) -> Response:
    if verdict.known is not None:
        if verdict.known.digest not in {UNKNOWN_DIGEST, ask.digest}:
            raise HttpProblem(
                "idempotency_key_reused",
                "this key was used for another request",
                where="Idempotency-Key",
                remedy="send what you sent first, or a new key for a new request",
            )
        kept = orjson.loads(verdict.known.answer)
    elif verdict.event is not None:
        kept = answer(verdict.event)
    elif verdict.problems[0].code == "quota_exceeded":
        (over,) = verdict.problems
        raise HttpProblem("quota_exceeded", over.what, remedy=over.remedy)
    else:
        raise refusal(list(verdict.problems))
    request_id = ask.origin.request_id
    body = orjson.dumps({"request_id": request_id, "jobs": jobs_of(request_id, kept["variants"])} | kept, default=str)
    headers = {"Location": f"/v1/requests/{request_id}"}
    if verdict.known is not None:
        headers["Idempotency-Replayed"] = "true"
    return Response(body, 202, headers, "application/json")


def idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "").strip()
    if not key:
        raise HttpProblem(
            "missing_idempotency_key",
            "the request has no key of its own",
            where="Idempotency-Key",
            remedy="send a header `Idempotency-Key` that is the same whenever you repeat this request",
            status=400,
        )
    if len(key) > MAX_KEY or CONTROL.search(key):
        raise HttpProblem(
            "malformed",
            f"the key is longer than {MAX_KEY} characters, or holds what is not text",
            where="Idempotency-Key",
            remedy="a UUID does well",
            status=400,
        )
    return key


def not_found(what: str, id: UUID) -> HttpProblem:
    return HttpProblem("not_found", f"there is no {what} {id} in this workspace", remedy="look at the id again")
