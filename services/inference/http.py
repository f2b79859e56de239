"""The caller's own queue: what waits, what holds it, and where each job of a request stands. Read only."""

import html
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from services.inference.accounts import queries as account_queries
from services.inference.domain import SHARES, account_of
from services.inference.flows import flows_of, heads_of
from services.inference.limits import Limit
from services.inference.standing import Hold, Place, look, places_of, queries
from services.inference.tables import RoutingTables
from shared import operating
from shared.events import WaitingOn
from shared.http import Gate
from shared.identity import Caller, May
from shared.leases import IN_ORDER
from shared.postgres import Pool, transaction, workspace_transaction


class Queue(operating.Queue):
    """The caller's work that is not over. `shares`: what part of the workers each lane is guaranteed."""

    shares: dict[str, float]
    away: list["AwayAccount"] = Field(description="Providers that the caller's work waits for")
    held_back: list["HeldBack"] = Field(description="What waits for something else than its turn, and for what")
    spend: "Spending | None" = Field(description="Where a day has a cap: what today has cost (UTC)")


class AwayAccount(BaseModel):
    """A provider that takes no calls, or asked for patience (`busy`): it is asked again at `next_try_at`."""

    account: str
    since: datetime
    busy: bool
    next_try_at: datetime


class Held(BaseModel):
    """On what something waits, who or what that is, since when, until when where that is known, and what helps."""

    waiting_on: WaitingOn
    who: str
    since: datetime
    until: datetime | None
    remedy: str | None


class HeldBack(Held):
    """Work for one backend in one lane that is held."""

    backend: str
    lane: str


class InCurrency(BaseModel):
    """`reserved`: what calls were let go for whose cost is not known yet, uncertain ones among them."""

    currency: str
    settled: str
    reserved: str


class Spending(BaseModel):
    cap: str = Field(description="In any one currency")
    spent: list[InCurrency]


class Standing(BaseModel):
    """A job that waits. `held`: for something else than its turn, else its `position` in the order of turns, from 1.

    No position: it is held, or more than a thousand go before it. `starts_in_seconds` is an estimate from what
    pictures like each that goes before it took lately.
    """

    job_id: UUID
    held: Held | None
    position: int | None
    starts_in_seconds: float | None


def wire(app: FastAPI, *, pool: Pool, gate: Gate, tables: RoutingTables, accounts: Mapping[str, Limit]) -> None:
    reader = Depends(gate.needs(May.READ))

    @app.get("/v1/queue")
    async def queue(caller: Annotated[Caller, reader]) -> Queue:
        found = await operating.queue_of(pool, "inference", caller.workspace)
        whole = sum(SHARES.values())
        shares = {lane: share / whole for lane, share in SHARES.items()}
        kinds = sorted({line.kind for line in found.lines})
        away = await _away(pool, {account_of(kind) for kind in kinds})
        held_back, spend = await _held_back(pool, caller.workspace, kinds, tables=tables, accounts=accounts)
        return Queue(**found.model_dump(), shares=shares, away=away, held_back=held_back, spend=spend)

    @app.get("/v1/queue/jobs")
    async def jobs(
        request: Annotated[list[UUID], Query(min_length=1, max_length=100)], caller: Annotated[Caller, reader]
    ) -> list[Standing]:
        """Where the jobs of these requests stand that wait for a backend; not what runs, is braked or over."""
        return [
            Standing(
                job_id=place.job_id,
                held=_held(place.hold) if place.hold else None,
                position=place.position,
                starts_in_seconds=place.starts_in_seconds,
            )
            for place in await places(request, caller.workspace)
        ]

    @app.get("/v1/queue/words", response_class=HTMLResponse)
    async def words(request: UUID, job: UUID, caller: Annotated[Caller, reader]) -> str:
        """The same of one job as a sentence, for a page; nothing where it does not wait here."""
        found = [place.words for place in await places([request], caller.workspace) if place.job_id == job]
        return html.escape("".join(found))

    async def places(requests: Sequence[UUID], workspace: UUID) -> list[Place]:
        async with workspace_transaction(pool, stage="inference", workspace=workspace) as connection:
            waiting = [row async for row in queries.waiting_of(connection, requests=requests)]
        if not waiting:
            return []
        async with transaction(pool) as connection:
            return await places_of(connection, waiting, tables=tables, accounts=accounts)


async def _held_back(
    pool: Pool, workspace: UUID, kinds: Collection[str], *, tables: RoutingTables, accounts: Mapping[str, Limit]
) -> tuple[list[HeldBack], Spending | None]:
    """By the first in line of each flow: what holds that one holds what is behind it."""
    async with workspace_transaction(pool, stage="inference", workspace=workspace) as connection:
        await connection.execute(IN_ORDER)
        flows = await flows_of(connection, sorted(kinds))
        heads = await heads_of(connection, flows, 1)
    async with transaction(pool) as connection:
        moment = await look(connection, flows, tables=tables, accounts=accounts, of=workspace)
    holds: dict[tuple[Any, ...], HeldBack] = {}
    for flow, (head, *_) in heads.items():
        hold = moment.hold(flow, head.cost, head.since)
        if hold is not None:
            held = HeldBack(**_held(hold).model_dump(), backend=flow.subject, lane=flow.lane)
            holds.setdefault((flow.subject, flow.lane, hold.waiting_on), held)
    cap = moment.caps.get(workspace)
    spent = [
        InCurrency(currency=each.currency, settled=str(each.settled), reserved=str(each.reserved))
        for each in moment.spent.get(workspace, ())
    ]
    return list(holds.values()), None if cap is None else Spending(cap=str(cap), spent=spent)


def _held(hold: Hold) -> Held:
    return Held(waiting_on=hold.waiting_on, who=hold.who, since=hold.since, until=hold.until, remedy=hold.remedy)


async def _away(pool: Pool, accounts: Collection[str | None]) -> list[AwayAccount]:
    async with transaction(pool) as connection:
        away = [AwayAccount(**dict(row)) async for row in account_queries.outages(connection)]
    return [each for each in away if each.account in accounts]
