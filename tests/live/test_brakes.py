"""What a brake holds up and what it lets through, on a real Postgres."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from deploy.local.servers import EmbeddedServers
from shared import brakes
from shared.brakes import Parking
from shared.leases import (
    Leased,
    NewWork,
    brake,
    brakes_in_force,
    bury,
    drop_waiting,
    enqueue,
    queries,
    release_brake,
)
from shared.postgres import Pool, open_pool, transaction, workspace_transaction
from tests.live.stage import STAGE, new_database

NOW = datetime.now(UTC)
ALPINE, BEACH = uuid.UUID(int=1), uuid.UUID(int=2)  # two workers collect the same tests
CHAIR = NewWork(work_id=uuid.uuid4(), kind="k", workspace=ALPINE, payload="{}", lane="bulk", subject="gpu")


def chair(**more: Any) -> NewWork:
    return replace(CHAIR, work_id=uuid.uuid4(), **more)


@asynccontextmanager
async def queue(servers: EmbeddedServers) -> AsyncIterator[Pool]:
    pool = await open_pool(await new_database(servers), stage=STAGE)
    try:
        yield pool
    finally:
        await pool.close()


async def add(pool: Pool, *rows: NewWork, holder: str | None = None) -> set[uuid.UUID]:
    async with transaction(pool) as connection:
        return await enqueue(connection, rows, holder=holder, lease=60.0)


async def claim(pool: Pool, many: int = 10) -> list[Leased]:
    async with transaction(pool) as connection:
        rows = queries.claim(connection, kinds=["k"], after=None, many=many, holder="me", lease=60.0)
        return [Leased(**dict(row)) async for row in rows]


async def settle(pool: Pool, lease: Leased, *, delay: float | None) -> None:
    async with transaction(pool) as connection:
        rows = queries.settle(
            connection,
            ids=[lease.work_id],
            asked=[lease.asked_at],
            epochs=[lease.epoch],
            holder="me",
            outcomes=["again"],
            details=[None],
            delays=[delay],
            failed=[0],
        )
        assert [row["work_id"] async for row in rows] == [lease.work_id]


async def put_on(pool: Pool, kind: Any = "lane", name: str = "bulk", **more: Any) -> None:
    async with transaction(pool) as connection:
        await brake(connection, kind=kind, name=name, mode="pause", by="mara", reason="too hot", **more)


async def take_off(pool: Pool, kind: Any = "lane", name: str = "bulk") -> bool:
    async with transaction(pool) as connection:
        return await release_brake(connection, kind=kind, name=name, by="mara")


@pytest.mark.parametrize(
    ("kind", "name"), [("lane", "bulk"), ("backend", "gpu"), ("target", "gpu"), ("workspace", str(ALPINE))]
)
async def test_braked_work_waits_and_the_rest_starts(servers: EmbeddedServers, kind: Any, name: str) -> None:
    async with queue(servers) as pool:
        other = chair(lane="standard", subject="cloud", workspace=BEACH)
        waited, late = chair(priority=5), chair(priority=5)
        await add(pool, waited, other)
        await put_on(pool, kind, name)
        await add(pool, late)
        assert [lease.work_id for lease in await claim(pool)] == [other.work_id]
        assert [(each.kind, each.name, each.mode) for each in await brakes_in_force(pool)] == [(kind, name, "pause")]
        assert await take_off(pool, kind, name)
        assert {lease.work_id for lease in await claim(pool)} == {waited.work_id, late.work_id}
        assert not await take_off(pool, kind, name)


async def test_what_runs_goes_on_and_does_not_start_again(servers: EmbeddedServers) -> None:
    async with queue(servers) as pool:
        await add(pool, chair())
        (lease,) = await claim(pool)
        await put_on(pool)
        await settle(pool, lease, delay=0.0)
        assert await claim(pool) == []
        await take_off(pool)
        assert [again.epoch for again in await claim(pool)] == [2]


async def test_a_front_holds_nothing_that_is_braked(servers: EmbeddedServers) -> None:
    async with queue(servers) as pool:
        await put_on(pool)
        braked, free = chair(), chair(lane="standard")
        assert await add(pool, braked, free, holder="me") == {free.work_id}
        assert await pool.fetchval("select holder from work where work_id = $1", braked.work_id) is None


async def test_a_claim_passes_over_what_came_in_while_the_brake_was_put_on(servers: EmbeddedServers) -> None:
    async with queue(servers) as pool:
        await add(pool, chair())
        await put_on(pool)
        await pool.execute("update work set parked = null")
        assert await claim(pool) == []
        await Parking(pool).look()
        assert await pool.fetchval("select parked is not null from work")


async def test_a_cancel_and_a_deadline_reach_what_stands_behind_a_brake(servers: EmbeddedServers) -> None:
    async with queue(servers) as pool:
        cancelled = chair(request_id=uuid.uuid4(), job_id=uuid.uuid4())
        late = chair(deadline=datetime.now(UTC) + timedelta(hours=1))
        await put_on(pool)
        await add(pool, cancelled, late, chair())
        asked = SimpleNamespace(
            request_id=cancelled.request_id, job_id=None, occurred_at=NOW, workspace=ALPINE, by="mara", reason=None
        )
        async with transaction(pool) as connection:
            await bury(connection, [asked])
            assert [row["work_id"] for row in await drop_waiting(connection, [asked])] == [cancelled.work_id]
        await pool.execute(
            "update work set deadline = clock_timestamp() - interval '1 second' where deadline is not null"
        )
        await Parking(pool).look()
        assert [(lease.work_id, lease.expired) for lease in await claim(pool)] == [(late.work_id, True)]


async def test_a_large_backlog_is_parked_and_let_go_in_parts(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brakes, "PART_ROWS", 7)
    async with queue(servers) as pool:
        await add(pool, *(chair() for _ in range(50)))
        await put_on(pool)
        assert await pool.fetchval("select count(*) from work where parked is not null") == 7
        await Parking(pool).look()
        assert await pool.fetchval("select count(*) from work where parked is not null") == 50
        await put_on(pool, "backend", "gpu")
        await take_off(pool)
        await Parking(pool).look()
        assert await claim(pool) == []  # the other brake holds them now
        await take_off(pool, "backend", "gpu")
        await Parking(pool).look()
        assert len(await claim(pool, 100)) == 50
        assert await pool.fetchval("select count(*) from brakes") == 0


async def test_a_caller_brakes_in_its_own_workspace_only(servers: EmbeddedServers) -> None:
    async with queue(servers) as pool:
        await add(pool, chair(), chair(workspace=BEACH))
        async with workspace_transaction(pool, stage=STAGE, workspace=ALPINE) as connection:
            await brake(connection, kind="lane", name="bulk", mode="drain", by="mara", reason=None, workspace=ALPINE)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with workspace_transaction(pool, stage=STAGE, workspace=ALPINE) as connection:
                await brake(connection, kind="lane", name="bulk", mode="pause", by="mara", reason=None)
        assert [lease.workspace for lease in await claim(pool)] == [BEACH]
