"""Work that no live process claims does not wait for ever: after a while it goes elsewhere, or ends and says why.

A while: longer than a rolling restart takes, or a machine that is fetched for the work. It goes where the rule that
routed it and today's table let it go, to what somebody claims; where there is nothing such it ends as unroutable. What
runs out of time meanwhile expires. The time is counted by whoever looks: an outage of all of inference ends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiosql
import structlog

from services.inference.domain import DOUBTFUL, LATE, PREFIX, Cancelled, Ending, Failed, Job, ended, outcome_of
from services.inference.fallback import elsewhere, nobody_claimed
from services.inference.flows import columns_of, flows_of
from services.inference.queue import Piece, earlier_attempts
from services.inference.queue import queries as queue_queries
from services.inference.replaying import Order
from services.inference.replays import give_up
from services.inference.rerouting import absent, accounts_away, reroute
from services.inference.routing import Decision
from services.inference.standing import START_ONE, claimed
from services.inference.tables import RoutingTables
from shared.leases import IN_ORDER, buried
from shared.outbox import Outbox, Transaction
from shared.postgres import Connection

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "unclaimed.sql", "asyncpg")

LOOK_EVERY = 5.0  # seconds
GAP = 60.0  # seconds without a look: nobody knows who claimed what meanwhile
PART = 200  # pieces of work in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Kinds of work that wait and nobody claims, since when; `over`: those of them that have for long enough."""

    since: Mapping[str, datetime]
    over: Sequence[str]


class Unclaimed:
    """Looks now and then whether work waits that nobody claims; `patience`: seconds that it may."""

    def __init__(self, outbox: Outbox, tables: RoutingTables, *, patience: float) -> None:
        self._outbox = outbox
        self._tables = tables
        self._patience = patience

    async def look(self) -> None:
        async with self._outbox.transaction() as running:
            absence = await self._observe(running.connection)
        while absence.since and await self._part(absence) == PART:
            pass

    async def _observe(self, connection: Connection) -> Absence:
        await connection.execute(IN_ORDER)
        waiting = {row["kind"] async for row in queries.waiting_kinds(connection)}
        kinds = sorted(waiting - await claimed(connection))
        rows = [row async for row in queries.observe(connection, kinds=kinds, patience=self._patience, gap=GAP)]
        return Absence(
            since={row["kind"]: row["since"] for row in rows}, over=[row["kind"] for row in rows if row["is_over"]]
        )

    async def _part(self, absence: Absence) -> int:
        """Moves or ends some of what is out of time or has waited for long enough; how many."""
        async with self._outbox.transaction() as running:
            connection = running.connection
            await connection.execute(IN_ORDER)
            rows = [row async for row in queries.late(connection, kinds=list(absence.since), many=PART)]
            if absence.over and len(rows) < PART:
                flows = await flows_of(connection, absence.over)
                overdue = queries.overdue(
                    connection,
                    **columns_of(flows),
                    patience=self._patience,
                    many=PART - len(rows),
                )
                rows += [row async for row in overdue]
            over = await _give_up_replays(connection, rows, absence)
            await self._go(running, [row for row in rows if not row["kind"].startswith(PREFIX)], absence, over)
        return len(rows)

    async def _go(self, running: Transaction, rows: Sequence[Any], absence: Absence, over: list["Over"]) -> None:
        """Jobs go elsewhere or end, and what is `over` already ends with them."""
        connection = running.connection
        await self._tables.refresh(connection, {row["workspace"] for row in rows}, patient=False)
        away = await accounts_away(connection)
        served = await claimed(connection, lately=self._patience) - set(absence.over)
        pieces = {
            row["work_id"]: Piece(Job.model_validate_json(row["payload"]), number=row["epoch"] + 1) for row in rows
        }
        earlier = await earlier_attempts(connection, pieces)
        cancelled = await buried(connection, [piece.job.event for piece in pieces.values()])
        at = await queue_queries.current_time(connection)
        moved: list[tuple[Any, Job, Decision]] = []
        for row in rows:
            piece, table = pieces[row["work_id"]], self._tables.table_of(row["workspace"])
            piece.earlier = earlier.get(row["work_id"], [])
            piece.cancelled_by = cancelled.get(piece.job.event.job_id)
            found = _known_end(piece, is_late=row["is_late"]) or elsewhere(
                piece.job,
                kind=row["kind"],
                since=absence.since[row["kind"]],
                table=table,
                today=self._tables.today,
                runnable=self._tables.kinds,
                providers=self._tables.providers,
                served=served,
                away=absent(table, away),
                remedy=START_ONE,
            )
            if isinstance(found, Decision):
                moved.append((row, piece.job, found))
                continue
            over.append(Over(row, found))
            running.emit(ended(piece.job, found, attempts=piece.earlier, at=at, traceparent=row["traceparent"]))
        await reroute(connection, moved)
        await end_work(connection, over)
        if moved or over:
            kinds = sorted({*(row["kind"] for row, _, _ in moved), *(each.row["kind"] for each in over)})
            log.warning("work.unclaimed", kinds=kinds, moved=len(moved), ended=len(over))


@dataclass(frozen=True, slots=True)
class Over:
    """A row of work and how it ends."""

    row: Any
    ending: Ending

    @property
    def detail(self) -> str | None:
        return self.ending.detail if isinstance(self.ending, Failed) else None


async def end_work(connection: Connection, over: Sequence[Over]) -> None:
    """Of what waited: its rows say how it ended, and nobody claims it again."""
    await queries.end_work(
        connection,
        ids=[each.row["work_id"] for each in over],
        asked=[each.row["asked_at"] for each in over],
        outcomes=[outcome_of(each.ending) for each in over],
        details=[each.detail for each in over],
    )


def _known_end(piece: Piece, *, is_late: bool) -> Ending | None:
    """How it ends wherever it could go."""
    if piece.cancelled_by is not None:
        return Cancelled(by=piece.cancelled_by)
    return DOUBTFUL if piece.is_doubtful else LATE if is_late else None


async def _give_up_replays(connection: Connection, rows: Sequence[Any], absence: Absence) -> list[Over]:
    """They are made where their image was made, or not at all."""
    given_up = []
    for row in rows:
        if row["kind"].startswith(PREFIX):
            kind = row["kind"].removeprefix(PREFIX)
            why = f"{nobody_claimed(kind, absence.since[row['kind']])}; {START_ONE}"
            order = Order.model_validate_json(row["payload"])
            given_up.append(Over(row, await give_up(connection, order, why)))
    return given_up
