"""The whole pipeline for a test to break: servers of its own that can be taken away, and six real service processes."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import httpx
import psutil
from aiokafka import AIOKafkaProducer

from deploy.local.data import DataFolder, read_json
from deploy.local.processes import Identity
from deploy.local.servers import EmbeddedServers
from deploy.local.supervisor import STAGES, Supervisor
from shared.postgres import STAGES_WITH_DATABASE
from shared.topics import IMAGE_REQUESTS, TOPICS
from tests.groups import groups
from tests.live.stage import KAFKA_PROPERTIES, PARTITIONS, eventually, new_database, records_of

T = TypeVar("T")

# Pictures of 64 px with two files each: what is tried here is their delivery.
LIBRARY: list[dict[str, Any]] = [
    {"kind": "brand", "name": "salt", "version": 1, "owner": "tests", "title": "Salt"},
    {"kind": "policy", "name": "house", "version": 1, "owner": "tests"},
    {"kind": "rubric", "name": "tiles", "version": 1, "owner": "tests"},
    {
        "kind": "template", "name": "tile", "version": 1, "owner": "tests", "brand": "salt", "policy": "house",
        "variables": {"headline": {"type": "text"}}, "prompt": "A quiet picture for: {{ headline }}",
        "parameters": {"width": 64, "height": 64},
    },
    {
        "kind": "recipe", "name": "web", "version": 1, "owner": "tests", "channel": "web",
        "renditions": [{"name": "32", "width": 32, "height": 32}, {"name": "16", "width": 16, "height": 16}],
    },
    {
        "kind": "campaign", "name": "winter", "version": 1, "owner": "tests", "title": "Winter", "brand": "salt",
        "asset_types": {"tile": {"template": "tile", "recipes": {"web": "web"}, "rubric": "tiles"}},
    },
    {
        "kind": "routes", "name": "default", "version": 1, "owner": "tests",
        "backends": [{"name": "proof", "kind": "proof", "visibility": "private", "price": "0"}],
        "rules": [{"id": "all", "lane": "standard", "backends": ["proof"]}],
    },
    {"kind": "target", "name": "folder", "version": 1, "owner": "tests", "type": "folder", "demo": True},
]  # fmt: skip
LEASES = "select count(*) > 0 from {}.work where holder is not null"
OUTBOX = "select count(*) > 0 from {}.outbox"
FILES_OF_AN_ASSET = 3  # the original and what the recipe makes of it


def ask(headline: str = "Slow evenings", *, variants: int = 1) -> dict[str, Any]:
    """One request for that library."""
    return {
        "campaign": "winter",
        "asset_type": "tile",
        "channels": ["web"],
        "variables": {"headline": headline},
        "variants": variants,
    }


def sheet(name: str, *, rows: int) -> bytes:
    """Requests for that library as a CSV file, of one job each."""
    lines = [f"{name} {number},winter,tile,{name} {number},web" for number in range(rows)]
    return "\n".join(["key,campaign,asset_type,headline,channels", *lines]).encode()


@dataclass(eq=False)
class Pipeline:
    """Everything running, watched from a thread with a loop of its own; tests talk to it as the world does."""

    servers: EmbeddedServers
    database_url: str
    supervisor: Supervisor
    prefix: str
    loop: asyncio.AbstractEventLoop

    @property
    def data(self) -> DataFolder:
        return self.supervisor.data

    def _do(self, work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    # -- servers that go away and come back

    async def take_away(self, name: str) -> None:
        """Stops `kafka` or `postgres`; nobody starts it again until `bring_back`."""
        await self._do(self.servers._keepers.pop(name).stop())

    async def bring_back(self, name: str) -> None:
        server = self.servers.kafka if name == "kafka" else self.servers.postgres
        assert server is not None
        await self._do(self.servers._keep(server))

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Every process of the server stands still: it takes connections and answers nothing."""
        identity = Identity.read(read_json(self.servers.data.run / f"{name}.json"))
        assert identity is not None
        first = psutil.Process(identity.pid)
        processes = [first, *first.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):  # a connection's, whose other end had left
                    process.resume()

    @asynccontextmanager
    async def without(self, name: str) -> AsyncIterator[None]:
        await self.take_away(name)
        try:
            yield
        finally:
            await self.bring_back(name)

    @contextmanager
    def without_store(self) -> Iterator[None]:
        """As if the volume were not mounted."""
        away = self.data.blobs.with_name("blobs-away")
        self.data.blobs.rename(away)
        try:
            yield
        finally:
            away.rename(self.data.blobs)

    # -- service processes

    def log(self, stage: str) -> str:
        return (self.data.logs / f"{stage}.log").read_text()

    async def signal(self, stage: str, number: signal.Signals) -> Identity:
        """Signals the service's process once it is ready; returns which process that was."""
        identity = await self.ready(stage)
        os.kill(identity.pid, number)
        return identity

    async def all_end(self) -> None:
        """Asks every service to end, all at once; each has the twenty seconds that a supervisor gives it."""
        asked = {stage: await self.signal(stage, signal.SIGTERM) for stage in STAGES}
        deadline = time.monotonic() + 20
        while left := [stage for stage, process in asked.items() if process.alive()]:
            assert time.monotonic() < deadline, f"{', '.join(left)} still there after 20 s"
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def killed(self, stage: str) -> AsyncIterator[None]:
        """Kills the service, and waits at the end for the process that takes its place."""
        victim = await self.signal(stage, signal.SIGKILL)
        yield
        await self.ready(stage, instead_of=victim)

    @asynccontextmanager
    async def killed_with(self, query: str, stage: str) -> AsyncIterator[None]:
        """Kills the service while the query says true of it; it stands still for the look, so that it stays so."""
        victim = await self.ready(stage)
        while True:
            await self.until(query.format(stage))
            os.kill(victim.pid, signal.SIGSTOP)
            if await self.count(query.format(stage)):
                break
            os.kill(victim.pid, signal.SIGCONT)
        async with self.killed(stage):
            yield

    async def ready(self, stage: str, *, instead_of: Identity | None = None) -> Identity:
        """The ready process of the stage, another one than `instead_of`."""

        async def found() -> Identity | None:
            record = read_json(self.data.run / f"{stage}.json")
            identity = Identity.read(record)
            if identity is None or identity == instead_of or record["state"] != "ready" or not identity.alive():
                return None
            return identity

        identity: Identity = await eventually(found, within=90)
        return identity

    async def all_ready(self) -> None:
        """Every service says itself that all it depends on is there."""

        async def answers() -> bool:
            async with self.client() as client:
                found = [await client.get(f"/v1/stages/{stage}/readyz") for stage in STAGES]
            return all(answer.status_code == 200 for answer in found)

        await eventually(answers, within=90)

    # -- what the world sees

    @asynccontextmanager
    async def client(self, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = self.supervisor.url
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, headers=headers) as client:
            yield client

    @asynccontextmanager
    async def studio(self) -> AsyncIterator["Studio"]:
        """A workspace with the library, and its admin; every stage has heard of both."""
        async with self.client(self.data.secret("bootstrap_token")) as client:
            asked = {"name": f"studio {uuid4().hex[:8]}", "undo_seconds": 0}
            made = (await client.post("/v1/workspaces", json=asked)).raise_for_status().json()
        async with self.client(made["token"]) as admin:
            published = await admin.post("/v1/library", json={"documents": LIBRARY})
            assert published.is_success, published.text

            async def known() -> bool:
                answers = [await admin.get(path) for path in ("/v1/targets", "/v1/assets")]
                answers.append(await admin.post("/v1/explain-route", json={}))
                return (
                    all(answer.is_success for answer in answers)
                    and bool(answers[0].json()["targets"])
                    and bool(answers[2].json()["routable"])
                )

            await eventually(known, within=60)
            yield Studio(self, admin, UUID(made["workspace"]), made["token"])

    # -- what stands in the database and on the topics

    async def rows(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """As the administrator, who sees every schema and every workspace."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def until(self, query: str, *values: Any) -> None:
        """Looks as often as it can until the query says true: some of this lasts a few milliseconds."""
        connection = await asyncpg.connect(self.database_url)
        try:
            async with asyncio.timeout(60):
                while not await connection.fetchval(query, *values):
                    await asyncio.sleep(0.002)
        finally:
            await connection.close()

    async def count(self, query: str, *values: Any) -> int:
        (row,) = await self.rows(query, *values)
        return int(row[0])

    async def unsent(self) -> int:
        """Facts that were committed and that Kafka has not acknowledged, or whose row nobody has deleted yet."""
        return sum([await self.count(f"select count(*) from {stage}.outbox") for stage in STAGES_WITH_DATABASE])

    async def records(self, topics: Sequence[str]) -> list[Any]:
        """Every record of these topics, from their beginnings to their ends of now."""
        return await records_of(self.servers.kafka_bootstrap, *(self.prefix + topic for topic in topics))

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.servers.kafka_bootstrap)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def dead(self) -> int:
        """How many records were ever dead-lettered here."""
        return len(await self.records([topic.dead_letters for topic in TOPICS]))

    async def lag(self) -> int:
        """Records that some group has not finished."""
        every = await groups(self.servers.kafka_bootstrap, self.prefix)
        return sum(group.behind or 0 for group in every.values())


@dataclass(eq=False)
class Studio:
    """One workspace and what its people do; who is answered 503 or not at all asks again, as everybody would."""

    pipeline: Pipeline
    admin: httpx.AsyncClient
    workspace: UUID
    token: str
    refused: int = 0  # how often somebody was told to come again

    async def call(self, method: str, path: str, **how: Any) -> Any:
        """The answer's JSON; asks again while the service is away."""

        async def answered() -> tuple[Any] | None:
            try:
                answer = await self.admin.request(method, path, **how)
            except httpx.TransportError:
                answer = None
            if answer is None or answer.status_code == 503:
                self.refused += 1
                if answer is not None:
                    assert_says_when_to_come_again(answer)
                return None
            assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
            return (answer.json(),)

        (found,) = await eventually(answered, within=90)
        return found

    async def submit(self, key: str, *, variants: int = 1) -> dict[str, Any]:
        headers = {"Idempotency-Key": key}
        return dict(await self.call("POST", "/v1/requests", json=ask(key, variants=variants), headers=headers))

    async def submit_all(self, keys: Sequence[str], *, variants: int = 1) -> dict[str, dict[str, Any]]:
        """A few at a time; key → what was answered."""
        places = asyncio.Semaphore(4)

        async def one(key: str) -> dict[str, Any]:
            async with places:
                return await self.submit(key, variants=variants)

        return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))

    async def every(self, path: str, name: str, **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = filters | {"limit": 200} | ({"cursor": cursor} if cursor else {})
            page = await self.call("GET", path, params=query)
            found += page[name]
            cursor = page["next"]
            if cursor is None:
                return found

    async def statuses(self) -> dict[str, int]:
        groups = (await self.call("GET", "/v1/jobs", params={"group": "status"}))["groups"]
        return {group["key"]: group["jobs"] for group in groups}

    async def approve(self, count: int | None = None) -> None:
        """Approves so many, all at once, as soon as so many wait for it; without a number whatever waits now."""
        waiting: list[dict[str, Any]] = []

        async def enough() -> bool:
            completed = await self.every("/v1/assets", "assets", status="completed")
            waiting[:] = [asset for asset in completed if asset["decision"] is None][:count]
            return len(waiting) >= (count or 0)

        await eventually(enough, within=90)
        verdicts = [
            {
                "asset_id": asset["asset_id"],
                "asset_version": asset["asset_version"],
                "review_version": asset["review_version"],
                "decision": "approve",
            }
            for asset in waiting
        ]
        if verdicts:
            answer = await self.call("POST", "/v1/decisions", json={"decisions": verdicts})
            assert answer["refused"] == []

    async def delivered(self) -> list[dict[str, Any]]:
        return [p for p in await self.every("/v1/publications", "publications") if p["state"] == "delivered"]

    async def finish(self, jobs: int, *, within: float = 120) -> list[dict[str, Any]]:
        """Approves until so many are published, and nothing of them is still under way anywhere."""
        deadline = time.monotonic() + within
        while len(published := await self.delivered()) < jobs:
            await self.approve()
            left = f"{len(published)} of {jobs} are published: {await self.statuses()}"
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.2)

        async def still() -> bool:
            return await self.pipeline.unsent() == 0 and await self.pipeline.lag() == 0

        await eventually(still, within=60)
        return published

    async def send_file(self, name: str, *, rows: int) -> None:
        """A batch of so many jobs."""
        headers, content = {"Content-Type": "text/csv"}, sheet(name, rows=rows)
        await self.call("POST", "/v1/batches", params={"name": name}, content=content, headers=headers)

    async def order(self, name: str, *, requests: int, variants: int = 1) -> None:
        """As an upstream system on Kafka."""
        headers = [("ce_specversion", b"1.0"), ("ce_type", b"calotype.ImageRequested"), ("ce_source", b"/shop")]
        headers += [("ce_workspace", str(self.workspace).encode()), ("content-type", b"application/json")]
        async with self.pipeline.producer() as producer:
            for number in range(requests):
                key = f"{name} {number}".encode()
                body = json.dumps(ask(key.decode(), variants=variants)).encode()
                topic = self.pipeline.prefix + IMAGE_REQUESTS.name
                await producer.send_and_wait(topic, body, key=key, headers=[*headers, ("ce_id", key)])

    @property
    def folder(self) -> Path:
        return self.pipeline.data.published / str(self.workspace)


def assert_says_when_to_come_again(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    told = answer.json()
    assert (told["type"], told["status"]) == ("urn:calotype:problem:unavailable", 503)
    assert told["detail"] and told["remedy"]


@contextmanager
def pipeline(shared: EmbeddedServers | None = None, **environment: str) -> Iterator[Pipeline]:
    """Everything running on a folder that is removed afterwards; `shared` servers are for those who never stop them."""
    folder = Path(tempfile.mkdtemp(prefix="calotype-pipeline-"))
    folder.chmod(0o755)  # the servers run as nobody, whose way leads through it
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="pipeline")
    thread.start()

    def do(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    servers = shared or EmbeddedServers(folder / "servers", kafka_properties=KAFKA_PROPERTIES)
    try:
        if shared is None:
            do(servers.start())
        database_url = servers.admin_database_url if shared is None else do(new_database(servers))
        prefix = f"t{uuid4().hex[:8]}."
        given = {
            "CALOTYPE_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
            "CALOTYPE_TOPIC_PREFIX": prefix,
            "CALOTYPE_TOPIC_PARTITIONS": str(PARTITIONS),
            "CALOTYPE_TOPIC_REPLICATION": "1",
            "DATABASE_URL": database_url,
            # What a killed process held is taken over soon, its work and its partitions.
            "CALOTYPE_LEASE_SECONDS": "5",
            "CALOTYPE_SESSION_SECONDS": "4",
        }
        data = DataFolder(folder / "data")
        data.prepare()
        supervisor = Supervisor(data.root, environment={**os.environ, **given, **environment}, port=data.port("public"))
        do(supervisor.start())
        try:
            yield Pipeline(servers, database_url, supervisor, prefix, loop)
        finally:
            do(supervisor.stop())
    finally:
        if shared is None:
            do(servers.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        shutil.rmtree(folder)
