"""Whose turn it is. Work waits in flows, and a worker shares its slots out between them.

A flow is what waits in one lane for one backend of one workspace at one priority. Every lane has its guaranteed share;
within a lane every workspace has the same share, however much it has queued; within a workspace the first in line goes
first, where a level of priority is worth ten minutes of waiting.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

import aiosql

from services.inference.domain import SHARES, account_of
from shared.leases import Heads
from shared.postgres import Connection

queries: Any = aiosql.from_path(Path(__file__).parent / "flows.sql", "asyncpg")

LEVEL = timedelta(minutes=10)  # of waiting: what a level of priority is worth
MOST_SEEN = 4000  # rows that one look compares; of each flow at least one
MOST_LOOKS = 8  # in one claim; what is left then is the next claim's

NO_LIMIT: Mapping[str, int] = {}

Who = TypeVar("Who", bound=Hashable)


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """What waits in one lane for one backend of one workspace; `kind` is what the backend's workers claim."""

    kind: str
    lane: str
    workspace: UUID
    subject: str
    priority: int = 0


class Turns(Generic[Who]):
    """Start-time fair queueing (Goyal, Vin, Cheng 1996): everybody's next piece starts at a tag, the smallest first.

    Time is virtual: the start of the last piece taken. Who was idle starts at that time, so is served at once and has
    saved up nothing.
    """

    def __init__(self, weights: Mapping[Who, int] | None = None) -> None:
        """`weights`: shares, 1 for whoever is not named."""
        self._strides = {who: 1 / weight for who, weight in (weights or {}).items()}
        self._finish: dict[Who, float] = {}
        self._now = 0.0

    def tag(self, who: Who) -> float:
        return max(self._now, self._finish.get(who, 0.0))

    def took(self, who: Who) -> None:
        start = self.tag(who)
        self._now = start
        self._finish[who] = start + self._stride(who)

    def gave_back(self, who: Who, many: int) -> None:
        """So many of what it took were not there."""
        self._finish[who] -= many * self._stride(who)

    def forget_the_idle(self) -> None:
        """Whoever finished before now starts at now, remembered or not."""
        self._finish = {who: finish for who, finish in self._finish.items() if finish > self._now}

    def _stride(self, who: Who) -> float:
        return self._strides.get(who, 1.0)


class Scheduler:
    """Shares slots out between flows; remembers what each has had."""

    def __init__(self, shares: Mapping[str, int] = SHARES) -> None:
        self._lanes: Turns[str] = Turns(shares)
        self._workspaces: dict[str, Turns[UUID]] = {lane: Turns() for lane in shares}

    def grant(
        self,
        waiting: Mapping[Flow, Sequence[datetime]],
        many: int,
        *,
        longer: Collection[Flow] = (),
        room: Mapping[str, int] = NO_LIMIT,
    ) -> Counter[Flow]:
        """How many of each flow go next, `many` at most; `waiting`: since when the first of each flow wait.

        `room`: how many calls of an account, where that is limited. `longer`: flows of which more waits than is told
        here; with the last that is told of one it ends early, for nobody else is to have what may be that one's turn.
        """
        lines = _lines(waiting)
        turns: dict[str, list[tuple[float, UUID]]] = {}
        for lane, by_workspace in lines.items():
            turns[lane] = [(self._workspaces[lane].tag(workspace), workspace) for workspace in by_workspace]
            heapq.heapify(turns[lane])
        granted: Counter[Flow] = Counter()
        left = dict(room)
        while turns and granted.total() < many:
            lane = min(turns, key=lambda each: (self._lanes.tag(each), each))
            _, workspace = heapq.heappop(turns[lane])
            _, flow = lines[lane][workspace].pop()
            if _room(left, flow):
                granted[flow] += 1
                self._lanes.took(lane)
                self._workspaces[lane].took(workspace)
                _use(left, flow)
            if flow in longer and granted[flow] == len(waiting[flow]):
                break
            if lines[lane][workspace]:
                heapq.heappush(turns[lane], (self._workspaces[lane].tag(workspace), workspace))
            if not turns[lane]:
                del turns[lane]
        for each in self._workspaces.values():
            each.forget_the_idle()
        return granted

    def gave_back(self, flow: Flow, many: int) -> None:
        """So many of what was granted another worker had taken meanwhile."""
        self._lanes.gave_back(flow.lane, many)
        self._workspaces[flow.lane].gave_back(flow.workspace, many)


class Line:
    """Takes what is next of all that waits for one worker's kinds of work."""

    def __init__(self, kinds: Sequence[str], *, shares: Mapping[str, int] = SHARES) -> None:
        self._kinds = list(kinds)
        self._lanes = list(shares)
        self._scheduler = Scheduler(shares)
        self._flows: list[Flow] = []
        self._heads: Heads[Flow] = Heads()
        self._is_news = True

    def look_round(self) -> None:
        """Before the next claim: something was queued, and may have begun a flow."""
        self._is_news = True

    async def take(
        self, connection: Connection, many: int, *, holder: str, lease: float, room: Mapping[str, int] = NO_LIMIT
    ) -> list[dict[str, Any]]:
        """Up to `many` rows, now held by `holder` for `lease` seconds: what is out of time, then whose turn it is.

        `room`: how many calls of an account, where that is limited.
        """
        late = queries.claim_late(connection, kinds=self._kinds, many=many, holder=holder, lease=lease)
        rows = [dict(row) async for row in late]
        by = _Claim(connection, holder, lease, many - len(rows), dict(room), self._heads.places())
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
        found = queries.flows(connection, kinds=self._kinds, lanes=self._lanes)
        self._flows = [Flow(**dict(row)) async for row in found]

    async def _take(self, by: "_Claim") -> None:
        flows = self._flows
        for _ in range(MOST_LOOKS):
            left = by.many - len(by.taken)
            flows = [flow for flow in flows if _room(by.room, flow)]
            if not left or not flows:
                break
            part = max(1, min(left, MOST_SEEN // len(flows)))
            waiting = await by.look(flows, part)
            longer = {flow for flow, times in waiting.items() if len(times) == part}
            granted = self._scheduler.grant(waiting, left, longer=longer, room=by.room)
            if not granted:
                break
            found = await by.claim(granted)
            for flow, lost in (granted - Counter(map(flow_of, found))).items():
                self._scheduler.gave_back(flow, lost)
            flows = [flow for flow in waiting if flow in longer or granted[flow] < len(waiting[flow])]


@dataclass(slots=True, eq=False)
class _Claim:
    """One claim under way: what it has taken, of how many, and what room is left."""

    connection: Connection
    holder: str
    lease: float
    many: int
    room: dict[str, int]
    heads: Mapping[Flow, datetime]
    taken: list[dict[str, Any]] = field(default_factory=list)

    async def look(self, flows: Sequence[Flow], many: int) -> dict[Flow, list[datetime]]:
        """Since when the first of each of these flows wait."""
        waiting: dict[Flow, list[datetime]] = {}
        async for row in queries.heads(self.connection, **self._columns(flows), many=many):
            waiting.setdefault(flows[row["number"] - 1], []).append(row["created_at"])
        return waiting

    async def claim(self, granted: Mapping[Flow, int]) -> list[dict[str, Any]]:
        found = queries.claim(
            self.connection,
            **self._columns(list(granted)),
            counts=list(granted.values()),
            holder=self.holder,
            lease=self.lease,
        )
        rows = [dict(row) async for row in found]
        for row in rows:
            _use(self.room, flow_of(row))
        self.taken += rows
        return rows

    def _columns(self, flows: Sequence[Flow]) -> dict[str, list[Any]]:
        return {
            "kinds": [flow.kind for flow in flows],
            "lanes": [flow.lane for flow in flows],
            "workspaces": [flow.workspace for flow in flows],
            "subjects": [flow.subject for flow in flows],
            "priorities": [flow.priority for flow in flows],
            "afters": [self.heads.get(flow) for flow in flows],
        }


def _lines(waiting: Mapping[Flow, Sequence[datetime]]) -> dict[str, dict[UUID, list[tuple[datetime, Flow]]]]:
    """Lane and workspace → what waits there, the first in line at the end."""
    lines: dict[str, dict[UUID, list[tuple[datetime, Flow]]]] = {}
    for flow, times in waiting.items():
        line = lines.setdefault(flow.lane, {}).setdefault(flow.workspace, [])
        line += [(since - flow.priority * LEVEL, flow) for since in times]
    for by_workspace in lines.values():
        for line in by_workspace.values():
            line.sort(reverse=True)
    return lines


def _room(room: Mapping[str, int], flow: Flow) -> int:
    return room.get(account_of(flow.kind) or "", 1)


def _use(room: dict[str, int], flow: Flow) -> None:
    account = account_of(flow.kind)
    if account in room:
        room[account] -= 1


def flow_of(row: Mapping[str, Any]) -> Flow:
    return Flow(row["kind"], row["lane"], row["workspace"], row["subject"], row["priority"])
