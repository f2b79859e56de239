"""What is pruned and what is not, on a real Postgres: whole weeks, never what somebody still needs."""

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from deploy.local.servers import EmbeddedServers
from services.postprocess.handler import work_of
from shared import partitions, postgres
from shared.contracts.golden import golden
from shared.events import ImageGenerated
from shared.leases import Leased, NewWork, enqueue, queries
from shared.partitions import Partitions, remembered, work_history
from shared.postgres import Pool, migrate_all, open_pool, transaction
from tests.live.stage import STAGE, new_database

WEEK = timedelta(days=7)
KEPT = timedelta(days=35)


@asynccontextmanager
async def history(servers: EmbeddedServers) -> AsyncIterator[tuple[Pool, Partitions]]:
    pool = await open_pool(await new_database(servers), stage=STAGE)
    try:
        yield pool, Partitions(pool, STAGE, work_history(KEPT))
    finally:
        await pool.close()


async def week_of(pool: Pool, *, ago: int) -> datetime:
    """The Monday so many weeks ago, with a partition for its week."""
    monday: datetime = await pool.fetchval(
        "select date_trunc('week', clock_timestamp(), 'utc') - $1::interval", ago * WEEK
    )
    await pool.execute("select make_partition('work', 'asked_at', $1, $2)", monday, monday + WEEK)
    return monday


def asked(at: datetime, **more: Any) -> NewWork:
    return NewWork(work_id=uuid.uuid4(), asked_at=at, kind="k", workspace=uuid.uuid4(), payload="{}", **more)


async def add(pool: Pool, *rows: NewWork) -> set[uuid.UUID]:
    async with transaction(pool) as connection:
        return await enqueue(connection, rows)


async def finish(pool: Pool, *rows: NewWork) -> None:
    await pool.execute(
        "update work set ready_at = null, finished_at = asked_at where work_id = any($1::uuid[])",
        [r.work_id for r in rows],
    )


async def standing(pool: Pool) -> dict[uuid.UUID, str]:
    """Work id → the table its row stands in."""
    return {
        row["work_id"]: row["of"]
        for row in await pool.fetch("select work_id, tableoid::regclass::text as of from work")
    }


async def test_finished_weeks_go_whole_and_a_week_with_unfinished_work_stays(servers: EmbeddedServers) -> None:
    async with history(servers) as (pool, keeper):
        old, held, young = [asked(await week_of(pool, ago=ago) + timedelta(days=1)) for ago in (9, 8, 3)]
        finished = asked(held.asked_at)
        await add(pool, old, held, young, finished)
        await finish(pool, old, young, finished)
        await keeper.look()
        assert set(await standing(pool)) == {held.work_id, young.work_id, finished.work_id}
        assert await pool.fetchval("select to_regclass($1)", f"work_{old.asked_at - timedelta(days=1):%Y%m%d}") is None
        await finish(pool, held)
        await keeper.look()
        assert set(await standing(pool)) == {young.work_id}


async def test_a_fact_heard_again_is_new_only_once_however_late(servers: EmbeddedServers) -> None:
    async with history(servers) as (pool, keeper):
        weeks = await week_of(pool, ago=4), await week_of(pool, ago=9)
        facts = [asked(at + timedelta(hours=1)) for at in weeks] + [asked(datetime(2020, 2, 2, tzinfo=UTC))]
        assert await add(pool, *facts) == {fact.work_id for fact in facts}
        assert await add(pool, *facts) == set()
        await finish(pool, *facts)
        await keeper.look()
        assert await add(pool, facts[0]) == set()  # still remembered: its topic may still hold it


async def test_what_came_while_a_stage_made_no_partitions_moves_into_them(servers: EmbeddedServers) -> None:
    async with history(servers) as (pool, keeper):
        for name in await partitions_of(pool):
            await pool.execute(f"drop table {name}")
        now = await pool.fetchval("select clock_timestamp()")
        piece = asked(now)
        await add(pool, piece)
        assert await standing(pool) == {piece.work_id: "work_elsewhen"}
        await keeper.look()
        monday = f"{now - timedelta(days=now.weekday()):%Y%m%d}"
        assert await standing(pool) == {piece.work_id: f"work_{monday}"}
        assert await add(pool, piece) == set()
        async with transaction(pool) as connection:
            rows = queries.claim(connection, kinds=["k"], after=None, many=5, holder="me", lease=60.0)
            assert [Leased(**dict(row)).work_id async for row in rows] == [piece.work_id]


async def test_this_week_and_the_next_have_a_partition_and_making_them_again_makes_none(
    servers: EmbeddedServers,
) -> None:
    async with history(servers) as (pool, keeper):
        before = await partitions_of(pool)
        await keeper.look()
        assert await partitions_of(pool) == before and len(before) == 2
        assert await pool.fetchval("select tableoid::regclass::text from work") is None
        await add(pool, asked(datetime.now(UTC) + WEEK))
        assert list((await standing(pool)).values()) == [before[1]]


async def test_who_is_at_work_waits_for_nobody_who_prunes(servers: EmbeddedServers) -> None:
    async with history(servers) as (pool, keeper):
        old = asked(await week_of(pool, ago=9))
        await add(pool, old)
        await finish(pool, old)
        async with transaction(pool) as connection:
            await enqueue(connection, [asked(datetime.now(UTC))])
            with pytest.raises(asyncpg.LockNotAvailableError):
                await keeper.look()
        assert old.work_id in await standing(pool)
        await keeper.look()
        assert old.work_id not in await standing(pool)


async def test_work_of_no_fact_is_pruned_when_it_is_long_over(servers: EmbeddedServers, monkeypatch: Any) -> None:
    monkeypatch.setattr(partitions, "PART_ROWS", 3)
    async with history(servers) as (pool, keeper):
        rows = [asked(datetime(2000, 1, 1, tzinfo=UTC)) for _ in range(9)]
        await add(pool, *rows)
        await finish(pool, *rows[:7])  # finished in the year 2000
        await pool.execute("update work set finished_at = clock_timestamp() where work_id = $1", rows[6].work_id)
        await keeper.look()
        assert set(await standing(pool)) == {row.work_id for row in rows[6:]}


async def test_what_the_first_release_left_is_kept_and_not_done_again(
    servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = postgres.ROOT
    for first in root.glob("s*/**/migrations/*_0001_*.sql"):
        if first.name != "postprocess_0001_asked.sql":
            copy = tmp_path / first.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(first, copy)
    name = f"old_{uuid.uuid4().hex[:8]}"
    admin = await asyncpg.connect(servers.admin_database_url)
    await admin.execute(f"create database {name}")
    await admin.close()
    url = servers.admin_database_url.rsplit("/", 1)[0] + f"/{name}"
    with monkeypatch.context() as earlier:
        earlier.setattr(postgres, "ROOT", tmp_path)
        earlier.setattr(postgres, "_grant_and_guard", _grant_nothing)
        await migrate_all(url)
    piece = work_of(cast("ImageGenerated", golden(ImageGenerated)))
    admin = await asyncpg.connect(url)
    await admin.execute(
        "insert into postprocess.work (work_id, kind, workspace, finished_at, payload) values ($1, $2, $3, now(), $4)",
        piece.work_id,
        piece.kind,
        piece.workspace,
        piece.payload,
    )
    await admin.close()
    await migrate_all(url)
    pool = await open_pool(url, stage=STAGE)
    assert await pool.fetchval("select asked_at from work") == piece.asked_at
    assert await add(pool, piece) == set()
    await pool.close()


async def _grant_nothing(*_: object) -> None:
    """The rights of this release speak of tables that the first one did not have."""


def test_every_stage_remembers_longer_than_its_topics_keep() -> None:
    assert {remembered(stage) for stage in postgres.STAGES_WITH_DATABASE} == {timedelta(days=31)}


async def partitions_of(pool: Pool) -> list[str]:
    rows = await pool.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'work'::regclass"
    )
    return sorted(row["name"] for row in rows if row["name"] != "work_elsewhen")
