"""The whole pipeline, request → completed, against six raw aiokafka processes and a chain of six Celery tasks.

All three share the machine and, but for Celery's Redis, the broker; arms are interleaved and warmed. Ours runs the
six services at the production sampler (1 %) with a null backend and null recipes: everything but the picture. A job
counts when the catalog's projection says `completed`; in the raw chain when the last process's record is acknowledged;
in Celery when the last task ran.
Aims: vs_raw_chain ≥ 0.5, vs_celery ≥ 20, unloaded request → completed p50 under 100 ms.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.frame import Result, arguments, interleave, report, run, say
from deploy.local.servers import EmbeddedServers
from shared import ids
from shared.blobs import FileBlobs, blob_key
from shared.contracts.golden import golden
from shared.events import PromptAssembled
from shared.kafka import Producer, Record, create_topics
from shared.postgres import migrate_all
from shared.settings import KafkaSettings
from shared.topics import IMAGE_REQUESTS

STAGES = ("intake", "prompt", "inference", "postprocess", "catalog", "publisher")
HOPS = 6
COMPLETED = 2  # the rank of `completed` in the catalog's projection
LIBRARY: list[dict[str, Any]] = [
    {"kind": "brand", "name": "bench", "version": 1, "owner": "bench", "title": "Bench"},
    {"kind": "policy", "name": "bench", "version": 1, "owner": "bench"},
    {"kind": "rubric", "name": "bench", "version": 1, "owner": "bench"},
    {
        "kind": "template", "name": "bench", "version": 1, "owner": "bench", "brand": "bench", "policy": "bench",
        "variables": {"headline": {"type": "text"}}, "prompt": "A quiet picture for: {{ headline }}",
    },
    {
        "kind": "target", "name": "folder", "version": 1, "owner": "bench", "type": "folder", "ceiling": "confidential",
        "demo": True,
    },
    {
        "kind": "campaign", "name": "bench", "version": 1, "owner": "bench", "title": "Bench", "brand": "bench",
        "asset_types": {"nothing": {"template": "bench", "recipes": {}, "rubric": "bench"}},
    },
    {
        "kind": "routes", "name": "default", "version": 1, "owner": "bench",
        "backends": [{"name": "null", "kind": "null", "visibility": "private", "price": "0", "concurrency": 256}],
        "rules": [{"id": "all", "lane": "standard", "backends": ["null"]}],
    },
]  # fmt: skip


class Calotype:
    """Six services on the benchmark's servers, and a workspace whose jobs need no picture."""

    def __init__(self, servers: EmbeddedServers, folder: Path) -> None:
        self.folder = folder
        self.database_url = servers.admin_database_url
        self.settings = KafkaSettings(
            kafka_bootstrap=servers.kafka_bootstrap, topic_prefix="calotype.", topic_partitions=4, topic_replication=1
        )
        self.ports = {stage: free_port() for stage in STAGES}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.token = secrets.token_hex(16)
        self.workspace = UUID(int=0)
        self.key = ""
        self.published_jobs: set[str] = set()
        self.done = 0

    async def start(self) -> None:
        await asyncio.gather(migrate_all(self.database_url), create_topics(self.settings))
        environment = os.environ | {
            "CALOTYPE_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "CALOTYPE_TOPIC_PREFIX": self.settings.topic_prefix,
            "CALOTYPE_TOPIC_PARTITIONS": "4",
            "CALOTYPE_TOPIC_REPLICATION": "1",
            "DATABASE_URL": self.database_url,
            "CALOTYPE_BLOBS_URL": (self.folder / "blobs").as_uri(),
            "CALOTYPE_PUBLISH_FOLDER": str(self.folder / "published"),
            "CALOTYPE_SESSION_SECRET": secrets.token_hex(16),
            "CALOTYPE_BOOTSTRAP_TOKEN": self.token,
            "CALOTYPE_TRACE_SAMPLE": "0.01",
            "CALOTYPE_LOG_LEVEL": "warning",
            "CALOTYPE_NULL_BACKEND": "true",
            "CALOTYPE_REVIEW_PROXIES": "[]",
            "MALLOC_ARENA_MAX": "2",
        }
        for stage in STAGES:
            log = (self.folder / f"{stage}.log").open("wb")
            command = [sys.executable, "-m", f"services.{stage}"]
            own = {"CALOTYPE_HTTP_PORT": str(self.ports[stage])}
            self.processes.append(spawn(command, env=environment | own, stdout=log, stderr=log))
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            for stage in STAGES:
                while not await self._ready(client, stage):
                    await asyncio.sleep(0.1)
            await self._prepare(client)
        self.database = await asyncpg.connect(self.database_url)
        self.producer = Producer(self.settings)

    async def _ready(self, client: httpx.AsyncClient, stage: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (await client.get(f"http://127.0.0.1:{self.ports[stage]}/readyz")).is_success
        return False

    async def _prepare(self, client: httpx.AsyncClient) -> None:
        intake = f"http://127.0.0.1:{self.ports['intake']}"
        bootstrap = {"Authorization": f"Bearer {self.token}"}
        asked = {"name": "bench", "undo_seconds": 0}
        made = await client.post(f"{intake}/v1/workspaces", json=asked, headers=bootstrap)
        made.raise_for_status()
        self.workspace = UUID(made.json()["workspace"])
        self.key = made.json()["token"]
        key = {"Authorization": f"Bearer {self.key}"}
        published = await client.post(f"{intake}/v1/library", json={"documents": LIBRARY}, headers=key)
        assert published.is_success, published.text

    def requests(self, number: int) -> list[Record]:
        """CloudEvents as an upstream system sends them, encoded beforehand."""
        body = b'{"campaign":"bench","asset_type":"nothing","variables":{"headline":"Evenings, kept"},"variants":1}'
        made = []
        for _ in range(number):
            event_id = secrets.token_hex(8)
            headers = [
                ("ce_specversion", b"1.0"),
                ("ce_id", event_id.encode()),
                ("ce_source", b"bench"),
                ("ce_type", b"calotype.ImageRequested"),
                ("ce_workspace", str(self.workspace).encode()),
                ("content-type", b"application/json"),
            ]
            made.append(Record(self.settings.topic_prefix + IMAGE_REQUESTS.name, event_id.encode(), headers, body))
        return made

    async def completed(self) -> int:
        return int(await self.database.fetchval("select count(*) from catalog.jobs where rank >= $1", COMPLETED))

    async def run(self, jobs: int) -> None:
        records = self.requests(jobs)
        self.done += jobs
        for start in range(0, jobs, 1000):
            await self.producer.deliver(records[start : start + 1000])
        while await self.completed() < self.done:
            await asyncio.sleep(0.2)  # counting the jobs of all rounds costs Postgres 10 ms

    async def latency(self) -> float:
        """Seconds from one request on an idle system to `completed` in the projection."""
        (record,) = self.requests(1)
        self.done += 1
        event_id = dict(record.headers)["ce_id"].decode()
        job = ids.job_id(ids.request_id_for_kafka(self.workspace, "bench", event_id), 1)
        started = time.perf_counter()
        await self.producer.deliver([record])
        while await self.database.fetchval("select rank from catalog.jobs where job_id = $1", job) != COMPLETED:
            await asyncio.sleep(0.001)
        return time.perf_counter() - started

    async def publish(self, jobs: int) -> float:
        """Seconds from the first request to the last delivery, everything approved in bulk as soon as it is there."""
        records = self.requests(jobs)
        await self._store_pictures(records)
        self.done += jobs
        headers = {"Authorization": f"Bearer {self.key}"}
        catalog = f"http://127.0.0.1:{self.ports['catalog']}"
        delivered_before = await self._delivered()
        began = time.perf_counter()
        await self.producer.deliver(records)
        async with httpx.AsyncClient(timeout=60, trust_env=False, headers=headers, base_url=catalog) as client:
            approved: set[str] = set()
            while len(approved) < jobs:
                page = (await client.get("/v1/assets", params={"status": "completed", "limit": 500})).json()["assets"]
                waiting = [asset for asset in page if not asset["decision"] and asset["job_id"] in self.published_jobs]
                if waiting:
                    verdicts = [_approval(asset) for asset in waiting]
                    answer = await client.post("/v1/decisions", json={"decisions": verdicts})
                    approved |= {one["asset_id"] for one in answer.raise_for_status().json()["decided"]}
                else:
                    await asyncio.sleep(0.02)
        while await self._delivered() - delivered_before < jobs:
            await asyncio.sleep(0.02)
        return time.perf_counter() - began

    async def _store_pictures(self, records: Sequence[Record]) -> None:
        """The null backend stores nothing; what is published has to be there."""
        blobs = FileBlobs(self.folder / "blobs", public_url="http://127.0.0.1", secret="bench")  # noqa: S106  # no secret
        self.published_jobs = set()
        for record in records:
            event_id = dict(record.headers)["ce_id"].decode()
            job = ids.job_id(ids.request_id_for_kafka(self.workspace, "bench", event_id), 1)
            self.published_jobs.add(str(job))
            key = blob_key(self.workspace, ids.asset_id(job, 1), hashlib.sha256(b"").hexdigest(), "png")
            await blobs.put(key, b"", media_type="image/png")

    async def _delivered(self) -> int:
        return int(
            await self.database.fetchval("select count(*) from publisher.publications where state = 'delivered'")
        )

    async def stop(self) -> None:
        await self.producer.stop()
        await self.database.close()
        await end(self.processes)


class RawChain:
    """Six processes, each one hop: what one would write without us."""

    def __init__(self, servers: EmbeddedServers) -> None:
        self.bootstrap = servers.kafka_bootstrap
        self.settings = KafkaSettings(kafka_bootstrap=self.bootstrap, topic_replication=1)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.done = 0

    async def start(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(f"raw-{number}", 4, 1) for number in range(HOPS + 1)])
        await admin.close()
        for number in range(HOPS):
            command = [
                sys.executable,
                "-m",
                "benchmarks.raw_stage",
                self.bootstrap,
                f"raw-{number}",
                f"raw-{number + 1}",
            ]
            self.processes.append(spawn(command))
        self.producer = Producer(self.settings)
        self.consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await self.consumer.start()
        self.partitions = [TopicPartition(f"raw-{HOPS}", number) for number in range(4)]

    async def run(self, jobs: int) -> None:
        event = golden(PromptAssembled)
        records = [
            Record("raw-0", str(ids.derive(self.done + number)).encode(), [], event.body()) for number in range(jobs)
        ]
        self.done += jobs
        for start in range(0, jobs, 1000):
            await self.producer.deliver(records[start : start + 1000])
        while sum((await self.consumer.end_offsets(self.partitions)).values()) < self.done:
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        await self.consumer.stop()
        await self.producer.stop()
        await end(self.processes)


class CeleryChain:
    """Six chained tasks on Redis, two worker processes."""

    def __init__(self, folder: Path) -> None:
        redis = shutil.which("redis-server")
        if redis is None:
            raise SystemExit("The Celery arm needs a Redis server: apt-get install redis-server")
        self.redis = redis
        self.folder = folder
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        os.environ["CALOTYPE_BENCH_REDIS"] = f"redis://127.0.0.1:{self.port}/0"
        command = [self.redis, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.processes.append(spawn(command, stdout=subprocess.DEVNULL))
        worker = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_stage", "worker", "-c", "2", "-l", "ERROR"]
        self.processes.append(spawn(worker, stdout=subprocess.DEVNULL))
        from benchmarks import celery_stage  # noqa: PLC0415  # reads the address of the Redis that has just begun

        self.stage = celery_stage
        self.done = 0

    async def run(self, jobs: int) -> None:
        body = golden(PromptAssembled).body().decode()
        self.done += jobs
        await asyncio.to_thread(lambda: [self.stage.submit(body) for _ in range(jobs)])
        while int(self.stage.counter.get("done") or 0) < self.done:
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        await end(self.processes[::-1])


def _approval(asset: dict[str, Any]) -> dict[str, Any]:
    return {
        "asset_id": asset["asset_id"],
        "asset_version": asset["asset_version"],
        "review_version": asset["review_version"],
        "decision": "approve",
    }


def spawn(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, **options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            await asyncio.to_thread(process.wait, 25)
        except subprocess.TimeoutExpired:
            process.kill()


def cpu() -> dict[str, float]:
    """CPU seconds so far of this process's descendants, by kind: java, postgres, redis, python."""
    found = dict.fromkeys(("python", "postgres", "java", "redis"), 0.0)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            name = next((kind for kind in ("java", "postgres", "redis") if kind in process.name()), "python")
            found[name] += times.user + times.system
    return found


@contextlib.asynccontextmanager
async def started(*arms: Any) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for arm in arms:
            stack.push_async_callback(arm.stop)
            await arm.start()
        yield


async def main(servers: EmbeddedServers) -> None:
    given = arguments(
        __doc__,
        more=[
            ("--jobs", {"type": int, "default": 10_000}),
            ("--celery-jobs", {"type": int, "default": 300}),
            ("--published-jobs", {"type": int, "default": 500}),
        ],
    )
    folder = Path(tempfile.mkdtemp(prefix="calotype-bench-services-"))
    result = Result("pipeline", "six stages, one machine")
    ours, raw, celery = Calotype(servers, folder), RawChain(servers), CeleryChain(folder)

    def timed(arm: Any, jobs: int) -> Any:
        async def once() -> dict[str, float]:
            before, began = cpu(), time.perf_counter()
            await arm.run(jobs)
            seconds, after = time.perf_counter() - began, cpu()
            spent = {kind: after[kind] - before[kind] for kind in after}
            return {
                "jobs_per_second": jobs / seconds,
                "cpu_us_per_job": sum(spent.values()) * 1e6 / jobs,
                **{f"{kind}_us": seconds * 1e6 / jobs for kind, seconds in spent.items()},
            }

        return once

    try:
        async with started(ours, raw, celery):
            arms = {"calotype": timed(ours, given.jobs), "raw_chain": timed(raw, given.jobs)}
            arms["celery"] = timed(celery, given.celery_jobs)
            await interleave(result, arms, rounds=given.rounds)
            say("  unloaded latency, 100 single requests")
            latencies = sorted([await ours.latency() for _ in range(100)])
            say(f"  {given.published_jobs} jobs to published, approved in bulk")
            published = given.published_jobs / await ours.publish(given.published_jobs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = {
        "vs_raw_chain": result.ratio("calotype", "raw_chain", "jobs_per_second"),
        "vs_celery": result.ratio("calotype", "celery", "jobs_per_second"),
    }
    milliseconds = {
        "unloaded_p50_ms": round(statistics.median(latencies) * 1000, 1),
        "unloaded_p95_ms": round(latencies[94] * 1000, 1),
    }
    report(result, ratios, save=given.save, jobs=given.jobs, **milliseconds, published_per_second=round(published, 1))


if __name__ == "__main__":
    run(main)
