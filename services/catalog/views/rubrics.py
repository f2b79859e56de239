"""The lines of pinned rubrics, from the object store: a digest never changes its meaning, so it is read once."""

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

import structlog
from pydantic import ValidationError

from shared.blobs import Blobs, library_key
from shared.errors import Rejected, Unavailable
from shared.events import Pin
from shared.library.documents import Rubric, RubricLine

log = structlog.get_logger()

KEPT = 256


class Rubrics:
    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._kept: OrderedDict[tuple[UUID, str], Sequence[RubricLine]] = OrderedDict()

    async def lines(self, workspace: UUID, pin: Pin) -> Sequence[RubricLine]:
        """None of them where the document cannot be read now: a person can still decide."""
        key = (workspace, pin.digest)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        try:
            rubric = Rubric.model_validate_json(await self._blobs.get(library_key(workspace, pin.digest)))
        except (Unavailable, Rejected, ValidationError) as error:
            log.warning("rubric.not_read", rubric=pin.label, cause=str(error)[:300])
            return []
        self._kept[key] = rubric.lines
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return rubric.lines
