"""The workspaces' routing tables as this stage heard of them, and the decisions made by them."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from pydantic import ValidationError

from services.inference.queue import queries
from services.inference.routing import (
    NOTHING,
    Ask,
    Decision,
    Sent,
    Unroutable,
    barred,
    bucket_of,
    current_table,
    decide,
)
from shared.current import newest_documents
from shared.errors import unreadable
from shared.library.documents import Routes
from shared.postgres import Connection

FRESH_SECONDS = 2.0  # a table travels over a topic of its own; two seconds more are part of that
# A workspace's first table and its first job travel on different topics: the job may be the faster one.
GRACE_SECONDS = 0.5  # what no backend may take is said within a second
GRACE_EVERY = 60.0  # a workspace that simply has no table holds its neighbours up once a minute, not always
REMEMBERED = 10_000


@dataclass(slots=True)
class Table:
    """A workspace's table and what it decided so far; asks are few, jobs are many."""

    routes: Routes | Unroutable | None
    documents: Mapping[str, str]
    read_at: float
    decisions: dict[tuple[Ask, int | None, date], Decision | Unroutable] = field(default_factory=dict)
    barred: dict[tuple[Sent, date], str | None] = field(default_factory=dict)

    def bucket_of(self, job: UUID) -> int:
        """The lowest one that every canary treats as it does the job's own: few decisions serve all jobs."""
        rules = self.routes.rules if isinstance(self.routes, Routes) else []
        percents = [rule.canary.percent for rule in rules if rule.canary]
        bucket = bucket_of(job) if percents else 0
        return max((percent for percent in percents if percent <= bucket), default=0)


class RoutingTables:
    """Reads tables when they are needed; `kinds` of backend and `providers` (name → kind) are what runs here."""

    def __init__(self, *, kinds: Iterable[str], providers: Mapping[str, str] = NOTHING) -> None:
        self.kinds = frozenset(kinds)
        self.providers = providers
        self.today = date.min
        self._tables: dict[UUID, Table] = {}
        self._waited: dict[UUID, float] = {}

    async def refresh(self, connection: Connection, workspaces: Iterable[UUID], *, patient: bool = True) -> None:
        """Makes `decide` ready for these workspaces; if `patient`, waits now and then for one that has no table yet."""
        now = time.monotonic()
        stale = {w for w in workspaces if w not in self._tables or now - self._tables[w].read_at > FRESH_SECONDS}
        if stale:
            # Hosts disagree about the day: what decides is the database's.
            self.today = await queries.today(connection)
        absent = await self._read(connection, stale)
        due = {w for w in absent if patient and now - self._waited.get(w, -GRACE_EVERY) >= GRACE_EVERY}
        while absent & due and time.monotonic() - now < GRACE_SECONDS:
            await asyncio.sleep(GRACE_SECONDS / 20)
            absent = await self._read(connection, absent)
        self._waited |= dict.fromkeys(due, now)

    def decide(self, workspace: UUID, ask: Ask, *, job: UUID | None = None) -> Decision | Unroutable:
        """`job` says on which side of a canary; without one, on the side of most."""
        table = self._tables[workspace]
        if isinstance(table.routes, Unroutable):
            return table.routes
        bucket = table.bucket_of(job) if job is not None else None
        key = (ask, bucket, self.today)
        decision = table.decisions.get(key)
        if decision is None:
            if len(table.decisions) >= REMEMBERED:
                table.decisions.clear()
            decision = decide(
                ask,
                table=table.routes,
                today=self.today,
                runnable=self.kinds,
                providers=self.providers,
                bucket=bucket,
            )
            table.decisions[key] = decision
        return decision

    def barred(self, workspace: UUID, sent: Sent) -> str | None:
        """Why what was sent there once may not go there today, if it may not."""
        table, key = self._tables[workspace], (sent, self.today)
        if key not in table.barred:
            if len(table.barred) >= REMEMBERED:
                table.barred.clear()
            table.barred[key] = barred(
                sent, table=table.routes, today=self.today, runnable=self.kinds, providers=self.providers
            )
        return table.barred[key]

    def table_of(self, workspace: UUID) -> Routes | Unroutable | None:
        """As it was read last."""
        return self._tables[workspace].routes

    async def _read(self, connection: Connection, workspaces: set[UUID]) -> set[UUID]:
        """Reads these; says which have none."""
        found = await newest_documents(connection, workspaces, "routes") if workspaces else {}
        for workspace in workspaces:
            documents, known = found.get(workspace, {}), self._tables.get(workspace)
            if known is not None and known.documents == documents:
                known.read_at = time.monotonic()
            else:
                self._tables[workspace] = Table(_parse(documents), documents, time.monotonic())
        return {workspace for workspace in workspaces if self._tables[workspace].routes is None}


def _parse(documents: Mapping[str, str]) -> Routes | Unroutable | None:
    try:
        return current_table(Routes.model_validate_json(document) for document in documents.values())
    except ValidationError as error:
        return Unroutable(
            missing=f"the routing table cannot be read: {unreadable(error)}",
            remedy="publish a corrected version of it",
        )
