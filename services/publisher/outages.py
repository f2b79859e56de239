"""Targets that are away: each is left alone for a while that grows, and asked again with one publication.

A target has at most a share of a worker's slots, and all that are away together no more than one such share; so one
that hangs keeps nobody else waiting. Its backlog stays where it is, untouched; when the target answers again, all of
it may be claimed at once, in order of approval.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import structlog

from shared.leases import Leased, NewWork, Worker
from shared.outages import Away, Pace, outage_after, outage_of
from shared.outbox import Transaction
from shared.postgres import Connection

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "outages.sql", "asyncpg")

SHARES = 4  # of a worker's slots; a quarter is the most that one target, or all that are away, can hold
Of = tuple[UUID, str]  # workspace and name of a target


def share_of(worker: Worker) -> int:
    return max(1, worker.concurrency // SHARES)


@dataclass(slots=True)
class Claims:
    """How one worker of this stage claims: set `worker`, give it `claim`."""

    worker: Worker | None = None

    async def claim(self, connection: Connection, many: int) -> list[Leased]:
        """As many as fit into each target's share; of a target that is away one, when it is time to ask again."""
        assert self.worker is not None
        rows = queries.claim(
            connection,
            many=many,
            share=share_of(self.worker),
            holder=self.worker.holder,
            lease=self.worker.lease_seconds,
        )
        return [Leased(**dict(row)) async for row in rows]


async def take_at_once(connection: Connection, work: Sequence[NewWork], *, worker: Worker) -> list[NewWork]:
    """What the worker may have already claimed: it has room, the target its share, and is not away."""
    room = worker.room()
    if not room or not work:
        return []
    rows = queries.away_now(connection, workspaces=list({piece.workspace for piece in work}))
    away = {(row["workspace"], row["target"]) async for row in rows}
    busy = Counter((lease.workspace, lease.subject) for lease in worker.held.values())
    taken: list[NewWork] = []
    for piece in work:
        target = (piece.workspace, piece.subject)
        if len(taken) < room and target not in away and busy[target] < share_of(worker):
            busy[target] += 1
            taken.append(piece)
    return taken


async def note_outages(transaction: Transaction, tries: Sequence[tuple[Of, Away]], *, pace: Pace) -> None:
    """What did not take something now, in the transaction that settles the tries."""
    failures: dict[Of, list[Away]] = defaultdict(list)
    for of, away in tries:
        failures[of].append(away)
    # In one order everywhere, so that two workers' settlements cannot wait for each other.
    for (workspace, target), causes in sorted(failures.items()):
        row = await queries.outage(transaction.connection, workspace=workspace, target=target)
        before = outage_of(row)
        after = outage_after(before, causes, now=row["now"], pace=pace, draw=random.random())  # noqa: S311
        await queries.note_outage(
            transaction.connection,
            workspace=workspace,
            target=target,
            failures=after.failures,
            cause=after.cause,
            probe_at=after.probe_at,
        )
        if before.probe_at is None and after.probe_at is not None:
            log.warning("target.away", workspace=str(workspace), target=target, cause=after.cause)


async def end_outages(transaction: Transaction, targets: Collection[Of]) -> None:
    """They answered, or may from now on: what waits for them may be claimed at once."""
    if not targets:
        return
    ordered = sorted(targets)
    rows = queries.end_outages(
        transaction.connection,
        workspaces=[workspace for workspace, _ in ordered],
        targets=[name for _, name in ordered],
    )
    for row in [row async for row in rows]:
        if row["probe_at"] is not None:
            await queries.resume(transaction.connection, workspace=row["workspace"], target=row["target"])
            log.info("target.back", workspace=str(row["workspace"]), target=row["target"], since=str(row["since"]))
