"""Whose turn it is: a pure rule over what waits, what each has had, and what room there is.

Every lane has its guaranteed share; within a lane every workspace has the same share, however much it has queued;
within a workspace the first in line goes first, where a level of priority is worth ten minutes of waiting. What has no
room (an account that is away, a backend at its limit, a cap that is reached) is passed over and stands in nobody's way.
"""

import copy
import heapq
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from services.inference.domain import SHARES, Cost, account_of
from shared.events import Lane

LEVEL = timedelta(minutes=10)  # of waiting: what a level of priority is worth

SHARED = "the slots that any lane may have"  # where a worker keeps some for the dedicated one

Who = TypeVar("Who", bound=Hashable)


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """What waits in one lane for one backend of one workspace; `kind` is what the backend's workers claim."""

    kind: str
    lane: str
    workspace: UUID
    subject: str
    priority: int = 0

    @property
    def account(self) -> str | None:
        return account_of(self.kind)

    @property
    def backend(self) -> str:
        """Its backend's name beside those of other workspaces."""
        return f"{self.workspace}/{self.subject}"

    @property
    def limited_by(self) -> list[str]:
        """Whose limits of calls concern it."""
        shared = [] if self.lane == Lane.DEDICATED else [SHARED]
        return [self.backend, *([self.account] if self.account else []), *shared]


class Head(NamedTuple):
    """One of the first of a flow: since when it waits, what an attempt of it may cost, if anything, and its sort."""

    since: datetime
    cost: Cost | None = None
    sort: str | None = None


@dataclass(slots=True)
class Purse:
    """What a workspace may still spend today: its cap, in every currency by itself. No cap: as much as it likes."""

    cap: Decimal | None = None
    spent: dict[str, Decimal] = field(default_factory=dict)

    def affords(self, cost: Cost) -> bool:
        """What nobody knows the cost of fits no cap."""
        return self.cap is None or (cost.amount is not None and self._spent(cost) + cost.amount <= self.cap)

    def pay(self, cost: Cost) -> None:
        self.spent[cost.currency] = self._spent(cost) + (cost.amount or 0)

    def _spent(self, cost: Cost) -> Decimal:
        return self.spent.get(cost.currency, Decimal(0))


@dataclass(slots=True)
class Room:
    """What one claim may take of what is limited; whoever is not named here is not.

    `calls`: how many may go out, by account or backend. `held`: flows whose first in line is not affordable.
    """

    calls: dict[str, int] = field(default_factory=dict)
    purses: dict[UUID, Purse] = field(default_factory=dict)
    held: set[Flow] = field(default_factory=set)

    def has(self, flow: Flow) -> bool:
        if self.held and flow in self.held:
            return False
        return not self.calls or all(self.calls.get(name, 1) > 0 for name in flow.limited_by)

    def takes(self, flow: Flow, head: Head) -> bool:
        """Whether this one, the next of its flow, may go; where it may not, nothing behind it overtakes it."""
        if (
            head.cost is not None
            and flow.workspace in self.purses
            and not self.purses[flow.workspace].affords(head.cost)
        ):
            self.held.add(flow)
        return self.has(flow)

    def use(self, flow: Flow, cost: Cost | None) -> None:
        if self.calls:
            for name in self.calls.keys() & set(flow.limited_by):
                self.calls[name] -= 1
        if cost is not None and flow.workspace in self.purses:
            self.purses[flow.workspace].pay(cost)


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
        waiting: Mapping[Flow, Sequence[Head]],
        many: int,
        *,
        longer: Collection[Flow] = (),
        room: Room | None = None,
    ) -> Counter[Flow]:
        """How many of each flow go next, `many` at most; `waiting`: the first of each flow.

        `longer`: flows of which more waits than is told here; with the last that is told of one it ends early, for
        nobody else is to have what may be that one's turn. Of `room` it uses nothing up: others may take first what is
        granted here.
        """
        lines = _lines(waiting)
        turns: dict[str, list[tuple[float, UUID]]] = {}
        for lane, by_workspace in lines.items():
            turns[lane] = [(self._workspaces[lane].tag(workspace), workspace) for workspace in by_workspace]
            heapq.heapify(turns[lane])
        granted: Counter[Flow] = Counter()
        left = copy.deepcopy(room) if room is not None else Room()
        while turns and granted.total() < many:
            lane = min(turns, key=lambda each: (self._lanes.tag(each), each))
            _, workspace = heapq.heappop(turns[lane])
            flow, head = lines[lane][workspace].pop()
            if left.takes(flow, head):
                granted[flow] += 1
                self._lanes.took(lane)
                self._workspaces[lane].took(workspace)
                left.use(flow, head.cost)
            if flow in longer and granted[flow] == len(waiting[flow]):
                break
            if lines[lane][workspace]:
                heapq.heappush(turns[lane], (self._workspaces[lane].tag(workspace), workspace))
            if not turns[lane]:
                del turns[lane]
        for each in self._workspaces.values():
            each.forget_the_idle()
        if room is not None:
            room.held |= left.held
        return granted

    def gave_back(self, flow: Flow, many: int) -> None:
        """So many of what was granted another worker had taken meanwhile."""
        self._lanes.gave_back(flow.lane, many)
        self._workspaces[flow.lane].gave_back(flow.workspace, many)


def _lines(waiting: Mapping[Flow, Sequence[Head]]) -> dict[str, dict[UUID, list[tuple[Flow, Head]]]]:
    """Lane and workspace → what waits there, the first in line at the end."""
    lines: dict[str, dict[UUID, list[tuple[Flow, Head]]]] = {}
    for flow, heads in waiting.items():
        lines.setdefault(flow.lane, {}).setdefault(flow.workspace, []).extend((flow, head) for head in heads)
    for by_workspace in lines.values():
        for line in by_workspace.values():
            line.sort(key=_place, reverse=True)
    return lines


def _place(standing: tuple[Flow, Head]) -> tuple[datetime, Flow]:
    flow, head = standing
    return head.since - flow.priority * LEVEL, flow


def flow_of(row: Mapping[str, Any]) -> Flow:
    return Flow(row["kind"], row["lane"], row["workspace"], row["subject"], row["priority"])


def cost_of(row: Mapping[str, Any]) -> Cost | None:
    return None if row["currency"] is None else Cost(row["currency"], row["price"])
