"""Compacted topics end with the newest state of each key, though the outbox keeps no order.

A process may die between commit and send, or stand still for an hour before it: then an older state would be sent last,
and be all that whoever comes later hears (a revoked key as active). So the newest record of a key stands in a table,
and whoever has sent a record of it looks there afterwards, before the outbox row goes, and sends what is newer behind
it. What is committed after that look is sent after it.
"""

from collections.abc import Sequence
from pathlib import Path

import aiosql

from shared.errors import Unavailable
from shared.events import Event, LibraryItemChanged, WorkspaceChanged
from shared.kafka import Producer, Record, headers_text, record_of, stored_record
from shared.postgres import Connection, Pool, unavailable_when_away
from shared.topics import TOPICS

queries = aiosql.from_path(Path(__file__).parent / "sql/newest.sql", "asyncpg")
COMPACTED = tuple(topic.name for topic in TOPICS if topic.compacted)

Current = LibraryItemChanged | WorkspaceChanged


async def keep_newest(connection: Connection, events: Sequence[Event], *, prefix: str) -> None:
    """Remembers the states among these where they are newer than what is known, whatever order they come in."""
    states = [event for event in events if isinstance(event, Current)]
    if not states:
        return
    records = [record_of(state, prefix=prefix) for state in states]
    await queries.keep_newest(
        connection,
        topics=[record.topic for record in records],
        keys=[record.key for record in records],
        workspaces=[state.workspace for state in states],
        versions=[state.precedence[0] for state in states],
        revisions=[state.precedence[1] for state in states],
        headers=[headers_text(record) for record in records],
        bodies=[(record.body or b"").decode() for record in records],
    )


async def send_newer(pool: Pool, producer: Producer, sent: Sequence[Record], *, prefix: str) -> None:
    """Sends what is newer than the records just acknowledged, until the last one sent was the newest when looked at.

    Raises:
        Unavailable: Postgres or the broker is away; the records' rows must stay, to be sent and looked at again.
    """
    topics = {prefix + name for name in COMPACTED}
    while sent := [record for record in sent if record.topic in topics]:
        async with unavailable_when_away():
            rows = queries.newer(
                pool,
                topics=[record.topic for record in sent],
                keys=[record.key for record in sent],
                bodies=[(record.body or b"").decode() for record in sent],
            )
            sent = [stored_record(row) async for row in rows]
        if refused := await producer.deliver(sent):
            raise Unavailable("kafka", f"the newest state of a key was refused: {next(iter(refused.values()))!r}")
