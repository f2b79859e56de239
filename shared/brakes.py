"""Brakes: of a backend, a lane, a target or a workspace nothing new starts until it is released. What runs goes on.

Work that is braked is parked: it leaves the index that claims walk, so a million braked rows slow nobody down. It is
parked as it is queued, as it becomes ready again, and, what waited when the brake came, in bounded parts by `Parking`;
a claim passes over what is not parked yet. Cancels reach it where it stands, and its deadline passes as for any other.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import aiosql

from shared.postgres import Connection, Pool, transaction

queries = aiosql.from_path(Path(__file__).parent / "sql/brakes.sql", "asyncpg")

PART_ROWS = 10_000  # parked or let go in one transaction: some 100 ms
LOOK_EVERY = 1.0  # seconds

Kind = Literal["backend", "lane", "target", "workspace"]
Mode = Literal["pause", "drain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """A brake in force; `workspace` None holds up everybody's work of that name."""

    kind: Kind
    name: str
    workspace: UUID | None
    mode: Mode
    braked_by: str
    reason: str | None
    since: datetime


async def brake(
    connection: Connection,
    *,
    kind: Kind,
    name: str,
    mode: Mode,
    by: str,
    reason: str | None,
    workspace: UUID | None = None,
) -> None:
    """Nothing of that name starts from the commit on; a caller's transaction brakes its own workspace only."""
    if kind == "workspace":
        workspace = UUID(name)
    brake_id = await queries.brake(
        connection, kind=kind, name=name, workspace=workspace, mode=mode, by=by, reason=reason
    )
    await queries.park(connection, brake_id=brake_id, many=PART_ROWS)


async def release_brake(
    connection: Connection, *, kind: Kind, name: str, by: str, workspace: UUID | None = None
) -> bool:
    """Lets go what stood behind the brake; False if there was none."""
    if kind == "workspace":
        workspace = UUID(name)
    brake_id = await queries.release_brake(connection, kind=kind, name=name, workspace=workspace, by=by)
    if brake_id is None:
        return False
    await queries.let_go(connection, brake_id=brake_id, many=PART_ROWS)
    return True


async def brakes_in_force(connection: Connection | Pool) -> list[Brake]:
    return [Brake(**dict(row)) async for row in queries.brakes_in_force(connection)]


class Parking:
    """Parks what waited when a brake came, lets go what a released one held, ends what is out of time; part by part."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def look(self) -> None:
        """One round over all brakes."""
        async with transaction(self._pool) as connection:
            brakes = [dict(row) async for row in queries.brakes_at_work(connection)]
        for each in brakes:
            brake_id = each["brake_id"]
            await self._all(queries.let_expire, brake_id)
            if each["released"]:
                await self._all(queries.let_go, brake_id)
                async with transaction(self._pool) as connection:
                    await queries.forget_brake(connection, brake_id=brake_id)
            elif not each["swept"]:
                await self._all(queries.park, brake_id)
                if each["old"]:  # what was being queued when it came is committed by now
                    async with transaction(self._pool) as connection:
                        await queries.mark_swept(connection, brake_id=brake_id)

    async def _all(self, query: Callable[..., Awaitable[int]], brake_id: int) -> None:
        """Part by part, each a transaction of its own, so that nobody waits for more than one."""
        while True:
            async with transaction(self._pool) as connection:
                moved = await query(connection, brake_id=brake_id, many=PART_ROWS)
            if moved < PART_ROWS:
                return
