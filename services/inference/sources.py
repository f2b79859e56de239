"""The pictures a job starts from, read before its attempt is made."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from services.inference.backends import BackendFailure, Source
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.errors import Rejected
from shared.events import FailureReason, SourceUse

REMEDY = "add the same picture again, which brings it back under its id, then run the job again"


async def load_sources(workspace: UUID, uses: Sequence[SourceUse], blobs: Blobs) -> tuple[Source, ...]:
    """Every one with the bytes that its hash names.

    Raises:
        Unavailable: the store is away.
        BackendFailure: `missing_source`; it costs nothing, for nobody was called yet.
    """
    return tuple(await asyncio.gather(*(_load(workspace, use, blobs) for use in uses)))


async def _load(workspace: UUID, use: SourceUse, blobs: Blobs) -> Source:
    key = blob_key(workspace, use.source_id, use.sha256, EXTENSIONS.get(use.media_type, ""))
    try:
        data = await blobs.get(key)
    except Rejected as error:
        detail = f"the {use.role.value} {use.source_id} cannot be read: {error.what}"
        raise BackendFailure(
            FailureReason.MISSING_SOURCE, detail, retriable=False, billed=False, remedy=REMEDY
        ) from error
    return Source(role=use.role.value, data=data, media_type=use.media_type, width=use.width, height=use.height)
