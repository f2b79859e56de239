"""Pictures that requests start from: checked, rewritten and stored under what they show, whatever file they came in."""

import hashlib
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, Field

from services.intake.acceptance import queries
from services.intake.http import Intake
from services.intake.http_batches import LargerFiles
from services.intake.pictures import Pictures
from shared import ids
from shared.audit import acted
from shared.blobs import blob_key
from shared.events import Limits
from shared.http import HttpProblem
from shared.identity import Caller, May
from shared.postgres import Connection, noted, workspace_transaction

MAX_BYTES = 20 * 1024 * 1024
AT_ONCE = 8  # pictures held in memory, most of them waiting for a decoder
MEDIA_TYPE = "image/png"
PICTURE = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("image/png", "image/jpeg", "image/webp")
        },
    }
}


class SourceAdded(BaseModel):
    """The picture as it is stored: hash, type and size are those of our PNG, width and height in pixels."""

    source_id: str = Field(description="What requests name it by")
    sha256: str
    media_type: str
    width: int
    height: int


class SourceKept(SourceAdded):
    """One of the workspace's pictures."""

    bytes: int
    uploaded_by: str
    created_at: datetime


class SourcesKept(BaseModel):
    """Newest first; `next` is the `after` of the page after it. `used` bytes of `limit`, where there is one."""

    sources: list[SourceKept]
    next: UUID | None
    used: int
    limit: int | None


def wire(app: FastAPI, intake: Intake, pictures: Pictures) -> None:
    app.add_middleware(LargerFiles, caps={"/v1/sources": MAX_BYTES})
    submitter, reader = (Depends(intake.gate.needs(may)) for may in (May.SUBMIT, May.READ))
    taking = 0

    @app.post("/v1/sources", status_code=201, openapi_extra=PICTURE)
    async def add(request: Request, response: Response, caller: Annotated[Caller, submitter]) -> SourceAdded:
        """Takes the body in as a picture: 201, or 200 where the workspace has it already."""
        nonlocal taking
        if taking >= AT_ONCE:
            what = f"{AT_ONCE} pictures are being taken in already"
            raise HttpProblem("too_many", what, remedy="send it again in a moment")
        taking += 1
        try:
            picture = await pictures.rewritten(await _body(request))
            sha256 = hashlib.sha256(picture.data).hexdigest()
            source_id = ids.source_id(caller.workspace, sha256)
            key = blob_key(caller.workspace, source_id, sha256, "png")
            size = len(picture.data)
            async with workspace_transaction(intake.pool, stage="intake", workspace=caller.workspace) as connection:
                await _has_room(connection, caller.workspace, source_id, size)
            await intake.blobs.put(key, picture.data, media_type=MEDIA_TYPE)
            running = workspace_transaction(intake.pool, stage="intake", workspace=caller.workspace)
            async with noted(running) as connection:
                await _has_room(connection, caller.workspace, source_id, size)  # others may have added meanwhile
                is_back = await queries.add_source(
                    connection,
                    source_id=source_id,
                    workspace=caller.workspace,
                    sha256=sha256,
                    key=key,
                    media_type=MEDIA_TYPE,
                    width=picture.width,
                    height=picture.height,
                    bytes=size,
                    by=caller.principal,
                )
            if is_back:  # what was stored above may have been removed since, by whoever deleted it
                await intake.blobs.put(key, picture.data, media_type=MEDIA_TYPE)
        finally:
            taking -= 1
        response.status_code = 200 if is_back is None else 201
        return SourceAdded(
            source_id=str(source_id), sha256=sha256, media_type=MEDIA_TYPE, width=picture.width, height=picture.height
        )

    @app.get("/v1/sources")
    async def sources(
        caller: Annotated[Caller, reader],
        after: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> SourcesKept:
        """The workspace's pictures, and how much of its limit they take."""
        async with workspace_transaction(intake.pool, stage="intake", workspace=caller.workspace) as connection:
            found = queries.list_sources(connection, after=after, many=limit + 1)
            rows = [SourceKept(**{**row, "source_id": str(row["source_id"])}) async for row in found]
            used = await queries.source_bytes(connection, workspace=caller.workspace, but=None)
            row = await queries.workspace(connection, workspace=caller.workspace)
        return SourcesKept(
            sources=rows[:limit],
            next=UUID(rows[limit - 1].source_id) if len(rows) > limit else None,
            used=used,
            limit=Limits.model_validate_json(row["limits"]).source_bytes,
        )

    @app.delete("/v1/sources/{source_id}", status_code=204)
    async def delete(source_id: UUID, caller: Annotated[Caller, submitter]) -> None:
        """Takes a picture and its bytes away: who names it, or was to start from it and has not yet, misses it."""
        async with workspace_transaction(intake.pool, stage="intake", workspace=caller.workspace) as connection:
            if await queries.delete_source(connection, source_id=source_id, by=caller.principal):
                await acted(
                    connection,
                    by=caller.principal,
                    workspace=caller.workspace,
                    action="source.delete",
                    subject=str(source_id),
                )
        # Its bytes only then, and again whenever it is asked again: of what nobody finds any more they may be left.
        async with workspace_transaction(intake.pool, stage="intake", workspace=caller.workspace) as connection:
            key = await queries.lock_deleted_source(connection, source_id=source_id)
            if key is None:
                raise HttpProblem(
                    "not_found", f"there is no source {source_id} here", remedy="see `calotype source list`"
                )
            await intake.blobs.delete(key)


async def _has_room(connection: Connection, workspace: UUID, source_id: UUID, size: int) -> None:
    """Until the commit nobody else adds: what is counted here still holds then. Raises HttpProblem."""
    row = await queries.lock_workspace(connection, workspace=workspace)
    limit = Limits.model_validate_json(row["limits"]).source_bytes
    if limit is None:
        return
    used = await queries.source_bytes(connection, workspace=workspace, but=source_id)
    if used + size > limit:
        what = f"{size:,} bytes are more than the {max(0, limit - used):,} left of {limit:,} for sources"
        remedy = "delete some (`calotype source list`), or have the limit raised"
        raise HttpProblem("quota_exceeded", what, where="body", remedy=remedy)


async def _body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > MAX_BYTES:
        raise HttpProblem(
            "too_large",
            f"{int(declared):,} bytes are more than the {MAX_BYTES:,} a picture may have",
            where="body",
            remedy="scale it down, or save it as a JPEG or WebP",
        )
    body = await request.body()  # whatever was declared, the cap of this path holds
    if not body:
        raise HttpProblem("empty", "the body is empty", where="body", remedy="send the file's bytes as the body")
    return body
