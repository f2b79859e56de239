"""What an event costs Postgres at a million rows against a thousand: rows that are finished, and rows that wait.

History: work and ledger of the last five weeks stand there; an event is a row queued already claimed and settled, its
outbox row written and deleted, its fact in the ledger. Backlog: so many rows wait in one workspace's bulk lane; the
standard lane of another is queued beside them, and they are claimed (64 at a time, by lanes, as inference does) and
settled, among whatever dead index entries that leaves between two vacuums. Postgres is the embedded one as it ships.
CPU time of its backend, which others on the machine disturb little.
Aims: history_1m_vs_1k and backlog_1m_vs_1k ≤ 1.2.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psutil

from benchmarks.frame import Result, arguments, interleave, report, run, say
from deploy.local.servers import EmbeddedServers
from services.catalog.ledger.writing import queries as ledger
from services.inference.queue import Claims, Desk
from shared.leases import IN_ORDER, Leased, NewWork, Worker, enqueue, queries
from shared.outbox import queries as outbox
from shared.postgres import Pool, migrate_all, role_of, transaction

FEW = 1000
BATCH = 500
CLAIMED = 64
LEASE = 60.0
ALPINE, BEACH = uuid4(), uuid4()
PAYLOAD = "{" + secrets.token_hex(400) + "}"  # random: pages of one repeated letter would be cached too well
WEEKS = """
select make_partition('{table}', '{moment}', week, week + interval '7 days')
from generate_series(date_trunc('week', now(), 'utc') - interval '35 days',
                     date_trunc('week', now(), 'utc') - interval '1 day', interval '7 days') as week
"""
FINISHED = """
insert into work (work_id, asked_at, kind, workspace, request_id, job_id, ready_at, finished_at, outcome, payload)
select gen_random_uuid(), now() - random() * interval '35 days', 'k', $2, gen_random_uuid(), gen_random_uuid(), null,
       now(), 'done', $3 from generate_series(1, $1)
"""
WAITING = """
insert into work (work_id, asked_at, kind, workspace, request_id, job_id, lane, subject, ready_at, payload)
select gen_random_uuid(), now(), 'k', $2, gen_random_uuid(), gen_random_uuid(), 'bulk', 'backend',
       now() + n * interval '1 microsecond', $3 from generate_series(1, $1) as n
"""
FACTS = """
insert into ledger (about, event_id, workspace, type, occurred_at, body)
select gen_random_uuid(), gen_random_uuid(), $2, 'ImageGenerated', now() - random() * interval '35 days', $3
from generate_series(1, $1)
"""


def pieces(many: int, *, lane: str = "bulk", workspace: UUID = ALPINE) -> list[NewWork]:
    at = datetime.now(UTC)
    return [
        NewWork(
            work_id=uuid4(),
            asked_at=at,
            kind="k",
            workspace=workspace,
            payload=PAYLOAD,
            request_id=uuid4(),
            job_id=uuid4(),
            lane=lane,
            subject="backend",
        )
        for _ in range(many)
    ]


@dataclass(eq=False)
class Backend:
    """One connection of a stage to a database of its own, and the CPU time that its process took."""

    url: str
    pool: Pool
    process: int

    @property
    def cpu(self) -> float:
        try:
            return int(Path(f"/proc/{self.process}/schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:  # another system: to a hundredth of a second
            times = psutil.Process(self.process).cpu_times()
            return float(times.user + times.system)


async def open_backend(url: str, stage: str) -> Backend:
    # As `open_pool` opens it, and never renewed: its process is what is measured.
    settings = {"role": role_of(stage), "search_path": stage}
    pool = await asyncpg.create_pool(
        url, min_size=1, max_size=1, max_queries=10**9, max_inactive_connection_lifetime=0, server_settings=settings
    )
    return Backend(url, pool, await pool.fetchval("select pg_backend_pid()"))


async def new_database(servers: EmbeddedServers) -> str:
    name = f"bench_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(servers.admin_database_url)
    await admin.execute(f"create database {name}")
    await admin.close()
    url = servers.admin_database_url.rsplit("/", 1)[0] + f"/{name}"
    await migrate_all(url)
    return url


@dataclass(eq=False)
class History:
    """Events beside so many that are finished."""

    rows: int
    events: int
    stage: Backend = field(init=False)
    catalog: Backend = field(init=False)

    async def open(self, servers: EmbeddedServers) -> None:
        url = await new_database(servers)
        self.stage, self.catalog = await open_backend(url, "postprocess"), await open_backend(url, "catalog")
        await self.stage.pool.execute(WEEKS.format(table="work", moment="asked_at"))
        await self.catalog.pool.execute(WEEKS.format(table="ledger", moment="occurred_at"))
        for start in range(0, self.rows, 100_000):
            many = min(100_000, self.rows - start)
            await asyncio.gather(
                self.stage.pool.execute(FINISHED, many, ALPINE, PAYLOAD, timeout=600),
                self.catalog.pool.execute(FACTS, many, ALPINE, PAYLOAD, timeout=600),
            )

    async def run(self) -> dict[str, float]:
        before, queued, began = self.stage.cpu + self.catalog.cpu, 0.0, time.perf_counter()
        sent: list[int] = []
        for _ in range(0, self.events, BATCH):
            rows, start = pieces(BATCH), self.stage.cpu
            async with transaction(self.stage.pool) as connection:
                await enqueue(connection, rows, holder="bench", lease=LEASE)
            queued += self.stage.cpu - start
            async with transaction(self.stage.pool) as connection:
                await outbox.remove_rows(connection, ids=sent)
                leases = [_held(row) for row in rows]
                await settle(connection, leases)
                sent = await self._tell(connection)
            async with transaction(self.catalog.pool) as connection:
                await self._write(connection, rows)
        spent = self.stage.cpu + self.catalog.cpu - before
        return figures(spent, queued, time.perf_counter() - began, events=self.events, queued=self.events)

    async def _tell(self, connection: Any) -> list[int]:
        found = outbox.add_rows(
            connection, topics=["t"] * BATCH, keys=[b"k"] * BATCH, headers=["[]"] * BATCH, bodies=[PAYLOAD] * BATCH
        )
        return [row["id"] async for row in found]

    async def _write(self, connection: Any, rows: list[NewWork]) -> None:
        await ledger.write_facts(
            connection,
            abouts=[row.job_id for row in rows],
            ids=[row.work_id for row in rows],
            workspaces=[row.workspace for row in rows],
            types=["ImageGenerated"] * BATCH,
            times=[row.asked_at for row in rows],
            traces=[None] * BATCH,
            bodies=[row.payload for row in rows],
        )


@dataclass(eq=False)
class Backlog:
    """A queue drained to its end, while others queue beside it."""

    rows: int
    stage: Backend = field(init=False)
    claims: Claims = field(init=False)

    async def open(self, servers: EmbeddedServers) -> None:
        self.stage = await open_backend(await new_database(servers), "inference")
        self.claims = Claims(Desk(), kinds=["k"], at_once=True)
        unused: Any = None
        self.claims.worker = Worker(
            stage="inference", outbox=unused, pool=self.stage.pool, kinds=["k"], exhausted=unused, lease_seconds=LEASE
        )

    async def wait(self, many: int) -> None:
        """So many are there, and nobody measured how they came."""
        for start in range(0, many, 100_000):
            await self.stage.pool.execute(WAITING, min(100_000, many - start), ALPINE, PAYLOAD, timeout=600)

    async def fill(self, many: int, *, lane: str = "bulk", workspace: UUID = ALPINE) -> float:
        before = self.stage.cpu
        for start in range(0, many, BATCH):
            rows = pieces(min(BATCH, many - start), lane=lane, workspace=workspace)
            async with transaction(self.stage.pool) as connection:
                await enqueue(connection, rows)
        return self.stage.cpu - before

    async def drain(self, many: int) -> tuple[int, float]:
        """How many were there, of so many, and the CPU time."""
        before, done = self.stage.cpu, 0
        while done < many and (leases := await self._claim()):
            async with transaction(self.stage.pool) as connection:
                await settle(connection, leases, holder=self.claims.worker.holder)
            done += len(leases)
        return done, self.stage.cpu - before

    async def _claim(self) -> list[Leased]:
        async with transaction(self.stage.pool) as connection:
            await connection.execute(IN_ORDER)
            return await self.claims.claim(connection, CLAIMED)

    def part(self, many: int) -> Any:
        """A part of a backlog that was there before."""

        async def once() -> dict[str, float]:
            began = time.perf_counter()
            queued = await self.fill(FEW, lane="standard", workspace=BEACH)
            done, spent = await self.drain(many)
            return figures(spent, queued, time.perf_counter() - began, events=done, queued=FEW)

        return once

    def again(self, times: int) -> Any:
        """A backlog of `rows`, so many times over."""

        async def once() -> dict[str, float]:
            began, queued, spent, done = time.perf_counter(), 0.0, 0.0, 0
            for _ in range(times):
                queued += await self.fill(FEW // 2, lane="standard", workspace=BEACH)
                queued += await self.fill(self.rows - FEW // 2)
                some, seconds = await self.drain(self.rows)
                done, spent = done + some, spent + seconds
            return figures(spent, queued, time.perf_counter() - began, events=done, queued=times * self.rows)

        return once


def _held(row: NewWork) -> Leased:
    return Leased(
        work_id=row.work_id, asked_at=row.asked_at, kind=row.kind, workspace=row.workspace, payload="", epoch=1
    )


async def settle(connection: Any, leases: list[Leased], *, holder: str = "bench") -> None:
    many = len(leases)
    rows = queries.settle(
        connection,
        ids=[lease.work_id for lease in leases],
        asked=[lease.asked_at for lease in leases],
        epochs=[lease.epoch for lease in leases],
        holder=holder,
        outcomes=["done"] * many,
        details=[None] * many,
        delays=[None] * many,
        failed=[0] * many,
    )
    assert len([row async for row in rows]) == many


def figures(spent: float, queuing: float, seconds: float, *, events: int, queued: int) -> dict[str, float]:
    return {
        "cpu_us_per_event": spent * 1e6 / events,
        "enqueue_us_per_row": queuing * 1e6 / queued,
        "events_per_second": events / seconds,
    }


async def main(servers: EmbeddedServers) -> None:
    given = arguments(
        __doc__,
        more=[
            ("--many", {"type": int, "default": 1_000_000}),
            ("--events", {"type": int, "default": 10_000}),
            ("--drained", {"type": int, "default": 1_000_000}),
            ("--parts", {"type": int, "default": 20}),
        ],
    )
    result = Result("backlog", "CPU of Postgres")
    histories = {"history_1k": History(FEW, given.events), "history_1m": History(given.many, given.events)}
    for name, history in histories.items():
        say(f"  {name}: {history.rows:,} finished rows and facts")
        await history.open(servers)
    await interleave(result, {name: history.run for name, history in histories.items()}, rounds=given.rounds)
    few, many = Backlog(FEW), Backlog(given.many)
    await few.open(servers)
    await many.open(servers)
    say(f"  {given.many:,} rows are queued")
    await many.wait(given.many)
    part = min(given.drained, given.many) // given.parts
    arms = {"backlog_1k": few.again(max(1, part // FEW // 4)), "backlog_1m": many.part(part)}
    await interleave(result, arms, rounds=given.parts, warm=0)
    ratios = {}
    for what in ("history", "backlog"):
        pair = f"{what}_1m", f"{what}_1k"
        ratios[f"{what}_1m_vs_1k"] = result.ratio(*pair, "cpu_us_per_event")
        ratios[f"{what}_enqueue_1m_vs_1k"] = result.ratio(*pair, "enqueue_us_per_row")
    report(result, ratios, save=given.save, rows=given.many, drained=part * given.parts)


if __name__ == "__main__":
    run(main, kafka=False)
