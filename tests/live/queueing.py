"""Inference's queue on a real Postgres, and workers that claim from it; nobody is called."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from deploy.local.servers import EmbeddedServers
from services.inference import replays
from services.inference.domain import Failed
from services.inference.handler import Front
from services.inference.limits import ClaimLimits, Limit
from services.inference.permits import Permits
from services.inference.queue import Claims, Desk
from services.inference.standing import Place, places_of
from services.inference.standing import queries as standing
from services.inference.tables import RoutingTables
from services.inference.worker import Settled, record
from shared import identity, leases
from shared.current import keep_items, keep_workspaces
from shared.events import (
    ApiKey,
    Attempt,
    AttemptState,
    FailureReason,
    Limits,
    PromptAssembled,
    WorkspaceChanged,
)
from shared.leases import IN_ORDER, Leased, Outcome, Worker
from shared.library.documents import Routes
from shared.outbox import Transaction
from shared.postgres import Pool, open_pool, transaction
from tests.inference.prompts import NOW, WORKSPACE, routes
from tests.live.items import published
from tests.live.stage import new_database

KIND, OTHER = "openai/standard/acme", UUID(int=7)
NOTHING: Any = None


def table(**backend: Any) -> Routes:
    given: dict[str, Any] = {"model": "m", "price": "0.04", "call": {"provider": "acme"}, "concurrency": 256}
    return routes("openai", **given | backend)


@dataclass(eq=False)
class Queue:
    """Inference's queue, and workers that claim from it; what they claim is settled by the test."""

    pool: Pool
    revision: int = 0
    tables: RoutingTables = field(
        default_factory=lambda: RoutingTables(kinds=["openai", "proof"], providers={"acme": "openai"})
    )

    async def found(
        self,
        *,
        cap: str | None = None,
        workspace: UUID = WORKSPACE,
        by: Routes | None = None,
        key: identity.NewKey | None = None,
    ) -> None:
        """The workspace as intake would tell it; again: with another cap."""
        keys = [ApiKey(key_id=key.key_id, sha256=key.sha256, principal="rita", roles=["reader"])] if key else []
        self.revision += 1
        given: dict[str, Any] = {"cause_id": str(self.revision), "occurred_at": NOW, "workspace": workspace}
        limits = Limits(spend_per_day=None if cap is None else Decimal(cap))
        made_by = (by or table()).model_copy(update={"version": 1})  # the newest, whatever was found before
        async with transaction(self.pool) as connection:
            told: dict[str, Any] = {"name": str(workspace), "limits": limits, "keys": keys, "revision": self.revision}
            await keep_workspaces(connection, [WorkspaceChanged.of(**given, **told)])
            await keep_items(connection, [published(made_by, workspace=workspace, at=NOW)])

    async def put(self, *events: PromptAssembled) -> None:
        front = Front(tables=self.tables, desk=Desk(), workers={})
        async with transaction(self.pool) as connection:
            await front.take(Transaction(connection), events)

    def worker(
        self,
        *,
        kinds: Sequence[str] = (KIND,),
        accounts: dict[str, Limit] | None = None,
        providers: Sequence[str] = ("acme",),
    ) -> Claims:
        """A process of its own: it knows the tables for itself, and nothing of the others."""
        tables = RoutingTables(kinds=["openai", "proof"], providers=dict.fromkeys(providers, "openai"))
        limits, recheck = ClaimLimits(tables, accounts=accounts or {}), Permits(tables).jobs
        claims = Claims(Desk(), kinds=kinds, limits=limits, recheck=recheck)
        claims.worker = Worker(
            stage="inference", outbox=NOTHING, pool=self.pool, kinds=kinds, exhausted=NOTHING, lease_seconds=60.0
        )
        return claims

    async def claim(self, claims: Claims | replays.Claims, many: int = 8) -> list[Leased]:
        async with transaction(self.pool) as connection:
            await connection.execute(IN_ORDER)
            return await claims.claim(connection, many)

    async def drain(self, *workers: Claims, many: int = 8) -> list[Leased]:
        """All workers at once, until none of them finds anything."""

        async def one(claims: Claims) -> list[Leased]:
            taken: list[Leased] = []
            while some := await self.claim(claims, many):
                taken += some
            return taken

        return [lease for some in await asyncio.gather(*map(one, workers)) for lease in some]

    async def end(self, claims: Claims, lease: Leased, cost: str | None) -> None:
        """As a worker settles an attempt that failed and cost so much; None: nobody knows."""
        piece = claims._desk.take(lease)
        attempt = Attempt(
            attempt_id=piece.attempt_id, number=piece.number, backend="local", currency="USD",
            state=AttemptState.FAILED if cost else AttemptState.UNCERTAIN, cost=None if cost is None else Decimal(cost),
        )  # fmt: skip
        ending = Failed(reason=FailureReason.CORRUPT_OUTPUT, detail="made up")
        outcome = Outcome(name="failed", record=Settled(piece, attempt, ending))
        async with transaction(self.pool) as connection:
            rows = leases.queries.settle(
                connection, ids=[lease.work_id], asked=[lease.asked_at], epochs=[lease.epoch],
                holder=claims.worker.holder, outcomes=["failed"], details=[None], delays=[None], failed=[0],
            )  # fmt: skip
            assert [row async for row in rows]
            await record(Transaction(connection), [(lease, outcome)])

    async def spent(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("select settled::text, reserved::text from spend order by workspace, day")
        return [tuple(row) for row in rows]

    async def places(self, *events: PromptAssembled) -> dict[UUID, Place]:
        async with transaction(self.pool) as connection:
            rows = [r async for r in standing.waiting_of(connection, requests=[e.request_id for e in events])]
            places = await places_of(connection, rows, tables=self.tables, accounts={})
        return {place.job_id: place for place in places}


TABLES = (
    "work", "attempts", "spend", "meters", "outbox", "claimers", "unclaimed", "paces", "workspaces", "library_items",
    "outages", "replays",
)  # fmt: skip
DATABASES: list[str] = []


@asynccontextmanager
async def open_queue(servers: EmbeddedServers) -> AsyncIterator[Queue]:
    """Emptied: one database serves all of these tests."""
    if not DATABASES:
        DATABASES.append(await new_database(servers))
    pool = await open_pool(DATABASES[0], stage="inference", size=8)
    try:
        await pool.execute("; ".join(f"delete from {each}" for each in TABLES))
        yield Queue(pool)
    finally:
        await pool.close()
