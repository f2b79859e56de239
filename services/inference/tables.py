"""The workspaces' routing tables as this stage heard of them, and the decisions made by them."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID

from pydantic import ValidationError

from services.inference.routing import Ask, Decision, Unroutable, current_table, decide
from shared.current import newest_documents
from shared.library.documents import Routes
from shared.postgres import Connection

FRESH_SECONDS = 2.0  # a table travels over a topic of its own; two seconds more are part of that
# A workspace's first table and its first job travel on different topics: the job may be the faster one.
GRACE_SECONDS = 1.0
GRACE_EVERY = 60.0  # a workspace that simply has no table holds its neighbours up once a minute, not always
REMEMBERED = 10_000


@dataclass(slots=True)
class Table:
    """A workspace's table and what it decided so far; asks are few, jobs are many."""

    routes: Routes | Unroutable | None
    read_at: float
    decisions: dict[tuple[Ask, date], Decision | Unroutable] = field(default_factory=dict)


class RoutingTables:
    """Reads tables when they are needed; `kinds` of backend and `providers` are what this deployment runs and calls."""

    def __init__(self, *, kinds: Iterable[str], providers: Iterable[str] = ()) -> None:
        self.kinds = frozenset(kinds)
        self._providers = frozenset(providers)
        self._tables: dict[UUID, Table] = {}
        self._waited: dict[UUID, float] = {}

    async def refresh(self, connection: Connection, workspaces: Iterable[UUID]) -> None:
        """Makes `decide` ready for these workspaces; waits a moment, now and then, for one that has no table yet."""
        now = time.monotonic()
        stale = {w for w in workspaces if w not in self._tables or now - self._tables[w].read_at > FRESH_SECONDS}
        absent = await self._read(connection, stale)
        patient = {w for w in absent if now - self._waited.get(w, -GRACE_EVERY) >= GRACE_EVERY}
        while absent & patient and time.monotonic() - now < GRACE_SECONDS:
            await asyncio.sleep(GRACE_SECONDS / 20)
            absent = await self._read(connection, absent)
        self._waited |= dict.fromkeys(patient, now)

    def decide(self, workspace: UUID, ask: Ask) -> Decision | Unroutable:
        table = self._tables[workspace]
        if isinstance(table.routes, Unroutable):
            return table.routes
        today = datetime.now(UTC).date()
        decision = table.decisions.get((ask, today))
        if decision is None:
            if len(table.decisions) >= REMEMBERED:
                table.decisions.clear()
            decision = decide(ask, table=table.routes, today=today, runnable=self.kinds, providers=self._providers)
            table.decisions[ask, today] = decision
        return decision

    async def _read(self, connection: Connection, workspaces: set[UUID]) -> set[UUID]:
        """Reads these; says which have none."""
        absent = set()
        for workspace in workspaces:
            routes = _parse(await newest_documents(connection, workspace, "routes"))
            known = self._tables.get(workspace)
            if known is not None and known.routes == routes:
                known.read_at = time.monotonic()
            else:
                self._tables[workspace] = Table(routes, time.monotonic())
            if routes is None:
                absent.add(workspace)
        return absent


def _parse(documents: dict[str, str]) -> Routes | Unroutable | None:
    try:
        return current_table(Routes.model_validate_json(document) for document in documents.values())
    except ValidationError as error:
        first = error.errors()[0]
        return Unroutable(
            missing=f"the routing table cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="publish a corrected version of it",
        )
