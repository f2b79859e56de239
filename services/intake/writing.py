"""A caller's transaction: rows of one workspace and the facts that follow from them, together or not at all."""

from contextlib import AbstractAsyncContextManager
from uuid import UUID

from shared.outbox import Outbox, Transaction, caller_transaction
from shared.postgres import Pool


def writing(pool: Pool, outbox: Outbox, workspace: UUID) -> AbstractAsyncContextManager[Transaction]:
    """Raises Unavailable while Postgres is away; nothing was written then."""
    return caller_transaction(outbox, pool, stage="intake", workspace=workspace)
