"""What is current, not pinned: each stage keeps the two compacted topics in tables of its own.

Routes, targets, limits, roles and key hashes travel this way; no service reads another's schema.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from uuid import UUID

import aiosql
import orjson

from shared.bus import Bus
from shared.events import LibraryItemChanged, WorkspaceChanged
from shared.newest import Current
from shared.outbox import Transaction
from shared.postgres import Connection, Pool
from shared.topics import LIBRARY_ITEMS, WORKSPACES

queries = aiosql.from_path(Path(__file__).parent / "sql/current.sql", "asyncpg")


def wire_current(bus: Bus, *, stage: str) -> None:
    """Subscribes the stage to both compacted topics."""

    @bus.project(LIBRARY_ITEMS, WORKSPACES, group=f"{stage}-current", apply=keep)
    def on_current(event: Current) -> Current:
        return event


async def keep(transaction: Transaction, rows: Sequence[Current]) -> None:
    """Writes a batch of states; of a workspace, and of each version of a document, the highest revision counts."""
    # Whatever order they are read in: a record sent a second time may come after a newer one.
    ordered = sorted(rows, key=lambda row: row.revision)
    workspaces = {row.workspace: row for row in ordered if isinstance(row, WorkspaceChanged)}
    items = {(row.item, row.version): row for row in ordered if isinstance(row, LibraryItemChanged)}
    await keep_workspaces(transaction.connection, list(workspaces.values()))
    await keep_items(transaction.connection, list(items.values()))


async def keep_workspaces(connection: Connection, states: Sequence[WorkspaceChanged]) -> None:
    if not states:
        return
    rows = queries.keep_workspaces(
        connection,
        workspaces=[s.workspace for s in states],
        names=[s.name for s in states],
        states=[s.state for s in states],
        limits=[s.limits.model_dump_json() for s in states],
        undo=[s.undo_seconds for s in states],
        revisions=[s.revision for s in states],
    )
    newer = {row["workspace"] async for row in rows}
    keys = [(s.workspace, key) for s in states if s.workspace in newer for key in s.keys]
    await queries.forget_keys(connection, workspaces=list(newer))
    if keys:
        await queries.keep_keys(
            connection,
            ids=[key.key_id for _, key in keys],
            workspaces=[workspace for workspace, _ in keys],
            hashes=[key.sha256 for _, key in keys],
            principals=[key.principal for _, key in keys],
            roles=[",".join(key.roles) for _, key in keys],
            active=[key.active for _, key in keys],
        )


async def keep_items(connection: Connection, items: Sequence[LibraryItemChanged]) -> None:
    if items:
        await queries.keep_items(
            connection,
            workspaces=[i.workspace for i in items],
            kinds=[i.kind for i in items],
            names=[i.name for i in items],
            versions=[i.version for i in items],
            digests=[i.digest for i in items],
            states=[i.state for i in items],
            owners=[i.owner for i in items],
            documents=[orjson.dumps(i.document).decode() if i.document is not None else None for i in items],
            revisions=[i.revision for i in items],
        )


async def newest_documents(
    pool: Pool | Connection, workspaces: Collection[UUID], kind: str
) -> dict[UUID, dict[str, str]]:
    """Name → the newest published document's JSON, for kinds that are current (routes, target).

    By workspace; of one that has none, nothing.
    """
    found: dict[UUID, dict[str, str]] = {}
    async for row in queries.newest_items(pool, workspaces=list(workspaces), kind=kind):
        found.setdefault(row["workspace"], {})[row["name"]] = row["document"]
    return found
