"""A high-priority job under a saturating bulk load against the same job alone: the real queue, worker and engine.

Real Postgres, the diffusion backend as it ships (ten images at once, two slots of them kept for the dedicated lane) on
a random UNet of 78 M parameters with guidance, 64 px, one thread; facts are written to the outbox and not sent. Bulk
work is topped up, so that twelve always wait behind those in the making. High jobs come one after another with pauses,
so that their lane stays within its share. `fifo` is the same load in one lane at one priority, claimed oldest first.
The step that the engine has under way when a high job comes is taken off before the comparison, as long as measured.

`other_workspace_jobs_before`: how many of 10,000 jobs of one workspace begin between the moment another workspace's
single job is queued and the moment it begins, for each of four slots, at most, of a backend that takes 20 ms.
Aims: p99_vs_idle ≤ 1.25, other_workspace_jobs_before ≤ 1.
"""

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from benchmarks.engine import pipes_of
from benchmarks.frame import Result, arguments, interleave, report, run, say
from deploy.local.servers import EmbeddedServers
from services.inference.app import KEPT
from services.inference.backends import Backend, Generated, Generation
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from services.inference.backends.diffusion.planner import WINDOW
from services.inference.handler import Front
from services.inference.permits import Permits
from services.inference.progress import State
from services.inference.queue import Claims, Desk, Piece
from services.inference.tables import RoutingTables
from services.inference.worker import Maker, record
from shared.blobs import Blobs, open_blobs
from shared.current import keep_items
from shared.events import LibraryItemChanged, Parameters, Priority, PromptAssembled
from shared.kafka import Producer
from shared.leases import Leased, Outcome, Worker
from shared.library.documents import Routes
from shared.observability import configure_logs
from shared.outbox import Outbox, Transaction
from shared.postgres import Pool, migrate_all, open_pool, transaction
from shared.settings import KafkaSettings
from tests.inference.prompts import NOW, assembled, routes

STEPS = 20
DEEP = 12  # bulk jobs that wait
SLOTS = 4  # of the backend that the workspaces' turns are counted on
EMPTY = "delete from work; delete from attempts; delete from outbox; delete from spend"
ALPINE, BEACH = uuid4(), uuid4()


class Steps:
    """Where a worker tells its progress: how long a step takes that nothing interrupts."""

    def __init__(self) -> None:
        self._last: dict[Piece, float] = {}
        self.seconds: list[float] = []

    def tell(self, state: State) -> None:
        now, before = time.perf_counter(), self._last.get(state.piece)
        if before is not None and state.step > 1:
            self.seconds.append(now - before)
        self._last[state.piece] = now

    def show(self, piece: Piece, step: int, image: bytes) -> None:
        """Thumbnails are drawn as in production, and nobody looks."""

    def forget(self, piece: Piece) -> None:
        self._last.pop(piece, None)


class Paced:
    """A backend whose every picture takes 20 ms; who was served, in order."""

    name = "diffusion"

    def __init__(self) -> None:
        self.begun: list[UUID] = []

    async def generate(self, work: Generation, **_: Any) -> Generated:
        self.begun.append(work.job_id)
        await asyncio.sleep(0.02)
        return Generated(image=b"x", width=1, height=1, manifest={})

    async def close(self) -> None:
        pass


@dataclass(eq=False)
class Bench:
    pool: Pool
    outbox: Outbox
    blobs: Blobs
    ended: dict[UUID, float] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    tables: RoutingTables = field(default_factory=lambda: RoutingTables(kinds=["diffusion"]))

    async def know(self, table: Routes) -> None:
        async with transaction(self.pool) as connection:
            for workspace in (ALPINE, BEACH):
                item = LibraryItemChanged.of(
                    cause_id=str(table.version),
                    occurred_at=NOW,
                    workspace=workspace,
                    item=f"{workspace}/routes/routes",
                    kind="routes",
                    name="routes",
                    version=table.version,
                    digest=table.pin().digest,
                    state="published",
                    document=table.model_dump(mode="json"),
                )
                await keep_items(connection, [item])
        self.tables = RoutingTables(kinds=["diffusion"])

    def worker(self, backend: Backend, steps: Steps, *, slots: int, kept: int = 0, fifo: bool = False) -> "Running":
        desk = Desk()
        unsent: Any = steps
        maker = Maker(backends={"diffusion": backend}, blobs=self.blobs, desk=desk, progress=unsent)
        claims = Claims(desk, kinds=["diffusion/standard"], recheck=Permits(self.tables).jobs)

        async def noted(running: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
            await record(running, settled)
            running.after_commit(lambda: self._hear([lease.job_id for lease, _ in settled]))

        worker = Worker(
            stage="inference",
            outbox=self.outbox,
            pool=self.pool,
            kinds=["diffusion/standard"],
            run=maker.run,
            record=noted,
            exhausted=maker.exhausted,
            claim=None if fifo else claims.claim,
            on_wake=claims.look_round,
            concurrency=slots,
            kept=kept,
        )
        claims.worker = worker
        return Running(self, worker, Front(tables=self.tables, desk=desk, workers={"diffusion/standard": worker}))

    def _hear(self, jobs: Sequence[UUID | None]) -> None:
        now = time.perf_counter()
        self.ended |= {job: now for job in jobs if job is not None}
        self.heard.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.heard.clear()
            await self.heard.wait()


@dataclass(eq=False)
class Running:
    """A worker with the front before it."""

    bench: Bench
    worker: Worker
    front: Front

    async def put(self, *events: PromptAssembled, queued: Callable[[], None] | None = None) -> None:
        """`queued` is called as soon as they are."""
        async with self.bench.outbox.transaction() as running:
            await self.front.take(running, events)
            if queued is not None:
                running.after_commit(queued)


def job(priority: Priority, workspace: UUID = ALPINE, *, steps: int = STEPS) -> PromptAssembled:
    parameters = Parameters(width=64, height=64, steps=steps, guidance=5.0)
    return assembled(priority=priority, workspace=workspace, parameters=parameters, negative_prompt="")


async def latencies(bench: Bench, running: Running, many: int, *, fifo: bool, pause: float) -> list[float]:
    found = []
    for _ in range(many):
        high = job(Priority.LOW if fifo else Priority.HIGH)
        began = time.perf_counter()
        await running.put(high)
        await bench.until(lambda high=high: high.job_id in bench.ended)  # type: ignore[misc]
        found.append(bench.ended[high.job_id] - began)
        await asyncio.sleep(pause)
    return found


async def measured(
    bench: Bench, backend: Backend, steps: Steps, many: int, *, loaded: bool, fifo: bool = False, pause: float
) -> dict[str, float]:
    await bench.pool.execute(EMPTY)
    running = bench.worker(backend, steps, slots=10, kept=0 if fifo else 10 // KEPT, fifo=fifo)
    await running.worker.start()
    bulk: set[UUID] = set()

    async def top_up() -> None:
        while True:
            short = DEEP + 8 - len(bulk - bench.ended.keys())
            new = [job(Priority.LOW) for _ in range(short)]
            bulk.update(event.job_id for event in new)
            if new:
                await running.put(*new)
            bench.heard.clear()
            await bench.heard.wait()

    filling = asyncio.create_task(top_up()) if loaded else None
    if loaded:
        # What a lane had of the last minute counts: the jobs of the arm before are not to count against these.
        began = time.monotonic()
        await bench.until(lambda: time.monotonic() - began > WINDOW)
    found = await latencies(bench, running, many, fifo=fifo, pause=pause)
    if filling is not None:
        filling.cancel()
    await running.worker.stop(within=0)
    ranked = statistics.quantiles(found, n=100, method="inclusive")
    made = len(bulk & bench.ended.keys())
    return {"p50_s": ranked[49], "p99_s": ranked[98], "high_jobs": many, "bulk_jobs": made}


async def jobs_before(bench: Bench, *, trials: int) -> float:
    """Of 10,000 of one workspace, how many begin before the single job of another, for each slot, at most."""
    await bench.pool.execute(EMPTY)
    backend = Paced()
    running = bench.worker(backend, Steps(), slots=SLOTS)
    for _ in range(20):
        await running.put(*(job(Priority.NORMAL) for _ in range(500)))
    await running.worker.start()
    most = 0
    for _ in range(trials):
        already = len(backend.begun)
        await bench.until(lambda already=already: len(backend.begun) > already + 2 * SLOTS)  # type: ignore[misc]
        single = job(Priority.NORMAL, BEACH)
        before: list[int] = []
        # What begins before this task goes on counts.
        await running.put(single, queued=lambda before=before: before.append(len(backend.begun)))  # type: ignore[misc]
        await bench.until(lambda single=single: single.job_id in bench.ended)  # type: ignore[misc]
        most = max(most, backend.begun.index(single.job_id) - before[0])
    await running.worker.stop(within=0)
    return most / SLOTS


async def main(servers: EmbeddedServers) -> None:
    given = arguments(
        __doc__, more=[("--jobs", {"type": int, "default": 20}), ("--fifo-jobs", {"type": int, "default": 6})]
    )
    configure_logs(service="inference", level="error")
    await migrate_all(servers.admin_database_url, stages=["inference"])
    pool = await open_pool(servers.admin_database_url, stage="inference")
    with tempfile.TemporaryDirectory(prefix="calotype-bench-") as folder:
        options = DiffusionOptions(models=Path(folder), device="cpu")
        pipes_of("write", options.models / "bench", options)  # before anything runs
        outbox = Outbox(pool, Producer(KafkaSettings(kafka_bootstrap="127.0.0.1:9")))  # never started: nothing is sent
        blobs = open_blobs((Path(folder) / "blobs").as_uri(), public_url="", secret="")
        bench = Bench(pool, outbox, blobs)
        backend = DiffusionBackend(options)
        try:
            await compare(bench, backend, given.rounds, given.jobs, given.fifo_jobs, save=given.save)
        finally:
            await backend.close()
            await pool.close()


async def compare(bench: Bench, backend: Backend, rounds: int, jobs: int, fifo_jobs: int, *, save: bool) -> None:
    await bench.know(routes("diffusion", model="bench", price="0"))
    before = await jobs_before(bench, trials=20)
    say(f"  before another workspace's single job: {before} a slot")
    by_arm: Mapping[str, Steps] = defaultdict(Steps)
    warm = await measured(bench, backend, Steps(), 4, loaded=False, pause=0.0)
    await measured(bench, backend, Steps(), 2, loaded=True, pause=0.0)  # the engine measures its shapes
    pause = 1.2 * warm["p50_s"]  # so that high jobs ask for less than half of the model's time

    async def idle() -> dict[str, float]:
        return await measured(bench, backend, by_arm["idle"], jobs, loaded=False, pause=0.05)

    async def loaded() -> dict[str, float]:
        return await measured(bench, backend, by_arm["loaded"], jobs, loaded=True, pause=pause)

    async def fifo() -> dict[str, float]:
        return await measured(bench, backend, by_arm["fifo"], fifo_jobs, loaded=True, fifo=True, pause=0.05)

    result = Result("priority", f"high-priority jobs of {STEPS} steps")
    await interleave(result, {"idle": idle, "loaded": loaded, "fifo": fifo}, rounds=rounds, warm=0)
    step = statistics.median(by_arm["loaded"].seconds)
    for arm in ("loaded", "fifo"):
        for figures in result.rounds[arm]:
            figures["p99_less_a_step_s"] = figures["p99_s"] - step
    for figures in result.rounds["idle"]:
        figures["p99_less_a_step_s"] = figures["p99_s"]
    ratios = {
        "p99_vs_idle": result.ratio("loaded", "idle", "p99_less_a_step_s"),
        "fifo_p99_vs_idle": result.ratio("fifo", "idle", "p99_less_a_step_s"),
        "other_workspace_jobs_before": before,
    }
    lone = statistics.median(by_arm["idle"].seconds)
    report(result, ratios, save=save, step_ms=round(1000 * step, 1), lone_step_ms=round(1000 * lone, 1))


if __name__ == "__main__":
    run(main, kafka=False)
