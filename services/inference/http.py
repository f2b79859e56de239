"""The caller's own queue: read only."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field

from services.inference.accounts import queries as account_queries
from services.inference.domain import SHARES, account_of
from shared import operating
from shared.http import Gate
from shared.identity import Caller, May
from shared.postgres import Pool, transaction


class Queue(operating.Queue):
    """The caller's work that is not over. `shares`: what part of the workers each lane is guaranteed."""

    shares: dict[str, float]
    away: list["AwayAccount"] = Field(description="Providers that the caller's work waits for")


class AwayAccount(BaseModel):
    """A provider that takes no calls, or asked for patience (`busy`): it is asked again at `next_try_at`."""

    account: str
    since: datetime
    busy: bool
    next_try_at: datetime


def wire(app: FastAPI, *, pool: Pool, gate: Gate) -> None:
    reader = Depends(gate.needs(May.READ))

    @app.get("/v1/queue")
    async def queue(caller: Annotated[Caller, reader]) -> Queue:
        found = await operating.queue_of(pool, "inference", caller.workspace)
        whole = sum(SHARES.values())
        shares = {lane: share / whole for lane, share in SHARES.items()}
        away = await _away(pool, {account_of(line.kind) for line in found.lines})
        return Queue(**found.model_dump(), shares=shares, away=away)


async def _away(pool: Pool, accounts: Collection[str | None]) -> list[AwayAccount]:
    async with transaction(pool) as connection:
        away = [AwayAccount(**dict(row)) async for row in account_queries.outages(connection)]
    return [each for each in away if each.account in accounts]
