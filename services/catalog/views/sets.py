"""Sets as they stand: what a campaign has of one asset type, compared with itself."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import orjson

from services.catalog.review.outliers import Measured, Set, compared, lab
from shared.postgres import Connection

queries = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")

LARGEST = 2000  # pictures of a set, the newest: what is usual does not change with more, and a page is not to wait
MOST = 20  # sets that one queue is ordered by

Name = tuple[str | None, str]
"""Campaign and asset type."""


async def set_of(connection: Connection, name: Name) -> Set:
    campaign, asset_type = name
    rows = queries.set_members(connection, campaign=campaign, asset_type=asset_type, many=LARGEST)
    return compared([_measured(row) async for row in rows])


async def sets_waiting(connection: Connection, campaign: str | None) -> dict[Name, Set]:
    """Those of which something waits for a person."""
    rows = queries.sets_waiting(connection, campaign=campaign, many=MOST)
    names = [(row["campaign"], row["asset_type"]) async for row in rows]
    return {name: await set_of(connection, name) for name in names}


async def sets_of_campaign(connection: Connection, campaign: str) -> dict[Name, Set]:
    names = [(campaign, row["asset_type"]) async for row in queries.types_of(connection, campaign=campaign, many=MOST)]
    return {name: await set_of(connection, name) for name in names}


def scores(sets: Iterable[Set]) -> dict[UUID, float]:
    return {asset: found.score(asset) for found in sets for axis in found.axes for asset in axis.numbers}


def _measured(row: Mapping[str, Any]) -> Measured:
    known = row["centre_x"] is not None and row["centre_y"] is not None
    return Measured(
        asset_id=row["asset_id"],
        exposure=row["exposure"],
        palette=[(lab(colour), share) for colour, share in orjson.loads(row["colours"])],
        scale=row["product_scale"],
        centre=(row["centre_x"], row["centre_y"]) if known else None,
    )
