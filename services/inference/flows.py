"""Work waits in flows, and a worker takes what is next of all that waits for it: a few statements, however much waits.

A flow is what waits in one lane for one backend of one workspace at one priority. Whose turn it is says `turns.py`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

import aiosql

from services.inference.domain import SHARES
from services.inference.turns import Flow, Head, Purse, Room, Scheduler, cost_of, flow_of
from shared.leases import Heads
from shared.postgres import Connection

queries: Any = aiosql.from_path(Path(__file__).parent / "flows.sql", "asyncpg")

MOST_SEEN = 4000  # rows that one look compares; of each flow at least one
MOST_LOOKS = 8  # in one claim; what is left then is the next claim's
EVERYTHING: Mapping[Flow, datetime] = MappingProxyType({})


class Limits(Protocol):
    """What is limited beside slots, asked once a claim; whatever it says holds until the claim is over.

    `due_in`: seconds until somebody who was found at a limit may be called again, where that is known.
    """

    due_in: float | None

    def begin(self) -> None:
        """Another claim."""
        ...

    async def calls(self, connection: Connection, flows: Sequence[Flow]) -> Mapping[str, int]:
        """How many calls may go out, by whoever's limit concerns one of these flows."""
        ...

    async def purses(self, connection: Connection, workspaces: Collection[UUID]) -> Mapping[UUID, Purse]:
        """What each of them may still spend."""
        ...

    async def called(self, connection: Connection, flows: Iterable[Flow]) -> None:
        """So many calls go out with this claim, each of one of these flows."""
        ...


class NoLimits:
    due_in: float | None = None

    def begin(self) -> None:
        pass

    async def calls(self, connection: Connection, flows: Sequence[Flow]) -> Mapping[str, int]:  # noqa: ARG002
        return {}

    async def purses(self, connection: Connection, workspaces: Collection[UUID]) -> Mapping[UUID, Purse]:  # noqa: ARG002
        return {workspace: Purse() for workspace in workspaces}

    async def called(self, connection: Connection, flows: Iterable[Flow]) -> None:
        pass


class Line:
    """Takes what is next of all that waits for one worker's kinds of work."""

    def __init__(
        self, kinds: Sequence[str], *, shares: Mapping[str, int] = SHARES, limits: Limits | None = None
    ) -> None:
        self._kinds = list(kinds)
        self._limits = limits or NoLimits()
        self._lanes = list(shares)
        self._scheduler = Scheduler(shares)
        self._flows: list[Flow] = []
        self._heads: Heads[Flow] = Heads()
        self._is_news = True

    def look_round(self) -> None:
        """Before the next claim: something was queued, and may have begun a flow."""
        self._is_news = True

    async def take(
        self, connection: Connection, many: int, *, holder: str, lease: float, room: Room | None = None
    ) -> list[dict[str, Any]]:
        """Up to `many` rows, now held by `holder` for `lease` seconds: what is out of time, then whose turn it is.

        `room`: what is known of it already; the rest is asked for, and what is taken is used up in it.
        """
        self._limits.begin()
        late = queries.claim_late(connection, kinds=self._kinds, many=many, holder=holder, lease=lease)
        rows = [dict(row) async for row in late]
        by = _Claim(connection, holder, lease, many - len(rows), room or Room(), self._heads.places())
        if self._is_news or not by.heads:
            await self._look_round(connection)
        await self._take(by)
        if by.heads and by.many > len(by.taken):
            await self._look_round(connection)
            by.heads = {}
            await self._take(by)
        whole = len(by.taken) == by.many
        self._heads.moved([(flow_of(row), row["created_at"]) for row in by.taken] if whole else [])
        return rows + by.taken

    async def _look_round(self, connection: Connection) -> None:
        self._is_news = False
        self._flows = await flows_of(connection, self._kinds, lanes=self._lanes)

    async def _take(self, by: "_Claim") -> None:
        flows = self._flows
        await self._learn_limits(by)
        for _ in range(MOST_LOOKS):
            left = by.many - len(by.taken)
            flows = [flow for flow in flows if by.room.has(flow)]
            if not left or not flows:
                break
            part = max(1, min(left, MOST_SEEN // len(flows)))
            waiting = await heads_of(by.connection, flows, part, after=by.heads)
            await self._open_purses(by, waiting)
            longer = {flow for flow, heads in waiting.items() if len(heads) == part}
            granted = self._scheduler.grant(waiting, left, longer=longer, room=by.room)
            if not granted:
                break
            found = await by.claim(granted)
            for flow, lost in (granted - Counter(map(flow_of, found))).items():
                self._scheduler.gave_back(flow, lost)
            flows = [flow for flow in waiting if flow in longer or granted[flow] < len(waiting[flow])]

    async def _learn_limits(self, by: "_Claim") -> None:
        new = [flow for flow in self._flows if flow not in by.learnt]
        by.learnt.update(new)
        if new:
            for name, many in (await self._limits.calls(by.connection, new)).items():
                by.room.calls[name] = min(many, by.room.calls.get(name, many))

    async def _open_purses(self, by: "_Claim", waiting: Mapping[Flow, Sequence[Head]]) -> None:
        """Only of workspaces where something costs something: mostly nobody."""
        dear = {flow.workspace for flow, heads in waiting.items() if any(head.cost for head in heads)}
        if unknown := dear - by.room.purses.keys():
            by.room.purses.update(await self._limits.purses(by.connection, unknown))


@dataclass(slots=True, eq=False)
class _Claim:
    """One claim under way: what it has taken, of how many, and what room is left."""

    connection: Connection
    holder: str
    lease: float
    many: int
    room: Room
    heads: Mapping[Flow, datetime]
    learnt: set[Flow] = field(default_factory=set)
    taken: list[dict[str, Any]] = field(default_factory=list)

    async def claim(self, granted: Mapping[Flow, int]) -> list[dict[str, Any]]:
        found = queries.claim(
            self.connection,
            **_columns(list(granted), self.heads),
            counts=list(granted.values()),
            holder=self.holder,
            lease=self.lease,
        )
        rows = [dict(row) async for row in found]
        for row in rows:
            self.room.use(flow_of(row), cost_of(row))
            del row["currency"], row["price"]
        self.taken += rows
        return rows


async def flows_of(connection: Connection, kinds: Sequence[str], *, lanes: Sequence[str] = tuple(SHARES)) -> list[Flow]:
    """All that waits of these kinds."""
    return [Flow(**dict(row)) async for row in queries.flows(connection, kinds=list(kinds), lanes=list(lanes))]


async def heads_of(
    connection: Connection, flows: Sequence[Flow], many: int, *, after: Mapping[Flow, datetime] = EVERYTHING
) -> dict[Flow, list[Head]]:
    """The first of each of these flows; `after`: where one begins, for whoever knows that."""
    heads: dict[Flow, list[Head]] = {}
    async for row in queries.heads(connection, **_columns(flows, after), many=many):
        heads.setdefault(flows[row["number"] - 1], []).append(Head(row["created_at"], cost_of(row), row["sort"]))
    return heads


def _columns(flows: Sequence[Flow], after: Mapping[Flow, datetime]) -> dict[str, list[Any]]:
    return columns_of(flows) | {"afters": [after.get(flow) for flow in flows]}


def columns_of(flows: Sequence[Flow]) -> dict[str, list[Any]]:
    """Flows as a query takes them: a list of each of their fields."""
    return {
        "kinds": [flow.kind for flow in flows],
        "lanes": [flow.lane for flow in flows],
        "workspaces": [flow.workspace for flow in flows],
        "subjects": [flow.subject for flow in flows],
        "priorities": [flow.priority for flow in flows],
    }
