"""Pictures that requests start from: checked, rewritten and stored under what they show, whatever file they came in."""

import hashlib
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from services.intake.acceptance import queries
from services.intake.http import Intake
from services.intake.http_batches import LargerFiles
from services.intake.pictures import Pictures
from shared import ids
from shared.blobs import blob_key
from shared.http import HttpProblem
from shared.identity import Caller, May
from shared.postgres import workspace_transaction

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


def wire(app: FastAPI, intake: Intake, pictures: Pictures) -> None:
    app.add_middleware(LargerFiles, caps={"/v1/sources": MAX_BYTES})
    submitter = Depends(intake.gate.needs(May.SUBMIT))
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
            await intake.blobs.put(key, picture.data, media_type=MEDIA_TYPE)
        finally:
            taking -= 1
        async with workspace_transaction(intake.pool, stage="intake", workspace=caller.workspace) as connection:
            is_new = await queries.add_source(
                connection,
                source_id=source_id,
                workspace=caller.workspace,
                sha256=sha256,
                key=key,
                media_type=MEDIA_TYPE,
                width=picture.width,
                height=picture.height,
                bytes=len(picture.data),
                by=caller.principal,
            )
        response.status_code = 201 if is_new else 200
        return SourceAdded(
            source_id=str(source_id), sha256=sha256, media_type=MEDIA_TYPE, width=picture.width, height=picture.height
        )


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
