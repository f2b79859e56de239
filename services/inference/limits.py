"""What may go out now: calls within the limits of backends and accounts, money within the caps of workspaces.

Both are counted in Postgres under locks that a claim holds until it is over: together all processes take no more than
one would. A cap holds for the sum of what the day's attempts cost and, of those whose cost is not known yet, what they
were let go for, in each currency by itself.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql

from services.inference.domain import together
from services.inference.routing import Unroutable
from services.inference.tables import RoutingTables
from services.inference.turns import Flow, Purse
from shared.library.documents import Rate, Routes
from shared.postgres import Connection

queries: Any = aiosql.from_path(Path(__file__).parent / "limits.sql", "asyncpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Of calls: so many at once, so many a minute; None is no limit."""

    at_once: int | None = None
    rate: Rate | None = None

    def tokens(self, before: float | None, seconds: float) -> float:
        """What the bucket holds so many seconds after it held `before`; one that was never used is full."""
        if self.rate is None:
            return float("inf")
        full = float(self.rate.burst)
        return full if before is None else min(full, before + max(0.0, seconds) * self.rate.per_minute / 60)


def limits_in(table: Routes | Unroutable | None) -> dict[str, Limit]:
    """By backend. Local ones make as many at once as their machines are set to: that is a limit for calls alone."""
    return {
        backend.name: Limit(at_once=backend.concurrency if backend.call else None, rate=backend.rate)
        for backend in (table.backends if isinstance(table, Routes) else [])
        if backend.call or backend.rate
    }


class ClaimLimits:
    """The limits as one worker's claims meet them, one claim at a time; `accounts`: those of the deployment's accounts.

    `due_in`: seconds until a bucket that was found empty holds a token again.
    """

    def __init__(self, tables: RoutingTables, *, accounts: Mapping[str, Limit]) -> None:
        self._tables = tables
        self._accounts = accounts
        self._known: dict[UUID, tuple[object, Mapping[str, Limit]]] = {}
        self._tokens: dict[str, float] = {}
        self.due_in: float | None = None

    def begin(self) -> None:
        self._tokens, self.due_in = {}, None

    async def calls(self, connection: Connection, flows: Sequence[Flow]) -> Mapping[str, int]:
        await self._tables.refresh(connection, {flow.workspace for flow in flows}, patient=False)
        limits: dict[str, Limit] = {}
        for flow in flows:
            limits |= self.limits_of(flow)
        if not limits:
            return {}
        room = dict(await self._tokens_left(connection, limits))
        if any(limit.at_once is not None for limit in limits.values()):
            calls = await under_way(connection, {flow.kind for flow in flows if self.limits_of(flow)})
            for name, limit in limits.items():
                if limit.at_once is not None:
                    left = max(0, limit.at_once - calls[name])
                    room[name] = min(left, room.get(name, left))
        return room

    def limits_of(self, flow: Flow) -> dict[str, Limit]:
        """By name, as `Flow.limited_by` has them."""
        limit = self._in(flow.workspace).get(flow.subject)
        found = {flow.backend: limit} if limit is not None else {}
        if flow.account is not None and flow.account in self._accounts:
            found[flow.account] = self._accounts[flow.account]
        return found

    def _in(self, workspace: UUID) -> Mapping[str, Limit]:
        table = self._tables.table_of(workspace)
        if workspace not in self._known or self._known[workspace][0] is not table:
            self._known[workspace] = table, limits_in(table)
        return self._known[workspace][1]

    async def purses(self, connection: Connection, workspaces: Collection[UUID]) -> Mapping[UUID, Purse]:
        found = {workspace: Purse() for workspace in workspaces}
        capped = queries.lock_caps(connection, workspaces=sorted(workspaces))
        found |= {row["workspace"]: Purse(row["cap"]) async for row in capped}
        async for row in queries.spent(connection, workspaces=[w for w in found if found[w].cap is not None]):
            found[row["workspace"]].spent[row["currency"]] = row["settled"] + row["reserved"]
        return found

    async def called(self, connection: Connection, flows: Iterable[Flow]) -> None:
        many = Counter(name for flow in flows for name in flow.limited_by if name in self._tokens)
        if many:
            left = [self._tokens[name] - many[name] for name in many]
            await queries.count_calls(connection, meters=list(many), tokens=left)

    async def _tokens_left(self, connection: Connection, limits: Mapping[str, Limit]) -> list[tuple[str, int]]:
        """Of each bucket, which is locked; so is the row of a limit that has none."""
        names = list(limits)
        rows = [row async for row in queries.meters(connection, meters=names)]
        if len(rows) < len(names):
            await queries.open_meters(connection, meters=names)
            rows = [row async for row in queries.meters(connection, meters=names)]
        found = []
        for row in rows:
            name, limit = row["meter"], limits[row["meter"]]
            if limit.rate is not None:
                tokens = self._tokens[name] = limit.tokens(row["tokens"], row["seconds"])
                found.append((name, int(tokens)))
                if tokens < 1:
                    due = (1 - tokens) * 60 / limit.rate.per_minute
                    self.due_in = min(due, self.due_in or due)
        return found


async def under_way(connection: Connection, kinds: Collection[str]) -> Counter[str]:
    """How many calls go on, by account and backend, whoever makes them: jobs and replays, of every pool."""
    calls: Counter[str] = Counter()
    async for row in queries.under_way(connection, kinds=together(kinds)):
        flow = Flow(row["kind"], "", row["workspace"], row["subject"])
        for name in flow.limited_by:
            calls[name] += row["calls"]
    return calls
