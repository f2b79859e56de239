"""What was published where, and what waits for what."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
import structlog
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict

from services.publisher.sql import queries
from shared.errors import Rejected
from shared.events import Confidentiality, PublicationState, Receipt, Verified
from shared.http import Gate, HttpProblem
from shared.identity import Caller, May
from shared.library.documents import TargetDocument
from shared.postgres import Pool, workspace_transaction

log = structlog.get_logger()


class Publication(BaseModel):
    """One asset version at one target. `run` counts fresh starts by people, `attempts` each taking up by a worker."""

    publication_id: UUID
    request_id: UUID
    job_id: UUID
    asset_id: UUID
    asset_version_id: UUID
    target: str
    confidentiality: Confidentiality
    state: PublicationState
    run: int
    running: bool
    attempts: int
    next_attempt_at: datetime | None
    code: str | None
    detail: str | None
    remedy: str | None
    location: str | None
    verified: Verified | None
    receipts: list[Receipt]
    created_at: datetime
    settled_at: datetime | None


class Publications(BaseModel):
    """A page, newest first; `next` is the cursor of the page after it."""

    publications: list[Publication]
    next: str | None


class Away(BaseModel):
    """It took nothing lately: `next_try_at` one publication goes there, and with it all, if it is taken."""

    since: datetime
    cause: str
    next_try_at: datetime


class Target(BaseModel):
    name: str
    version: int
    state: str
    type: str
    enabled: bool
    ceiling: Confidentiality
    demo: bool
    settings: dict[str, Any]
    away: Away | None
    known_since: datetime
    changed_at: datetime
    publications: dict[str, int]


class Targets(BaseModel):
    targets: list[Target]


class Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: PublicationState | None = None
    target: str | None = None
    request: UUID | None = None
    job: UUID | None = None
    asset: UUID | None = None
    asset_version: UUID | None = None
    cursor: str | None = None
    limit: Annotated[int, Query(ge=1, le=500)] = 50


def wire(app: FastAPI, *, pool: Pool, gate: Gate) -> None:
    reader = Depends(gate.needs(May.READ))

    @app.get("/v1/publications")
    async def list_publications(
        filters: Annotated[Filters, Query()], caller: Annotated[Caller, reader]
    ) -> Publications:
        if filters.state is PublicationState.UNKNOWN:
            known = ", ".join(state for state in PublicationState if state is not PublicationState.UNKNOWN)
            raise HttpProblem(
                "invalid_request", "no publication has this state", where="state", remedy=f"one of {known}"
            )
        before = read_cursor(filters.cursor) if filters.cursor else None
        async with workspace_transaction(pool, stage="publisher", workspace=caller.workspace) as connection:
            listed = queries.list_publications(
                connection,
                state=filters.state,
                target=filters.target,
                request=filters.request,
                job=filters.job,
                asset=filters.asset,
                version=filters.asset_version,
                before_at=before and before[0],
                before_id=before and before[1],
                many=filters.limit + 1,
            )
            rows = [row async for row in listed]
        page = [_publication(row) for row in rows[: filters.limit]]
        more = len(rows) > filters.limit
        return Publications(publications=page, next=write_cursor(page[-1]) if more else None)

    @app.get("/v1/publications/{publication_id}")
    async def show_publication(publication_id: UUID, caller: Annotated[Caller, reader]) -> Publication:
        async with workspace_transaction(pool, stage="publisher", workspace=caller.workspace) as connection:
            row = await queries.show_publication(connection, id=publication_id)
        return found(row)

    @app.get("/v1/targets")
    async def list_targets(caller: Annotated[Caller, reader]) -> Targets:
        async with workspace_transaction(pool, stage="publisher", workspace=caller.workspace) as connection:
            rows = [row async for row in queries.list_targets(connection)]
        return Targets(targets=[_target(row) for row in rows])


def write_cursor(last: Publication) -> str:
    return base64.urlsafe_b64encode(f"{last.created_at.isoformat()} {last.publication_id}".encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Raises Rejected for anything that `write_cursor` did not write."""
    try:
        at, _, text = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        return datetime.fromisoformat(at).astimezone(UTC), UUID(text)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise Rejected(
            "invalid_request", "this is no cursor of ours", "cursor", "take `next` of the page before"
        ) from error


def found(row: Mapping[str, Any] | None) -> Publication:
    if row is None:
        what, remedy = "this workspace has no such publication", "GET /v1/publications lists those there are"
        raise HttpProblem("not_found", what, where="publication_id", remedy=remedy)
    return _publication(row)


def _publication(row: Mapping[str, Any]) -> Publication:
    pending = row["state"] == PublicationState.PENDING
    running = bool(row["running"]) and pending
    told = {name: row[name] for name in _COLUMNS}
    if pending and not running and row["away"] is not None:  # it need not have been tried itself
        told |= {"code": "waiting", "detail": row["away"], "remedy": "nothing to do: it is tried again"}
    return Publication(
        **told,
        running=running,
        attempts=row["attempts"] or 0,
        next_attempt_at=row["ready_at"] if pending and not running else None,
        receipts=orjson.loads(row["receipts"] or "[]"),
    )


_COLUMNS = frozenset(Publication.model_fields) - {"running", "attempts", "next_attempt_at", "receipts"}


def _target(row: Mapping[str, Any]) -> Target:
    document = TargetDocument.model_validate_json(row["document"])
    return Target(
        name=row["name"],
        version=row["version"],
        state=row["state"],
        type=document.type,
        enabled=document.enabled,
        ceiling=document.ceiling,
        demo=document.demo,
        settings=document.settings,
        away=row["probe_at"] and Away(since=row["away_since"], cause=row["away_cause"], next_try_at=row["probe_at"]),
        known_since=row["since"],
        changed_at=row["changed_at"],
        publications=orjson.loads(row["counts"]),
    )
