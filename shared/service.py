"""A stage as a process: opens what it needs, starts in order, stops in reverse, and answers /readyz all the while.

Roles: `consume` (the Kafka edges), `work` (leases), `http`. HTTP comes up first, so that an orchestrator sees a
process that waits for Postgres as alive and not ready, instead of a crash loop.
"""

import argparse
import asyncio
import contextlib
import gc
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry.sdk.trace import TracerProvider

from shared import audit, brakes, operating
from shared.blobs import Blobs, open_blobs
from shared.bus import Bus
from shared.crash import arm
from shared.errors import Unavailable
from shared.gauges import Count, Gauges
from shared.http import Check, Gate, create_app, unavailable
from shared.kafka import Producer, connection_options
from shared.leases import FINISH_SECONDS, SETTLE_SECONDS, Worker
from shared.observability import configure_logs, configure_traces
from shared.outbox import Outbox
from shared.partitions import History, Partitions, remembered, work_history
from shared.postgres import Pool, open_pool
from shared.retry import Backoff
from shared.rounds import Rounds
from shared.settings import Settings
from shared.stacks import show_on_signal
from shared.stops import Stops

log = structlog.get_logger()

ROLES = ("consume", "work", "http")
# Seconds from SIGTERM; supervisors kill after 20. Batches and work under way have FINISH_SECONDS of them.
CUT_OFF_SECONDS = FINISH_SECONDS + SETTLE_SECONDS  # then Postgres is not waited for any more
STOPPED_SECONDS = 14.0  # then no step of the end has more than LAST_SECONDS
LAST_SECONDS = 1.0
HTTP_SECONDS = 1  # for requests under way
SPANS_SECONDS = 2.0  # for the last spans to a collector that may be away
# A batch holds hundreds of live events; at the default of 700 the collector walks them again and again, a third of the
# time of a transform edge (benchmarks/bus.py).
GC_THRESHOLDS = (50_000, 20, 100)


class Part(Protocol):
    """What a stage adds beside its workers: a broadcaster, a pool of children."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


@dataclass(eq=False)
class Service:
    """What every stage has. A stage's `build` wires its handlers to `bus`, its routes to `app`, its worker by `add`."""

    stage: str
    settings: Settings
    roles: frozenset[str]
    producer: Producer
    bus: Bus
    app: FastAPI
    gate: Gate
    blobs: Blobs
    checks: dict[str, Check]
    pool: Pool | None = None
    outbox: Outbox | None = None
    gauges: Gauges | None = None
    parts: list[Part] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Starts with the service, after the outbox and before the workers; stops after them."""
        self.parts.append(part)

    def add_worker(self, worker: Worker) -> None:
        """Starts after the parts and before the consumers; stops after these, all workers at once."""
        self.workers.append(worker)

    def count(self, count: Count) -> None:
        """Something of this stage's own for /metrics."""
        assert self.gauges is not None, f"{self.stage} was opened without a database"
        self.gauges.add(count)

    @property
    def database(self) -> Pool:
        assert self.pool is not None, f"{self.stage} was opened without a database"
        return self.pool

    @property
    def facts(self) -> Outbox:
        assert self.outbox is not None, f"{self.stage} was opened without a database"
        return self.outbox

    async def start(self) -> None:
        await self.producer.start()
        if self.outbox is not None:
            await self.outbox.start()
        for part in [*self.parts, *self.workers]:
            await part.start()
        if "consume" in self.roles:
            await self.bus.start()

    async def stop(self) -> None:
        """Stops reading, then working, then sending: each may still need what stops after it.

        One clock runs for all of it, so that what waits for something that is away keeps nobody twice.
        """
        began = time.monotonic()

        def left() -> float:
            return max(0.0, began + FINISH_SECONDS - time.monotonic())

        async def stop_reading() -> None:
            await self.bus.stop(within=left())

        async def stop_working() -> None:
            await asyncio.gather(*(worker.stop(within=left()) for worker in self.workers))

        for worker in self.workers:
            worker.claim_no_more()
        steps: list[Callable[[], Awaitable[None]]] = []
        if "consume" in self.roles:
            steps.append(stop_reading)
        steps.append(stop_working)
        steps += [part.stop for part in reversed(self.parts)]
        if self.outbox is not None:
            steps.append(self.outbox.stop)
        steps += [self.producer.stop, self.blobs.close]
        if self.pool is not None:
            steps.append(self._close_pool)
            # One that answers nothing must not keep the process: whoever still waits then hears that it is gone.
            asyncio.get_running_loop().call_later(CUT_OFF_SECONDS, self.pool.terminate)
        for step in steps:
            await _in_time(step, max(LAST_SECONDS, began + STOPPED_SECONDS - time.monotonic()))

    async def _close_pool(self) -> None:
        try:
            await asyncio.wait_for(self.database.close(), LAST_SECONDS)
        except TimeoutError:
            self.database.terminate()


async def _in_time(step: Callable[[], Awaitable[None]], seconds: float) -> None:
    """One step of the end; one that fails or takes too long is passed over, and named."""
    name = getattr(step, "__qualname__", str(step))
    try:
        async with asyncio.timeout(seconds):
            await step()
    except TimeoutError:
        log.warning("stop.step_cut_off", step=name)
    except Exception:
        log.exception("stop.step_failed", step=name)


Build = Callable[[Service], Awaitable[None]]


async def open_service(stage: str, settings: Settings, *, roles: frozenset[str], database: bool = True) -> Service:
    """Opens Postgres and the rest.

    Raises:
        Unavailable: Postgres does not answer yet.
    """
    options = connection_options(settings)
    producer = Producer(settings)
    secret = settings.session_secret.get_secret_value()
    pool = await open_pool(settings.database_url.get_secret_value(), stage=stage) if database else None
    direct = settings.database_direct_url.get_secret_value() if settings.database_direct_url else None
    outbox = None
    if pool is not None:
        keep = settings.outbox_keep_seconds
        outbox = Outbox(pool, producer, prefix=settings.topic_prefix, direct_url=direct, keep_seconds=keep)
    bus = Bus(
        producer,
        options=options,
        prefix=settings.topic_prefix,
        outbox=outbox,
        max_records=settings.max_records,
        session_seconds=settings.session_seconds,
    )
    blobs = open_blobs(
        settings.blobs_url, public_url=settings.public_url, secret=secret, s3_endpoint=settings.s3_endpoint
    )
    checks: dict[str, Check] = {"kafka": _check(producer.check), "object store": _check(blobs.check)}
    if pool is not None:
        checks["postgres"] = _check(lambda: pool.fetchval("select 1", timeout=2))
    gate = Gate(pool, secret=secret, public_url=settings.public_url)
    gauges = Gauges(stage, pool) if pool is not None else None
    stops = Stops(bus, pool) if pool is not None else None
    app = create_app(
        stage,
        checks=checks,
        gate=gate,
        resume=stops.resume if stops else _in_process(bus),
        waiting=bus.waiting_for,
        refresh=gauges.refresh if gauges else None,
    )
    if pool is not None:
        audit.wire(app, stage=stage, pool=pool, gate=gate)
        operating.wire(app, stage=stage, pool=pool, gate=gate)
    service = Service(stage, settings, roles, producer, bus, app, gate, blobs, checks, pool, outbox, gauges)
    if stops is not None and "consume" in roles:
        service.add(stops)
    if pool is not None and "work" in roles:
        kept = max(timedelta(days=settings.history_days), remembered(stage))
        service.add(Partitions(pool, stage, service.histories))
        service.histories += work_history(kept)
        service.add(Rounds("parking", brakes.Parking(pool).look, every=brakes.LOOK_EVERY))
    return service


def _in_process(bus: Bus) -> Callable[[str], Awaitable[bool]]:
    """Without a database a stop is this process's own."""

    async def resume(group: str) -> bool:
        return bus.resume(group)

    return resume


def _check(call: Callable[[], Awaitable[Any]]) -> Check:
    async def run() -> str | None:
        try:
            await asyncio.wait_for(call(), 3)
        except Exception as error:  # noqa: BLE001  # whatever is wrong, /readyz says it
            return repr(error)[:200]
        return None

    return run


def main(stage: str, settings_class: type[Settings], build: Build, *, database: bool = True) -> None:
    """`python -m services.<stage>`: reads roles and environment, runs until SIGTERM or SIGINT."""
    import uvloop  # noqa: PLC0415  # only a process's entry pays

    parser = argparse.ArgumentParser(prog=f"python -m services.{stage}")
    parser.add_argument("--roles", default=",".join(ROLES), help="any of consume, work, http, joined by commas")
    roles = frozenset(parser.parse_args().roles.split(","))
    if unknown := roles - set(ROLES):
        parser.error(f"unknown roles: {', '.join(sorted(unknown))}; there are {', '.join(ROLES)}")
    gc.collect()
    gc.freeze()  # what start-up made lives as long as the process
    gc.set_threshold(*GC_THRESHOLDS)
    settings = settings_class()
    configure_logs(service=stage, level=settings.log_level)
    arm(stage, settings.crash, log=settings.crash_log)
    traces = configure_traces(service=stage, sample=settings.trace_sample, endpoint=settings.otlp_endpoint)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(stage, settings, roles, build, database=database, traces=traces))


async def serve(
    stage: str,
    settings: Settings,
    roles: frozenset[str],
    build: Build,
    *,
    database: bool = True,
    traces: TracerProvider | None = None,
) -> None:
    """Serves until told to stop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    show_on_signal(loop)
    face = _Face(stage)
    server = _Server(
        uvicorn.Config(
            face,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=HTTP_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve())
    service = await _until_ready(stage, settings, roles, build, database=database, face=face, stopping=stopping)
    log.info("service.ready" if service else "service.never_ready", roles=sorted(roles))
    failed = asyncio.create_task(_first_end(serving))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({failed, stop}, return_when=asyncio.FIRST_COMPLETED)
    log.info("service.stopping")
    began = time.monotonic()
    if service is not None:
        await service.stop()
    server.should_exit = True
    with contextlib.suppress(Exception):
        await asyncio.wait_for(serving, 2 * HTTP_SECONDS)
    if traces is not None:
        # On a thread that the process does not wait for: with a collector that is away it takes half a minute.
        sending = threading.Thread(target=traces.shutdown, name="last spans", daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, SPANS_SECONDS)
    log.info("service.stopped", seconds=round(time.monotonic() - began, 2))


async def _first_end(task: "asyncio.Task[Any]") -> None:
    with contextlib.suppress(Exception):
        await asyncio.shield(task)


async def _until_ready(
    stage: str,
    settings: Settings,
    roles: frozenset[str],
    build: Build,
    *,
    database: bool,
    face: "_Face",
    stopping: asyncio.Event,
) -> Service | None:
    """Opens, builds and starts, waiting without end for what is away; None if told to stop meanwhile."""
    backoff = Backoff(ceiling=5.0)
    while not stopping.is_set():
        service: Service | None = None
        try:
            service = await open_service(stage, settings, roles=roles, database=database)
            await build(service)
            if not await _unless(stopping, service.start()):
                await service.stop()
                return None
        except Unavailable as error:
            face.waits_for = error
            log.warning("service.waits", dependency=error.dependency, cause=error.cause)
            if service is not None:
                await service.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), backoff.next())
            continue
        face.app = service.app
        return service
    return None


async def _unless(stopping: asyncio.Event, starting: Coroutine[Any, Any, None]) -> bool:
    """Whether it ended before anybody told us to stop: a consumer waits for its first assignment without end."""
    start, told = asyncio.create_task(starting), asyncio.create_task(stopping.wait())
    await asyncio.wait({start, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not start.done():
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False
    await start
    return True


class _Face:
    """What answers HTTP before the service is ready: alive, not ready, and why."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.app: FastAPI | None = None
        self.waits_for = Unavailable(stage, "it is starting")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.app is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope["path"])(scope, receive, send)

    def _answer(self, path: str) -> JSONResponse:
        if path == "/livez":
            return JSONResponse({"status": "alive", "stage": self.stage})
        if path.endswith("/readyz"):
            dependencies = {self.waits_for.dependency: self.waits_for.cause}
            return JSONResponse({"stage": self.stage, "ready": False, "dependencies": dependencies}, 503)
        return unavailable(self.waits_for)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: this module decides the order of the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
