"""What each workspace can name, read from its library and kept until the library's revision moves."""

import time
from uuid import UUID

from services.intake.acceptance import queries
from shared.library.documents import DOCUMENT
from shared.library.offers import Offers
from shared.library.shelf import Shelf
from shared.postgres import Connection, Pool, unavailable_when_away

FRESH_SECONDS = 0.5  # another process may have published: so long a new version can go unseen there

REMEMBERED = 1000  # workspaces; anybody on Kafka may name any id


class Shelves:
    """One per process."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[int, float, Offers]] = {}

    async def of(self, connection: Connection | Pool, workspace: UUID) -> Offers:
        """Raises Unavailable while Postgres is away."""
        known = self._known.get(workspace)
        if known is not None and time.monotonic() - known[1] < FRESH_SECONDS:
            return known[2]
        async with unavailable_when_away():
            revision = await queries.revision(connection, workspace=workspace) or 0
            if known is not None and known[0] == revision:
                offers = known[2]
            else:
                offers = Offers(await read_shelf(connection, workspace))
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[workspace] = (revision, time.monotonic(), offers)
        return offers

    def forget(self, workspace: UUID) -> None:
        """After publishing here: the next look reads anew."""
        self._known.pop(workspace, None)


async def read_shelf(connection: Connection | Pool, workspace: UUID) -> Shelf:
    rows = queries.shelf(connection, workspace=workspace)
    return Shelf([DOCUMENT.validate_json(row["document"]) async for row in rows])
