"""Tells jobs what holds them, for the pages: the first of each flow that is held, and again when it is let go.

Nobody is asked who could start at once, and nothing that waits is touched: a million held jobs cost as much as one. Who
asks for one of them is told what holds it, told here or not (`standing.py`).
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.inference.domain import Job
from services.inference.flows import flows_of, heads_of
from services.inference.limits import Limit
from services.inference.progress import Progress, State
from services.inference.queue import Piece
from services.inference.standing import look, queries
from services.inference.tables import RoutingTables
from services.inference.turns import Flow
from shared.events import WaitingOn
from shared.leases import IN_ORDER
from shared.postgres import Connection, Pool, transaction

LOOK_EVERY = 2.0  # seconds
FIRST = 200  # of each flow
PATIENCE = 2.0  # seconds: what is held for less is hardly held


class Telling:
    """`kinds`: whatever is queued here, claimed by this process or not."""

    def __init__(
        self,
        pool: Pool,
        progress: Progress,
        *,
        kinds: Sequence[str],
        tables: RoutingTables,
        accounts: dict[str, Limit],
    ) -> None:
        self._pool = pool
        self._progress = progress
        self._kinds = list(kinds)
        self._tables = tables
        self._accounts = accounts
        self._told: dict[Flow, dict[UUID, WaitingOn]] = {}

    async def look(self) -> None:
        async with transaction(self._pool) as connection:
            if await queries.i_tell(connection):
                await connection.execute(IN_ORDER)
                await self._tell(connection)

    async def _tell(self, connection: Connection) -> None:
        flows = await flows_of(connection, self._kinds)
        moment = await look(connection, flows, tables=self._tables, accounts=self._accounts)
        before, self._told = self._told, {}
        for flow, (head, *_) in (await heads_of(connection, flows, 1)).items():
            hold = moment.hold(flow, head.cost, head.since)
            if hold is None or (moment.now - hold.since).total_seconds() < PATIENCE:
                continue
            known = before.pop(flow, {})
            told = self._told[flow] = {}
            async for row in queries.first_of(connection, **_columns(flow), many=FIRST):
                told[row["work_id"]] = hold.waiting_on
                if known.get(row["work_id"]) is not hold.waiting_on:
                    self._progress.tell(_state(row, hold.waiting_on, hold.words))
        let_go = [work_id for known in before.values() for work_id in known]
        if let_go:
            async for row in queries.still_waiting(connection, ids=let_go):
                self._progress.tell(_state(row, WaitingOn.WORKER, None))


def _columns(flow: Flow) -> dict[str, Any]:
    return {name: getattr(flow, name) for name in ("kind", "lane", "workspace", "subject", "priority")}


def _state(row: Any, waiting_on: WaitingOn, detail: str | None) -> State:
    piece = Piece(Job.model_validate_json(row["payload"]), number=row["epoch"] + 1)
    return State(piece, row["traceparent"], waiting_on=waiting_on, detail=detail)
