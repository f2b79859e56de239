"""The caller's own queue, and where a job would go: read only."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from services.inference.accounts import queries as account_queries
from services.inference.domain import account_of
from services.inference.flows import SHARES
from services.inference.routing import Ask, Decision
from services.inference.tables import RoutingTables
from shared import operating
from shared.events import Confidentiality, Lane, Pin, Priority
from shared.http import Gate, HttpProblem
from shared.identity import Caller, May
from shared.postgres import Pool, transaction, workspace_transaction


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


class RouteQuestion(BaseModel):
    """A job as far as routing looks at it; width and height in pixels."""

    model_config = ConfigDict(extra="forbid")

    confidentiality: Confidentiality = Confidentiality.PUBLIC
    priority: Priority = Priority.NORMAL
    bulk: bool = Field(default=False, description="The job comes with a batch")
    width: int = Field(default=1024, ge=1, le=65536)
    height: int = Field(default=1024, ge=1, le=65536)
    model: str | None = Field(default=None, max_length=200, description="The model the template locks")


class RouteAnswer(BaseModel):
    """Where the job would go, or what is missing; `refused` says of every other backend why not."""

    routable: bool
    backend: str | None = None
    kind: str | None = None
    lane: Lane | None = None
    rule: str | None = None
    reason: str
    remedy: str | None = None
    model: str | None = None
    price: str | None = Field(default=None, description="List price of one image; absent where nobody knows it")
    currency: str | None = None
    refused: dict[str, str]
    table: Pin | None = None


def wire(app: FastAPI, *, pool: Pool, gate: Gate, tables: RoutingTables) -> None:
    reader = Depends(gate.needs(May.READ))

    @app.get("/v1/queue")
    async def queue(caller: Annotated[Caller, reader]) -> Queue:
        found = await operating.queue_of(pool, "inference", caller.workspace)
        whole = sum(SHARES.values())
        shares = {lane: share / whole for lane, share in SHARES.items()}
        away = await _away(pool, {account_of(line.kind) for line in found.lines})
        return Queue(**found.model_dump(), shares=shares, away=away)

    @app.post("/v1/explain-route")
    async def explain_route(question: RouteQuestion, caller: Annotated[Caller, reader]) -> RouteAnswer:
        return await explain(question, workspace=caller.workspace, pool=pool, tables=tables)


async def _away(pool: Pool, accounts: Collection[str | None]) -> list[AwayAccount]:
    async with transaction(pool) as connection:
        rows = [dict(row) async for row in account_queries.outages(connection)]
    return [
        AwayAccount(account=row["account"], since=row["since"], busy=row["busy"], next_try_at=row["probe_at"])
        for row in rows
        if row["account"] in accounts
    ]


async def explain(question: RouteQuestion, *, workspace: UUID, pool: Pool, tables: RoutingTables) -> RouteAnswer:
    for name, value in (("confidentiality", question.confidentiality), ("priority", question.priority)):
        if value.value == "unknown":  # an open enum takes any word; a question must not
            known = ", ".join(member.value for member in type(value) if member.value != "unknown")
            raise HttpProblem("invalid_request", f"no such {name}", where=name, remedy=f"one of {known}")
    async with workspace_transaction(pool, stage="inference", workspace=workspace) as connection:
        await tables.refresh(connection, [workspace])
    decision = tables.decide(workspace, Ask(**question.model_dump()))
    if not isinstance(decision, Decision):
        return RouteAnswer(
            routable=False,
            rule=decision.rule,
            reason=decision.missing,
            remedy=decision.remedy,
            refused=decision.refused,
        )
    backend, route = decision.backend, decision.route
    return RouteAnswer(
        routable=True,
        backend=backend.name,
        kind=backend.kind,
        lane=route.lane,
        rule=route.rule,
        reason=route.reason,
        model=decision.model or None,
        price=None if decision.price is None else str(decision.price),
        currency=None if decision.price is None else backend.currency,
        refused=route.refused,
        table=route.table,
    )
