"""Where a job stands in the queue: what holds it, since when and until when, else its place and when it begins.

Looked up when somebody asks, and true for that moment. A place is in the order of turns: what goes before it in its own
workspace, and of every other workspace of its lane as much, for they take turns. Work that nobody claims has no place.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql

from services.inference.domain import PREFIX, SHARES, Cost
from services.inference.flows import flows_of, heads_of
from services.inference.flows import queries as flow_queries
from services.inference.limits import ClaimLimits, Limit, under_way
from services.inference.limits import queries as limit_queries
from services.inference.tables import RoutingTables
from services.inference.turns import LEVEL, Flow, Purse, cost_of, flow_of
from shared.events import WaitingOn
from shared.leases import IN_ORDER
from shared.postgres import Connection

queries: Any = aiosql.from_path(Path(__file__).parent / "standing.sql", "asyncpg")

ABSENT_SECONDS = 30.0  # nobody seen for so long who claims it: six rounds of presence
COUNTED = 1000  # places; further back a job is only said to be further back
START_ONE = "start one: inference with the role work, whose settings and CALOTYPE_POOLS allow it"
RAISE_IT = "raise the cap (calotype workspace limit), or wait until it is another day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """On what something waits, who or what that is, since when, and until when where that is known."""

    waiting_on: WaitingOn
    who: str
    since: datetime
    until: datetime | None = None
    remedy: str | None = None

    @property
    def words(self) -> str:
        since = f"since {self.since:%H:%M:%S} UTC"
        until = f", until {self.until:%Y-%m-%d %H:%M:%S} UTC at the latest" if self.until else ""
        return f"{self.who}, {since}{until}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a workspace's day has cost so far, in one currency; `reserved`: of calls whose cost is not known yet."""

    currency: str
    settled: Decimal
    reserved: Decimal
    changed_at: datetime


@dataclass(slots=True, kw_only=True)
class Moment:
    """All that decides what may go, as it stands now."""

    now: datetime
    away: Mapping[str, Any]
    claimers: Sequence[Any]
    unclaimed: Mapping[str, Any]
    limits: Mapping[str, Limit]
    meters: Mapping[str, Any]
    calls: Mapping[str, int]
    caps: Mapping[UUID, Decimal]
    spent: Mapping[UUID, Sequence[Spent]]

    def hold(self, flow: Flow, cost: Cost | None, since: datetime) -> Hold | None:
        """What keeps a job of this flow that waits since then; None: only that others are before it."""
        return (
            self._nobody(flow, since)
            or self._away(flow, since)
            or self._cap(flow, cost, since)
            or self._rate(flow, since)
        )

    def slots(self, kind: str) -> int:
        return sum(row["slots"] for row in self.claimers if row["live"] and kind in row["kinds"])

    def together(self, kind: str) -> list[str]:
        """The kinds of work that wait in one line with it."""
        return sorted(
            {other for row in self.claimers if row["live"] and kind in row["kinds"] for other in row["kinds"]}
        )

    def _nobody(self, flow: Flow, since: datetime) -> Hold | None:
        if self.slots(flow.kind):
            return None
        ends = "goes to another backend that its rule names, or ends as unroutable"
        if flow.kind.startswith(PREFIX):
            ends = "ends"
        unclaimed = self.unclaimed.get(flow.kind)
        seen = [row["seen_at"] for row in self.claimers if flow.kind in row["kinds"]]
        return Hold(
            waiting_on=WaitingOn.WORKER,
            who=f"no worker claims {flow.kind}",
            since=max([since, *seen]),
            until=None
            if unclaimed is None
            else max(since, unclaimed["since"]) + timedelta(seconds=unclaimed["patience"]),
            remedy=f"{START_ONE}; after that it {ends}",
        )

    def _away(self, flow: Flow, since: datetime) -> Hold | None:
        row = self.away.get(flow.account or "")
        if row is None:
            return None
        who = f"{flow.account} {'asked for patience' if row['busy'] else 'takes no calls'}"
        on = WaitingOn.RATE if row["busy"] else WaitingOn.BREAKER
        return Hold(waiting_on=on, who=who, since=max(since, row["since"]), until=row["probe_at"])

    def _cap(self, flow: Flow, cost: Cost | None, since: datetime) -> Hold | None:
        cap = self.caps.get(flow.workspace)
        if cost is None or cap is None:
            return None
        spent = next((each for each in self.spent.get(flow.workspace, ()) if each.currency == cost.currency), None)
        gone = spent.settled + spent.reserved if spent else Decimal(0)
        if Purse(cap, {cost.currency: gone}).affords(cost):
            return None
        the_cap = f"the spend cap of {cap} {cost.currency} a day"
        if cost.amount is None:
            who, remedy = (
                f"{the_cap}, and nobody knows what {flow.subject} costs",
                "give the backend a price and send the request again, or take the cap away",
            )
            return Hold(waiting_on=WaitingOn.CAP, who=who, since=since, remedy=remedy)
        if cost.amount > cap:
            who = f"{the_cap}, which {cost.amount} for a picture fits on no day"
            return Hold(
                waiting_on=WaitingOn.CAP, who=who, since=since, remedy="raise the cap (calotype workspace limit)"
            )
        midnight = datetime.combine(self.now.astimezone(UTC).date(), datetime.min.time(), UTC) + timedelta(days=1)
        since = max(since, spent.changed_at) if spent else since
        who = f"{the_cap}: {gone} is spent or set aside, and this takes {cost.amount}"
        return Hold(waiting_on=WaitingOn.CAP, who=who, since=since, until=midnight, remedy=RAISE_IT)

    def _rate(self, flow: Flow, since: datetime) -> Hold | None:
        for name in flow.limited_by:
            limit = self.limits.get(name)
            whose = flow.subject if name == flow.backend else name
            if limit is None:
                continue
            if limit.at_once is not None and self.calls.get(name, 0) >= limit.at_once:
                return Hold(waiting_on=WaitingOn.RATE, who=f"{whose} takes {limit.at_once} at once", since=since)
            meter = self.meters.get(name)
            if limit.rate is None or meter is None:
                continue
            tokens = limit.tokens(meter["tokens"], meter["seconds"])
            if tokens < 1:
                until = self.now + timedelta(minutes=(1 - tokens) / limit.rate.per_minute)
                who = f"{whose} takes {limit.rate.per_minute:g} a minute"
                since = max(since, meter["counted_at"])
                return Hold(waiting_on=WaitingOn.RATE, who=who, since=since, until=until)
        return None


async def look(
    connection: Connection,
    flows: Collection[Flow],
    *,
    tables: RoutingTables,
    accounts: Mapping[str, Limit],
    of: UUID | None = None,
) -> Moment:
    """What decides about these flows, and what of the day's money of a workspace is gone, whatever waits there."""
    workspaces = sorted({flow.workspace for flow in flows} | ({of} if of else set()))
    await tables.refresh(connection, workspaces, patient=False)
    known = ClaimLimits(tables, accounts=accounts)
    limits = {name: limit for flow in flows for name, limit in known.limits_of(flow).items()}
    caps = {row["workspace"]: row["cap"] async for row in queries.caps(connection, workspaces=workspaces)}
    spent: dict[UUID, list[Spent]] = {}
    async for row in limit_queries.spent(connection, workspaces=list(caps)):
        sums = {name: row[name] for name in ("currency", "settled", "reserved", "changed_at")}
        spent.setdefault(row["workspace"], []).append(Spent(**sums))
    return Moment(
        now=await flow_queries.now(connection),
        away={row["account"]: row async for row in queries.outages(connection)},
        claimers=[row async for row in queries.claimers(connection, within=ABSENT_SECONDS)],
        unclaimed={row["kind"]: row async for row in queries.unclaimed(connection)},
        limits=limits,
        meters={row["meter"]: row async for row in queries.meters(connection, meters=list(limits))},
        calls=await under_way(connection, {flow.kind for flow in flows}) if limits else {},
        caps=caps,
        spent=spent,
    )


async def claimed(connection: Connection, *, lately: float | None = None) -> set[str]:
    """Kinds of work that a live process claims, or that one did within `lately` seconds: it may be starting again."""
    rows = queries.claimers(connection, within=max(lately or 0.0, ABSENT_SECONDS))
    return {kind async for row in rows if row["live" if lately is None else "seen"] for kind in row["kinds"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One job that waits. `position` counts from 1; None: it is held, or further back than anybody counted."""

    job_id: UUID
    hold: Hold | None = None
    position: int | None = None
    starts_in_seconds: float | None = None

    @property
    def words(self) -> str:
        if self.hold is not None:
            return f"In the queue it waits on {self.hold.waiting_on}: {self.hold.words}."
        if self.position is None:
            return f"In the queue more than {COUNTED:,} go before it."
        starts = (
            ""
            if self.starts_in_seconds is None
            else f"; at the pace of late it begins in {self.starts_in_seconds:.0f} s"
        )
        return f"In the queue it is number {self.position} in the order of turns{starts}."


async def places_of(
    connection: Connection,
    waiting: Sequence[Mapping[str, Any]],
    *,
    tables: RoutingTables,
    accounts: Mapping[str, Limit],
) -> list[Place]:
    """Where these rows (`waiting_of`) stand."""
    await connection.execute(IN_ORDER)
    of = {row["job_id"]: flow_of(row) for row in waiting}
    moment = await look(connection, set(of.values()), tables=tables, accounts=accounts)
    lines: dict[tuple[tuple[str, ...], str], Line] = {}
    places = []
    for row in waiting:
        flow, job = of[row["job_id"]], row["job_id"]
        hold = moment.hold(flow, cost_of(row), row["created_at"])
        if hold is None and row["later"] is not None:
            why = row["detail"] or "it is tried again"
            hold = Hold(waiting_on=WaitingOn.RETRY, who=why, since=row["created_at"], until=row["later"])
        if hold is not None:
            places.append(Place(job_id=job, hold=hold))
            continue
        kinds = tuple(moment.together(flow.kind))
        if (kinds, flow.lane) not in lines:
            lines[kinds, flow.lane] = await _line(connection, kinds, flow.lane, moment)
        line = lines[kinds, flow.lane]
        before = line.before(flow, row["created_at"])
        if before is None:
            places.append(Place(job_id=job))
            continue
        starts = line.starts_in(flow, row["sort"], before, moment.slots(flow.kind))
        places.append(Place(job_id=job, position=1 + sum(before.values()), starts_in_seconds=starts))
    return places


@dataclass(frozen=True, slots=True)
class Paces:
    """Seconds that a picture takes, by workspace, backend and sort."""

    seconds: Mapping[tuple[UUID, str, str], float]

    def of(self, workspace: UUID, subject: str, sort: str | None) -> float | None:
        """Of its own sort; else what others of its backend take on the average; None: nothing was made there."""
        if sort is not None and (workspace, subject, sort) in self.seconds:
            return self.seconds[workspace, subject, sort]
        others = [seconds for (of, name, _), seconds in self.seconds.items() if (of, name) == (workspace, subject)]
        return sum(others) / len(others) if others else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What of one workspace could go, the first in line first: since when, priority made up for.

    `seconds`: what the first so many of them take together, but for so many as `unknown` of which nobody knows.
    """

    since: Sequence[datetime]
    seconds: Sequence[float]
    unknown: Sequence[int]

    @classmethod
    def of(cls, heads: Sequence[tuple[datetime, float | None]]) -> "Waiting":
        line = sorted(heads, key=lambda head: head[0])
        paces = [pace for _, pace in line]
        return cls(
            since=[since for since, _ in line],
            seconds=list(accumulate((pace or 0.0 for pace in paces), initial=0.0)),
            unknown=list(accumulate((pace is None for pace in paces), initial=0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What could go in one lane, by workspace."""

    lane: str
    lanes: Collection[str]
    waiting: Mapping[UUID, Waiting]
    counted: int
    paces: Paces

    def before(self, flow: Flow, since: datetime) -> dict[UUID, int] | None:
        """How many of each workspace go before it: of its own those that do, of every other one more than that."""
        mine = self.waiting.get(flow.workspace)
        before = bisect_left(mine.since, since - flow.priority * LEVEL) if mine else 0
        if before >= self.counted:
            return None
        others = {
            workspace: min(len(line.since), before + 1)
            for workspace, line in self.waiting.items()
            if workspace != flow.workspace
        }
        return {flow.workspace: before} | others

    def starts_in(self, flow: Flow, sort: str | None, before: Mapping[UUID, int], slots: int) -> float | None:
        """As long as those before it and one like itself take, so many at once as its lane's share of the slots."""
        own = self.paces.of(flow.workspace, flow.subject, sort)
        if own is None or not slots:
            return None
        lines = [(self.waiting[workspace], many) for workspace, many in before.items() if many]
        taken = own + sum(line.seconds[many] + line.unknown[many] * own for line, many in lines)
        share = SHARES[self.lane] / sum(SHARES[lane] for lane in {self.lane, *self.lanes})
        return round(taken / (slots * share), 1)


async def _line(connection: Connection, kinds: Sequence[str], lane: str, moment: Moment) -> Line:
    flows = await flows_of(connection, kinds)
    here = [flow for flow in flows if flow.lane == lane and (flow.account or "") not in moment.away]
    counted = max(1, min(COUNTED, 20 * COUNTED // max(1, len(here))))
    rows = queries.paces(connection, workspaces=sorted({flow.workspace for flow in here}))
    paces = Paces({(row["workspace"], row["backend"], row["sort"]): row["seconds"] async for row in rows})
    waiting: dict[UUID, list[tuple[datetime, float | None]]] = {}
    for flow, heads in (await heads_of(connection, here, counted)).items():
        seconds = {sort: paces.of(flow.workspace, flow.subject, sort) for sort in {head.sort for head in heads}}
        waiting.setdefault(flow.workspace, []).extend(
            (head.since - flow.priority * LEVEL, seconds[head.sort]) for head in heads
        )
    return Line(
        lane=lane,
        lanes={flow.lane for flow in flows},
        waiting={workspace: Waiting.of(heads) for workspace, heads in waiting.items()},
        counted=counted,
        paces=paces,
    )
