"""Pinned documents by digest, from the object store, remembered: a digest never changes its meaning."""

import asyncio
from collections import OrderedDict
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from shared.blobs import Blobs, library_key
from shared.errors import Rejected, unreadable
from shared.events import Pin
from shared.library.documents import Document

D = TypeVar("D", bound=Document)
REMEMBERED = 512  # documents; the largest, a brand with its catalogue, has some 100 kB


class Library:
    """The reader every stage has. What one workspace pinned is never answered from another's documents."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._known: OrderedDict[tuple[UUID, str], Document] = OrderedDict()
        self._loading = asyncio.Lock()

    async def get(self, kind: type[D], workspace: UUID, pin: Pin) -> D:
        """The document that was pinned.

        Raises:
            BlobMissing: nothing is stored under the digest, now or later.
            Rejected: what is stored there is no document of this kind.
            Unavailable: the store is away.
        """
        key = (workspace, pin.digest)
        found = self._known.get(key)
        if found is None:
            async with self._loading:  # a batch asks for one document five hundred times: read it once
                found = self._known.get(key) or await self._read(kind, workspace, pin)
                self._known[key] = found
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        if not isinstance(found, kind):
            raise Rejected(
                "wrong_document", f"{pin.label} is no {kind.__name__}", pin.digest, f"name a {kind.__name__}"
            )
        return found

    async def _read(self, kind: type[D], workspace: UUID, pin: Pin) -> D:
        data = await self._blobs.get(library_key(workspace, pin.digest))
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            what = f"{pin.label} is no {kind.__name__}: {unreadable(error)}"
            raise Rejected("wrong_document", what, pin.digest, "run the release that published it, or newer") from error
