"""What waited is held to today's table when its turn comes: it goes where it was sent, elsewhere, or nowhere.

The table may have been corrected since it was routed, or a backend's last day may have passed. In memory: claims keep
the tables anyway. What a provider was told before is not told again, so it is only asked what became of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from services.inference.domain import Job, unroutable
from services.inference.fallback import next_best
from services.inference.queue import Piece, will_run
from services.inference.replaying import Order
from services.inference.replays import give_up, is_called
from services.inference.rerouting import absent, accounts_away, reroute
from services.inference.routing import NOTHING, Decision
from services.inference.standing import claimed
from services.inference.tables import RoutingTables
from services.inference.unclaimed import Over, end_work
from shared.leases import Leased
from shared.postgres import Connection

log = structlog.get_logger()


class Permits:
    def __init__(self, tables: RoutingTables) -> None:
        self._tables = tables

    async def jobs(self, connection: Connection, running: Sequence[tuple[Leased, Piece]]) -> set[UUID]:
        """Sends elsewhere what may go there no more, and says which; what may go nowhere is barred, to be ended."""
        await self._tables.refresh(connection, {lease.workspace for lease, _ in running}, patient=False)
        found = [
            (lease, piece, why)
            for lease, piece in running
            if piece.resumes is None and (why := self._tables.barred(lease.workspace, piece.job.sent))
        ]
        if not found:
            return set()
        away, served = await accounts_away(connection), await claimed(connection)
        moved: list[tuple[Any, Job, Decision]] = []
        for lease, piece, why in found:
            table = self._tables.table_of(lease.workspace)
            instead = next_best(
                piece.job,
                [absent(table, away, served=served), NOTHING],
                table=table,
                today=self._tables.today,
                runnable=self._tables.kinds,
                providers=self._tables.providers,
            )
            if isinstance(instead, Decision):
                moved.append((_row(lease), piece.job, instead))
            else:
                missing = f"it was sent to {piece.job.backend}, and {why}; {instead.missing}"
                piece.barred = unroutable(replace(instead, missing=missing))
        await reroute(connection, moved)
        log.warning("work.barred", jobs=len(found), moved=len(moved), why=found[0][-1])
        return {row["work_id"] for row, _, _ in moved}

    async def replays(self, connection: Connection, leases: Sequence[Leased]) -> list[Leased]:
        """Those that may go where their image was made; the others end, for they are made there or not at all."""
        await self._tables.refresh(connection, {lease.workspace for lease in leases}, patient=False)
        kept: list[Leased] = []
        over: list[Over] = []
        for lease in leases:
            order = Order.model_validate_json(lease.payload)
            why = self._tables.barred(lease.workspace, order.sent) if will_run(lease) else None
            if why is None or await is_called(connection, order):
                kept.append(lease)
                continue
            failed = await give_up(connection, order, f"{order.backend!r} may not make it by today's table: {why}")
            over.append(Over(_row(lease), failed))
        if over:
            await end_work(connection, over)
        return kept


def _row(lease: Leased) -> dict[str, Any]:
    """What names its row of work."""
    return {"work_id": lease.work_id, "asked_at": lease.asked_at}
