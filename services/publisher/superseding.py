"""Of an asset's versions at one target the one that was approved last is served; each of the others is told once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from services.publisher.domain import Newer, delivery_of, superseded
from services.publisher.sql import queries
from shared.bus import Transaction
from shared.events import AssetApproved

log = structlog.get_logger()


async def hold_versions(transaction: Transaction, ids: Sequence[UUID]) -> None:
    """Before publications are settled: every version of their assets at their targets."""
    _ = [row async for row in queries.hold_versions(transaction.connection, ids=ids)]


async def supersede(transaction: Transaction, ids: Sequence[UUID], *, now: datetime) -> None:
    """After these were settled: of each asset at each target the version that was approved last is the one served."""
    async for row in queries.supersede(transaction.connection, ids=ids):
        asset = AssetApproved.model_validate_json(row["event"])
        old = replace(delivery_of(asset, target=row["target"]), traceparent=row["traceparent"])
        newer = Newer.of(row["newer"])
        log.info("publication.superseded", target=old.target, version=str(asset.asset_version_id))
        transaction.emit(superseded(old, newer, now=now))


async def supersede_delivered(transaction: Transaction, assets: Sequence[AssetApproved]) -> None:
    """Once these approvals are known: after a restore what was delivered is, before its approval is heard again."""
    rows = queries.delivered_before(
        transaction.connection,
        assets=[asset.asset_id for asset in assets],
        versions=[asset.asset_version_id for asset in assets],
    )
    if ids := [row["publication_id"] async for row in rows]:
        await hold_versions(transaction, ids)
        await supersede(transaction, ids, now=await queries.now(transaction.connection))
