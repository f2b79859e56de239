"""The world that is broken: real servers behind links that can fail, scripted ones that count, and the six services."""

import asyncio
import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.local.data import DataFolder
from deploy.local.ports import takes_connections
from deploy.local.processes import Child, Program, last_lines
from deploy.local.servers import EmbeddedServers
from deploy.local.supervisor import STAGES, prepare_servers
from shared.postgres import STAGES_WITH_DATABASE
from tests.faults.arms import Arms, met
from tests.faults.disks import Disk
from tests.faults.link import Link
from tests.faults.members import READY_WITHIN, Member, eventually
from tests.faults.nursery import Nursery, own_environment
from tests.faults.providers import PROVIDERS, inference_environment
from tests.faults.scale import Scale
from tests.faults.store_link import StoreLink
from tests.servers import bedrock
from tests.servers.otlp import Span, otlp_receiver
from tests.servers.receiver import NEW_SECRET, OLD_SECRET, PUBLISHER_ENVIRONMENT
from tests.servers.s3proxy import S3Proxy

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 4
BUCKET = "images"
RECEIVER = "receiver"
# Scripted servers, and the ledger that has a line for each call.
ASKED = {**{name: f"{name}/calls.jsonl" for name in PROVIDERS}, RECEIVER: "deliveries.jsonl"}
# A text that stands in every prompt and in no public topic, log, span or dead letter.
PROMPTS_CANARY = "canary-of-the-prompts"
SECRETS_CANARY = "a-secret-of-the-faults-world"
# Kafka takes connections on a second listener, that says the link's port where clients ask it for its address.
KAFKA_PROPERTIES = {
    "listeners": "PLAINTEXT://127.0.0.1:{{port}},BEHIND://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{{controller_port}}",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:{{port}},BEHIND://127.0.0.1:{link}",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "group.min.session.timeout.ms": "1000",
}


class World:
    """Opened by `open_world`; the faults act on its parts."""

    def __init__(
        self, root: Path, out: Path, *, seed: int, scale: Scale, requests: int, environment: Mapping[str, str]
    ) -> None:
        self.root = root
        self.out = out
        self.seed = seed
        self.scale = scale
        self.bugs = root / "bugs"
        self.logs = out / "logs"
        self.ledgers = out / "ledgers"
        self.prefix = f"f{secrets.token_hex(3)}."
        self.given = dict(environment)
        self.mutant = environment.get("CALOTYPE_MUTANT", "")
        data = DataFolder(root / "servers")
        data.prepare()
        behind, link = data.port("kafka_behind"), data.port("kafka_link")
        properties = {name: value.format(behind=behind, link=link) for name, value in KAFKA_PROPERTIES.items()}
        self.servers = EmbeddedServers(data.root, kafka_properties=properties)
        self.bootstrap_token = data.secret("bootstrap_token")
        self.kafka_link = Link("kafka", upstream=behind, port=link)
        self.postgres_link = Link("postgres", upstream=data.port("postgres"), port=data.port("postgres_link"))
        self.store = S3Proxy(root / "store", data.port("store"), secret_key=SECRETS_CANARY, skew_seconds=2 * 3600)
        self.store_link = StoreLink(upstream=self.store.port, port=data.port("store_link"), seed=seed)
        room = 256 + requests // 8  # megabytes: a request's events, rows and files, and the same again
        self.disks = {
            "kafka": Disk("kafka", data.root / "kafka", megabytes=2 * room),
            "postgres": Disk("postgres", data.root / "postgres", megabytes=1024 + room),
            "store": Disk("store", root / "store" / "buckets", megabytes=room),
            "published": Disk("published", data.published, megabytes=room),
        }
        self.members: dict[str, Member] = {}
        self.left: list[Member] = []  # second processes that are gone
        self.scripted: dict[str, Child] = {}
        self.scripted_urls: dict[str, str] = {}
        # Whole: what a script does not name stays as the fault before left it.
        self.usual_scripts: dict[str, dict[str, Any]] = {
            **{name: dict(each.usual) for name, each in PROVIDERS.items()},
            RECEIVER: {"weights": {"ok": 1}, "down": False},
        }
        self.arming = True
        self.violations: list[str] = []  # what the harness itself saw go wrong
        self.stop_seconds: list[float] = []
        self.arms = Arms(seed)
        self._traces = ""
        self._nursery = Nursery(own_environment())
        self._rooms: dict[str, asyncio.Lock] = {}
        self._open = contextlib.AsyncExitStack()
        self._services = contextlib.ExitStack()  # what is open as long as the services are

    # -- addresses

    @property
    def kafka(self) -> str:
        """Past the link."""
        return self.servers.kafka_bootstrap

    @property
    def database_url(self) -> str:
        """Past the link, as the administrator."""
        return self.servers.admin_database_url

    @property
    def world_file(self) -> Path:
        return self.out / "world.json"

    def url(self, stage: str) -> str:
        return f"http://127.0.0.1:{self.servers.data.port(stage)}"

    @asynccontextmanager
    async def alone_in(self, *rooms: str) -> AsyncIterator[None]:
        """Waits until what it strikes is whole again; in one order for all, so that nobody waits in a ring."""
        async with contextlib.AsyncExitStack() as held:
            for room in sorted(rooms):
                await held.enter_async_context(self._rooms.setdefault(room, asyncio.Lock()))
            yield

    # -- life

    async def open(self) -> None:
        """Returns when every service is ready."""
        await self.open_servers()
        await self.open_services()
        await self.all_ready()

    async def open_servers(self) -> None:
        await asyncio.gather(*(disk.mount() for disk in self.disks.values()))
        (self.root / "store").mkdir(exist_ok=True)
        self.store.bucket(BUCKET)
        for link in (self.kafka_link, self.postgres_link, self.store_link):
            await link.start()
            self._open.push_async_callback(link.stop)
        self._open.push_async_callback(self.servers.stop)
        self._open.callback(self.store.stop)
        await self._nursery.start()
        self._open.push_async_callback(self._nursery.stop)
        await asyncio.gather(self.servers.start(), asyncio.to_thread(self.store.start))
        self._open.push_async_callback(self.close_services)

    async def open_services(self) -> None:
        """The six services and whom they call, on a prepared database; they are started and may not be ready yet."""
        for folder in (self.logs, self.ledgers, self.bugs):
            folder.mkdir(parents=True, exist_ok=True)
        self._services.enter_context(self._spans_received())
        await asyncio.gather(*(self._start_scripted(name) for name in ASKED))
        await prepare_servers(self._for_preparation(), passwords=self._passwords())
        for stage in STAGES:
            self.members[stage] = self._member(stage, stage)
            self.members[stage].keep()
        self._write_world_file()

    async def close_services(self) -> None:
        members, self.members = list(self.members.values()), {}
        await asyncio.gather(*(member.close() for member in members))
        scripted, self.scripted = list(self.scripted.values()), {}
        await asyncio.gather(*(child.stop() for child in scripted))
        self._services.close()

    def begin_anew(self, out: Path, *, environment: Mapping[str, str], arms: Arms) -> None:
        """What is opened next has topics, ledgers and logs of its own."""
        self.out, self.logs, self.ledgers = out, out / "logs", out / "ledgers"
        self.prefix = f"f{secrets.token_hex(3)}."
        self.given, self.mutant = dict(environment), environment.get("CALOTYPE_MUTANT", "")
        self.arming, self.arms = True, arms
        self.violations, self.stop_seconds = [], []

    async def close(self) -> None:
        """Ends every process and unmounts every disk."""
        try:
            await self._open.aclose()
        finally:
            await asyncio.gather(*(disk.unmount() for disk in self.disks.values() if disk.mounted))

    async def all_ready(self, *, within: float = READY_WITHIN) -> None:
        await asyncio.gather(*(member.ready(within=within) for member in self.members.values()))

    @contextlib.contextmanager
    def _spans_received(self) -> Iterator[None]:
        """Every span that a service sends is a line of spans.jsonl."""
        with (self.ledgers / "spans.jsonl").open("a") as ledger:

            def note(span: Span) -> None:
                ledger.write(json.dumps(dataclasses.asdict(span)) + "\n")
                ledger.flush()

            with otlp_receiver(note) as receiver:
                self._traces = receiver.endpoint
                yield

    async def _start_scripted(self, name: str) -> None:
        port = self.servers.data.port(name)
        module = PROVIDERS[name].module if name in PROVIDERS else "tests.servers.receiver"
        ledgers = self.ledgers / name if name in PROVIDERS else self.ledgers
        argv = [sys.executable, "-m", module, "--port", str(port), "--ledgers", str(ledgers)]
        program = Program(
            name=name,
            argv=[*argv, "--seed", str(self.seed)],
            folder=self.root,
            log=self.logs / f"{name}.log",
            environment={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.scripted[name] = await Child.start(program)
        self.scripted_urls[name] = f"http://127.0.0.1:{port}"
        if not await eventually(lambda: takes_connections(port), within=30):
            raise RuntimeError(f"the scripted {name} does not start: {last_lines(program.log)}")
        await self.script(name, self.usual_scripts[name])

    # -- members

    def _member(self, name: str, stage: str) -> Member:
        return Member(
            name,
            stage=stage,
            url=self.url(name),
            log=self.logs / f"{name}.log",
            folder=self.root,
            nursery=self._nursery,
            environment=self._environment,
        )

    async def join(self, stage: str) -> Member:
        """A second process of the stage."""
        member = self._member(f"{stage}-2", stage)
        self.members[member.name] = member
        member.keep()
        return member

    async def leave(self, member: Member) -> None:
        """It goes, in an orderly way."""
        self.members.pop(member.name, None)
        await self.ends_when_asked(member, for_good=True)
        await member.close()
        self.left.append(member)

    def _environment(self, member: Member) -> dict[str, str]:
        stage = member.stage
        own = own_environment() | {
            "CALOTYPE_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.kafka_link.port}",
            "CALOTYPE_TOPIC_PREFIX": self.prefix,
            "CALOTYPE_TOPIC_PARTITIONS": str(PARTITIONS),
            "CALOTYPE_TOPIC_REPLICATION": "1",
            "CALOTYPE_BLOBS_URL": f"s3://{BUCKET}",
            "CALOTYPE_S3_ENDPOINT": self.store_link.endpoint,
            "AWS_ACCESS_KEY_ID": self.store.access_key,
            "AWS_SECRET_ACCESS_KEY": self.store.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CALOTYPE_PUBLIC_URL": self.url("catalog"),
            "CALOTYPE_HTTP_PORT": member.url.rpartition(":")[2],
            "CALOTYPE_SESSION_SECRET": SECRETS_CANARY,
            "CALOTYPE_BOOTSTRAP_TOKEN": self.bootstrap_token,
            "CALOTYPE_PUBLISH_FOLDER": str(self.servers.data.published),
            "CALOTYPE_PUBLISH_RETRY_SECONDS": str(self.scale.seconds(1)),
            # A minute and not five: what an outage put off comes again while there is still something to break.
            "CALOTYPE_PUBLISH_RETRY_CEILING_SECONDS": str(self.scale.seconds(60)),
            **PUBLISHER_ENVIRONMENT,
            **inference_environment(self.scripted_urls, key=SECRETS_CANARY),
            "CALOTYPE_TRACE_SAMPLE": "0.02",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._traces,
            "CALOTYPE_LEASE_SECONDS": str(self.scale.lease),
            "CALOTYPE_SESSION_SECONDS": str(self.scale.session),
            "CALOTYPE_REVIEW_PROXIES": "[]",
            # A comp of 64 px waits for tables and files longer than it is drawn: three at a time keep them apart.
            "CALOTYPE_PROOF_CHILDREN": "3",
            "CALOTYPE_CHILDREN": "2",
            "CALOTYPE_CRASH_LOG": str(self.crash_log),
            "CALOTYPE_BUGS": str(self.bugs),
            "MALLOC_ARENA_MAX": "2",
        }
        if self.arming:
            ends = met(self.crashes(), stage)
            own["CALOTYPE_CRASH"] = self.arms.next(member.name, stage=stage, start=member.starts, met=ends)
        if stage in STAGES_WITH_DATABASE:
            user, password = f"calotype_{stage}", self._passwords()[stage]
            assert self.servers.postgres is not None
            direct = self.servers.postgres.url(user=user, password=password)
            own["DATABASE_URL"] = direct.replace(f":{self.servers.postgres.port}/", f":{self.postgres_link.port}/")
        return own | self.given

    def crashes(self) -> list[tuple[float, str, str]]:
        """When, in which stage, at which point."""
        if not self.crash_log.exists():
            return []
        lines = [line.split("\t") for line in self.crash_log.read_text().splitlines()]
        return [(float(at), stage, point) for at, stage, point in lines]

    def kills(self) -> list[tuple[float, str]]:
        """When which stage was ended without being asked."""
        every = [*self.members.values(), *self.left]
        return [(at, member.stage) for member in every for at, status in member.ends if status == -signal.SIGKILL]

    @property
    def crash_log(self) -> Path:
        return self.ledgers / "crashes.tsv"

    def _passwords(self) -> dict[str, str]:
        return {stage: self.servers.data.secret(f"postgres_password_{stage}") for stage in STAGES_WITH_DATABASE}

    def _for_preparation(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "CALOTYPE_KAFKA_BOOTSTRAP": self.kafka,
            "CALOTYPE_TOPIC_PREFIX": self.prefix,
            "CALOTYPE_TOPIC_PARTITIONS": str(PARTITIONS),
            "CALOTYPE_TOPIC_REPLICATION": "1",
        }

    def _write_world_file(self) -> None:
        document = {
            "database_url": self.database_url,
            "kafka": self.kafka,
            "prefix": self.prefix,
            "partitions": PARTITIONS,
            "blobs": {
                "endpoint": self.store.endpoint,
                "bucket": BUCKET,
                "access_key": self.store.access_key,
                "secret_key": self.store.secret_key,
                # Where the store keeps its files: ten times quicker to read through than asking for each.
                "folder": str(self.root / "store" / "buckets" / BUCKET),
            },
            "published": str(self.servers.data.published),
            "logs": str(self.logs),
            "server_logs": str(self.servers.data.logs),
            "ledgers": str(self.ledgers),
            "secrets": [
                *(SECRETS_CANARY, self.bootstrap_token, NEW_SECRET, OLD_SECRET, bedrock.SECRET),
                *self._passwords().values(),
            ],
            "prompts_canary": PROMPTS_CANARY,
            "services": {stage: self.url(stage) for stage in STAGES},
            "bootstrap_token": self.bootstrap_token,
            "providers": {name: each.visibility for name, each in PROVIDERS.items()},
            RECEIVER: self.scripted_urls[RECEIVER],
        }
        self.world_file.write_text(json.dumps(document, indent=1))

    async def ends_when_asked(self, member: Member, *, for_good: bool = False) -> None:
        """SIGTERM; a service that has to be killed after twenty seconds broke its promise."""
        seconds = await (member.rest() if for_good else member.terminate())
        if seconds is None:
            self.violations.append(f"{member.name} did not end within 20 s of SIGTERM")
        else:
            self.stop_seconds.append(seconds)

    async def restarted_with(self, member: Member, why: str, extra: Mapping[str, str]) -> None:
        """It ends in an orderly way and starts with something more in its environment, until told otherwise."""
        member.extra[why] = dict(extra)
        await self.ends_when_asked(member)
        await member.ready()

    # -- scripted servers

    async def script(self, server: str, wanted: Any) -> None:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            answer = await client.put(f"{self.scripted_urls[server]}/script", json=wanted)
            answer.raise_for_status()

    def answers(self, server: str) -> bytes:
        """Its ledger so far, a line for each call."""
        ledger = self.ledgers / ASKED[server]
        return ledger.read_bytes() if ledger.exists() else b""

    def has_struck(self, server: str, *, since: int) -> bool:
        """Whether it answered a call otherwise than usual in what its ledger has from that byte on."""
        usual = {*self.usual_scripts[server].get("weights", {}), "ok"}
        return any(json.loads(line)["choice"] not in usual for line in self.answers(server)[since:].splitlines())

    # -- servers

    async def answers_again(self, name: str, *, within: float = 30) -> None:
        """A server that ended over something that has passed is kept, and so is back soon; else it is started."""
        server = self.servers.kafka if name == "kafka" else self.servers.postgres
        assert server is not None

        async def ready() -> bool:
            keeper = self.servers._keepers.get(name)
            child = keeper._child if keeper is not None else None
            return child is not None and child.running and await server.ready(child.identity.pid)

        keeper = self.servers._keepers[name]
        # One that pauses longer and longer between starts would not know that there is room again.
        if keeper.state == "restarting" or not await eventually(ready, within=within):
            await self.take_away(name, signal.SIGKILL)
            await self.bring_back(name)

    async def take_away(self, name: str, number: signal.Signals) -> None:
        """Ends `kafka` or `postgres` by a signal; nobody starts it again until `bring_back`."""
        keeper = self.servers._keepers.pop(name)
        child = keeper._child
        keeper._stopping.set()
        if child is not None:
            child.signal(number)
            try:
                await asyncio.wait_for(child.wait(), 20)
            except TimeoutError:
                child.signal(signal.SIGKILL)
        await keeper.stop()

    async def bring_back(self, name: str) -> None:
        server = self.servers.kafka if name == "kafka" else self.servers.postgres
        assert server is not None
        await self.servers._keep(server)


@asynccontextmanager
async def open_world(out: Path, *, seed: int, scale: Scale, requests: int, **environment: str) -> AsyncIterator[World]:
    """A world that is gone without a trace afterwards, but for what stands in `out`."""
    async with built(out, seed=seed, scale=scale, requests=requests, environment=environment) as world:
        await world.open()
        yield world


@asynccontextmanager
async def built(
    out: Path, *, seed: int, scale: Scale, requests: int, environment: Mapping[str, str]
) -> AsyncIterator[World]:
    """A world of which nothing is open yet."""
    root = Path(tempfile.mkdtemp(prefix="calotype-faults-"))
    root.chmod(0o755)  # the servers run as nobody, whose way leads through it
    world = World(root, out, seed=seed, scale=scale, requests=requests, environment=environment)
    try:
        yield world
    finally:
        try:
            await world.close()
        finally:
            shutil.rmtree(root, ignore_errors=True)
