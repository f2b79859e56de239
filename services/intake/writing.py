"""A caller's transaction: rows of one workspace and the facts that follow from them, together or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from shared.crash import crash_point
from shared.outbox import Outbox, Transaction
from shared.postgres import Pool, workspace_transaction


@asynccontextmanager
async def writing(pool: Pool, outbox: Outbox, workspace: UUID) -> AsyncIterator[Transaction]:
    """Raises Unavailable while Postgres is away; nothing was written then."""
    async with workspace_transaction(pool, stage="intake", workspace=workspace) as connection:
        running = Transaction(connection)
        yield running
        rows = await outbox.add(connection, running.events)
        crash_point("commit.before")
    crash_point("commit.after")
    outbox.hand_over(rows)
    for call in running.after:
        call()
