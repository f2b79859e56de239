"""Sets as they stand: what a campaign has of one asset type, compared with itself."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from services.catalog.review.outliers import Measured, Set, compared, lab
from services.catalog.views.sql import queries
from shared.postgres import Connection

LARGEST = 2000  # pictures of a set, the newest: what is usual does not change with more, and a page is not to wait
MOST = 20  # sets that one queue is ordered by
KEPT_SECONDS = 30.0  # a set of 2,000 takes a tenth of a second, and every page of it asks
KEPT = 64  # sets of all workspaces, about a megabyte each

Name = tuple[str | None, str]
"""Campaign and asset type."""


class Sets:
    """Sets by name, each worked out beside the event loop and kept for a while: a page may be that much behind."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[UUID, Name], tuple[float, Set]] = {}

    async def of(self, connection: Connection, name: Name, *, workspace: UUID) -> Set:
        until, found = self._kept.get((workspace, name), (0.0, None))
        if found is None or until <= self._clock():
            found = await set_of(connection, name)
            self._keep((workspace, name), found)
        return found

    async def waiting(self, connection: Connection, campaign: str | None, *, workspace: UUID) -> dict[Name, Set]:
        """Those of which something waits for a person."""
        rows = queries.sets_waiting(connection, campaign=campaign, many=MOST)
        names = [(row["campaign"] or None, row["asset_type"]) async for row in rows]
        return {name: await self.of(connection, name, workspace=workspace) for name in names}

    def _keep(self, key: tuple[UUID, Name], found: Set) -> None:
        now = self._clock()
        held = [(one, kept) for one, kept in self._kept.items() if kept[0] > now and one != key]
        self._kept = dict(held[1 - KEPT :]) | {key: (now + KEPT_SECONDS, found)}


async def set_of(connection: Connection, name: Name) -> Set:
    """As it stands now."""
    campaign, asset_type = name
    rows = queries.set_members(connection, campaign=campaign or "", asset_type=asset_type, many=LARGEST)
    return await asyncio.to_thread(_compared, [row async for row in rows])


async def sets_of_campaign(connection: Connection, campaign: str) -> dict[Name, Set]:
    names = [(campaign, row["asset_type"]) async for row in queries.types_of(connection, campaign=campaign, many=MOST)]
    return {name: await set_of(connection, name) for name in names}


def scores(sets: Iterable[Set]) -> dict[UUID, float]:
    return {asset: score for found in sets for asset, score in found.scores.items()}


def _compared(rows: Sequence[Mapping[str, Any]]) -> Set:
    return compared([_measured(row) for row in rows])


def _measured(row: Mapping[str, Any]) -> Measured:
    known = row["centre_x"] is not None and row["centre_y"] is not None
    return Measured(
        asset_id=row["asset_id"],
        exposure=row["exposure"],
        palette=[(lab(colour), share) for colour, share in orjson.loads(row["colours"])],
        scale=row["product_scale"],
        centre=(row["centre_x"], row["centre_y"]) if known else None,
    )
