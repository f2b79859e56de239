"""`GET /v1/files/{id}`: checks the caller, then redirects to an address in the store that is good for five minutes."""

import time
from pathlib import Path
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Response
from fastapi.responses import FileResponse, RedirectResponse

from services.catalog.ledger import facts
from services.catalog.routes.frame import Reading
from services.catalog.sql import queries
from shared.blobs import MEDIA_TYPES, Blobs, FileBlobs, content_disposition, verify_address
from shared.errors import BlobMissing
from shared.events import File
from shared.http import HttpProblem
from shared.identity import Caller, May

SECONDS = 300
# A browser may follow the same redirect again, but not for as long as the address it leads to is good.
REDIRECT_CACHED = f"private, max-age={SECONDS - 60}"
# The bytes behind an address never change: its key ends in their hash.
BYTES_CACHED = "private, max-age=31536000, immutable"


def routes(reading: Reading, blobs: Blobs, *, secret: str) -> APIRouter:
    router = APIRouter(tags=["files"])
    may_read = Depends(reading.gate.needs(May.READ))

    @router.get("/v1/files/{file_id}", status_code=307)
    async def one_file(file_id: UUID, caller: Caller = may_read) -> Response:
        """Redirects to an address that serves the file to whoever holds it, for five minutes."""
        async with reading.of(caller) as connection:
            row = await queries.file(connection, id=file_id)
        if row is None:
            raise _no_file(file_id, "there is no such file")
        file = _described(file_id, row["type"], row["body"])
        if await blobs.head(file.key) is None:
            raise BlobMissing(file.key)
        address = await blobs.address(file.key, seconds=SECONDS, filename=file.name, media_type=file.media_type)
        return RedirectResponse(address, 307, headers={"Cache-Control": REDIRECT_CACHED})

    if isinstance(blobs, FileBlobs):
        router.include_router(_own_addresses(blobs, secret=secret))
    return router


def _described(file_id: UUID, kind: str, body: str) -> File:
    told = orjson.loads(body)
    for file in facts.files_of(kind, told):
        if facts.file_id(told["asset_id"], file["sha256"], file.get("recipe"), file.get("rendition")) == file_id:
            return File.model_validate(file)
    raise _no_file(file_id, "its fact does not name this file")


def _no_file(file_id: UUID, what: str) -> HttpProblem:
    remedy = "GET /v1/assets/{id} names an asset's files with their addresses"
    return HttpProblem("not_found", what, where=str(file_id), remedy=remedy)


def _own_addresses(blobs: FileBlobs, *, secret: str) -> APIRouter:
    """What `FileBlobs.address` leads to; a bucket serves its own."""
    router = APIRouter(tags=["files"])

    @router.get("/v1/blobs/{token}", include_in_schema=False)
    async def one_blob(token: str) -> Response:
        """The token is the permission: whoever holds it was let in by `/v1/files`."""
        address = verify_address(token, secret=secret, now=time.time())
        path: Path = blobs.path(address.key)
        if await blobs.head(address.key) is None:
            raise BlobMissing(address.key)
        headers = {
            "Cache-Control": BYTES_CACHED,
            "X-Content-Type-Options": "nosniff",
            # Nothing that is stored here may act as a page of ours.
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        if address.filename:
            headers["Content-Disposition"] = content_disposition(address.filename)
        return FileResponse(path, media_type=address.media_type or MEDIA_TYPES[path.suffix[1:]], headers=headers)

    return router
