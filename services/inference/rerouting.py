"""Jobs of a provider that is away for longer go to the next backend that their rule names, if one may take them.

What has no other backend waits where it is. A call that was cut off is first found out about: its job is not moved.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import structlog

from services.inference.domain import Job, account_of, job_of, work_kind
from services.inference.fallback import fall_back
from services.inference.flows import columns_of, flows_of
from services.inference.routing import Decision, Unroutable
from services.inference.standing import claimed
from services.inference.tables import RoutingTables
from services.inference.turns import Flow
from shared import ids
from shared.leases import IN_ORDER
from shared.library.documents import Routes
from shared.postgres import Connection, Pool, transaction

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "rerouting.sql", "asyncpg")

AFTER_SECONDS = 15.0  # away; what is back sooner has kept nobody long
LOOK_EVERY = 2.0  # seconds
PART = 200  # jobs looked at in one transaction


@dataclass(slots=True)
class Look:
    """How far the queue of an account was looked through since it is away, by flow."""

    since: datetime
    after: dict[Flow, datetime] = field(default_factory=dict)


class Rerouting:
    """Looks now and then whether a provider has been away for long; `kinds`: the work that calls somebody."""

    def __init__(self, pool: Pool, tables: RoutingTables, *, kinds: Sequence[str]) -> None:
        self._pool = pool
        self._tables = tables
        self._kinds = [kind for kind in kinds if account_of(kind)]
        self._looks: dict[str, Look] = {}

    async def look(self) -> None:
        """One part of each queue whose account is away."""
        if not self._kinds:
            return
        async with transaction(self._pool) as connection:
            away = await accounts_away(connection)
        known = self._looks
        self._looks = {}
        for account, since in away.items():
            look = known.get(account)
            self._looks[account] = look if look is not None and look.since == since else Look(since)
            async with transaction(self._pool) as connection:
                if await queries.i_look(connection, account=account):
                    await connection.execute(IN_ORDER)
                    await self._move(connection, account, away)

    async def _move(self, connection: Connection, account: str, away: Mapping[str, datetime]) -> None:
        rows = await self._part(connection, account)
        await self._tables.refresh(connection, {row["workspace"] for row in rows})
        waiting = [(row, Job.model_validate_json(row["payload"])) for row in rows]
        attempts = [
            ids.attempt_id(job.event.job_id, job.event.run, number)
            for row, job in waiting
            for number in range(1, row["epoch"] + 1)
        ]
        cut_off = {row["job_id"] async for row in queries.under_way(connection, attempts=attempts)}
        moved: list[tuple[Any, Job, Decision]] = []
        served = await claimed(connection)
        avoid = {
            workspace: absent(self._tables.table_of(workspace), away, served=served)
            for workspace in {row["workspace"] for row in rows}
        }
        for row, job in waiting:
            cut = job.event.job_id in cut_off
            decision = None if cut else self._instead(job, row["workspace"], avoid[row["workspace"]])
            if decision is not None:
                moved.append((row, job, decision))
        if moved:
            await reroute(connection, moved)
            log.warning("work.rerouted", account=account, jobs=len(moved))

    async def _part(self, connection: Connection, account: str) -> list[Any]:
        """The next of each flow; after its last from the beginning, for what was being called comes back to wait."""
        after = self._looks[account].after
        flows = await flows_of(connection, [kind for kind in self._kinds if account_of(kind) == account])
        part = max(1, PART // max(1, len(flows)))
        afters = [after.get(flow) for flow in flows]
        found = queries.waiting(connection, **columns_of(flows), afters=afters, many=part)
        rows: dict[Flow, list[Any]] = {flow: [] for flow in flows}
        async for row in found:
            rows[flows[row["number"] - 1]].append(row)
        self._looks[account].after = {flow: of[-1]["created_at"] for flow, of in rows.items() if len(of) == part}
        return [row for of in rows.values() for row in of]

    def _instead(self, job: Job, workspace: UUID, avoid: Mapping[str, str]) -> Decision | None:
        table = self._tables.table_of(workspace)
        if not isinstance(table, Routes):
            return None
        found = fall_back(
            job,
            table=table,
            today=self._tables.today,
            runnable=self._tables.kinds,
            providers=self._tables.providers,
            avoid=avoid,
        )
        return found if isinstance(found, Decision) and found.backend.name != job.backend else None


async def accounts_away(connection: Connection) -> dict[str, datetime]:
    """Those that have taken no call for a while, since when."""
    return {row["account"]: row["since"] async for row in queries.away(connection, seconds=AFTER_SECONDS)}


def absent(
    table: Routes | Unroutable | None, away: Mapping[str, datetime], *, served: Collection[str] | None = None
) -> dict[str, str]:
    """The table's backends that are not to be taken now, and why; `served`: what is claimed by a live process."""
    found = {}
    for backend in table.backends if isinstance(table, Routes) else []:
        if backend.call is not None and backend.call.provider in away:
            found[backend.name] = (
                f"{backend.call.provider} has taken no calls since {away[backend.call.provider]:%H:%M:%S} UTC"
            )
        elif served is not None and work_kind(backend) not in served:
            found[backend.name] = f"no process claims {work_kind(backend)}"
    return found


async def reroute(connection: Connection, moved: Sequence[tuple[Any, Job, Decision]]) -> None:
    """Rows of work with the jobs they were, and where those go from now on."""
    jobs = [job_of(job.event, to, cause_id=job.cause_id, asset_id=job.asset_id) for _, job, to in moved]
    await queries.reroute(
        connection,
        ids=[row["work_id"] for row, _, _ in moved],
        asked=[row["asked_at"] for row, _, _ in moved],
        kinds=[work_kind(to.backend) for _, _, to in moved],
        lanes=[to.route.lane for _, _, to in moved],
        subjects=[to.backend.name for _, _, to in moved],
        payloads=[job.model_dump_json(exclude_none=True) for job in jobs],
        currencies=[job.cost.currency if job.cost else None for job in jobs],
        prices=[job.cost.amount if job.cost else None for job in jobs],
        sorts=[job.sort for job in jobs],
    )
