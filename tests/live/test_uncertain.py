"""A call that may have been billed: killed, frozen or stopped within, it is charged once, listed, and settled once."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.servers import EmbeddedServers
from services.catalog import app as catalog_app
from services.catalog.settings import CatalogSettings
from services.inference import app as inference_app
from services.inference.settings import InferenceSettings
from services.intake import app as intake_app
from services.intake.handler import Settled, settle
from services.intake.settings import IntakeSettings
from shared import identity, ids
from shared.events import (
    ApiKey,
    Attempt,
    AttemptSettled,
    AttemptState,
    Event,
    ImageGenerated,
    JobFailed,
    LibraryItemChanged,
    PromptAssembled,
    WorkspaceChanged,
)
from shared.events.envelope import event_type
from shared.kafka import create_topics, record_of
from shared.leases import Worker
from shared.outbox import Transaction
from shared.postgres import open_pool, transaction
from shared.service import Service, open_service
from shared.topics import ATTEMPTS_SETTLED, JOBS_ENDED, TOPIC_OF, Topic
from tests.inference.prompts import NOW, WORKSPACE, assembled, routes
from tests.live.stage import PARTITIONS, eventually, new_database, records_of
from tests.servers.provider import Provider

TABLE = routes("openai", model="m", price="0.04", currency="EUR", call={"provider": "acme", "timeout_seconds": 60})
CLASSES = {
    "intake": (IntakeSettings, intake_app.build),
    "inference": (InferenceSettings, inference_app.build),
    "catalog": (CatalogSettings, catalog_app.build),
}


@dataclass(eq=False)
class Scene:
    """A provider that counts, a database and topics; services are opened as a test needs them."""

    provider: Provider
    environment: dict[str, str]
    prefix: str
    bootstrap: str
    operator: identity.NewKey = field(default_factory=identity.new_key)
    reader: identity.NewKey = field(default_factory=identity.new_key)

    @asynccontextmanager
    async def service(self, stage: str, roles: str = "consume,work,http") -> AsyncIterator[Service]:
        settings_class, build = CLASSES[stage]
        opened = await open_service(stage, settings_class(), roles=frozenset(roles.split(",")))
        await build(opened)
        await opened.start()
        try:
            yield opened
        finally:
            await opened.stop()

    async def begin(self, service: Service) -> None:
        """Who may act, and where images are made."""
        keys = [(self.operator, "otto", "operator"), (self.reader, "rita", "reader")]
        people = [ApiKey(key_id=k.key_id, sha256=k.sha256, principal=who, roles=[role]) for k, who, role in keys]
        table: dict[str, Any] = {
            "item": f"{WORKSPACE}/routes/{TABLE.name}", "kind": "routes", "name": TABLE.name, "version": 1,
            "digest": TABLE.pin().digest, "state": "published", "document": TABLE.model_dump(mode="json"),
        }  # fmt: skip
        given: dict[str, Any] = {"cause_id": "1", "occurred_at": NOW, "workspace": WORKSPACE}
        await self.send(
            service,
            WorkspaceChanged.of(**given, name="w", keys=people, revision=1),
            LibraryItemChanged.of(**given, **table),
        )
        await eventually(lambda: service.database.fetchval("select count(*) = 2 from api_keys"))
        await eventually(lambda: service.database.fetchval("select count(*) from library_items"))

    async def send(self, service: Service, *events: Event) -> None:
        assert not await service.producer.deliver([record_of(event, prefix=self.prefix) for event in events])

    async def said(self, kind: type[Event]) -> list[Any]:
        """All events of a kind, once there is one."""

        async def all_of_them() -> list[Event]:
            records = await records_of(self.bootstrap, self.prefix + TOPIC_OF[kind].name)
            wanted = [record for record in records if dict(record.headers)["ce_type"].decode() == event_type(kind)]
            return [kind.model_validate_json(record.value) for record in wanted]

        found: list[Any] = await eventually(all_of_them)
        return found

    async def has_read(self, group: str, topic: Topic) -> bool:
        """Whether the group has committed all that the topic holds."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.prefix + group)
        await consumer.start()
        try:
            partitions = [TopicPartition(self.prefix + topic.name, number) for number in range(PARTITIONS)]
            ends = await consumer.end_offsets(partitions)
            return all([(await consumer.committed(place) or 0) >= end for place, end in ends.items()])
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def terminal(self, service: Service) -> AsyncIterator[Callable[..., Awaitable[str]]]:
        """`calotype uncertain …` of an operator, against the stage's own HTTP side."""
        server = uvicorn.Server(uvicorn.Config(service.app, port=0, log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve())

        async def port() -> int:
            return server.servers[0].sockets[0].getsockname()[1] if server.started else 0

        environment = {
            **os.environ,
            "CALOTYPE_URL": f"http://127.0.0.1:{await eventually(port)}",
            "CALOTYPE_KEY": self.operator.token,
        }

        async def says(*arguments: str, code: int = 0) -> str:
            words = ("-m", "deploy.cli", "uncertain", *arguments)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, env=environment, stdout=PIPE, stderr=STDOUT
            )
            told = (await process.communicate())[0].decode()
            assert process.returncode == code, told
            return told

        try:
            yield says
        finally:
            server.should_exit = True
            await serving

    def client(self, service: Service, key: identity.NewKey) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=service.app)
        headers = {"Authorization": f"Bearer {key.token}"}
        return httpx.AsyncClient(transport=transport, base_url="http://inference", headers=headers)


@pytest.fixture
async def scene(servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    prefix = f"u{uuid4().hex[:8]}."
    with Provider(tmp_path / "ledgers") as provider:
        environment = {
            "DATABASE_URL": await new_database(servers),
            "CALOTYPE_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
            "CALOTYPE_TOPIC_PREFIX": prefix,
            "CALOTYPE_TOPIC_PARTITIONS": str(PARTITIONS),
            "CALOTYPE_TOPIC_REPLICATION": "1",
            "CALOTYPE_BLOBS_URL": (tmp_path / "blobs").as_uri(),
            "CALOTYPE_SESSION_SECRET": "of the live tests, long enough",
            "CALOTYPE_PROOF_CHILDREN": "0",
            "CALOTYPE_LEASE_SECONDS": "1.5",
            "CALOTYPE_PROVIDERS": f'{{"acme": {{"url": "{provider.url}", "key": "sk-test"}}}}',
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        await create_topics(InferenceSettings())
        yield Scene(provider, environment, prefix, servers.kafka_bootstrap)


async def die_after_the_call(scene: Scene) -> None:
    """An inference of its own process that is killed as soon as the provider has answered it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.inference", "--roles", "consume,work"),
        env={**os.environ, **scene.environment, "CALOTYPE_CRASH": "inference.call.after:1"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        assert await process.wait() == -signal.SIGKILL


async def money(service: Service, job: UUID) -> tuple[Any, ...]:
    """What the stage knows about the job's only attempt."""
    row = await service.database.fetchrow("select state, cost::text from attempts where job_id = $1", job)
    return tuple(row) if row else ()


async def spending(intake: Service) -> list[tuple[Any, ...]]:
    rows = await intake.database.fetch("select cost::text, attempts, unpriced, currency from spending")
    return [tuple(row) for row in rows]


async def test_a_worker_killed_after_the_call_leaves_one_charge_that_a_person_settles_once(scene: Scene) -> None:
    event = assembled()
    job, attempt = event.job_id, ids.attempt_id(event.job_id, 1, 1)
    async with scene.service("inference", "consume,http") as front:
        await scene.begin(front)
        await scene.send(front, event)
        await eventually(lambda: front.database.fetchval("select count(*) from work"))
    await die_after_the_call(scene)
    async with (
        scene.service("inference") as inference,
        scene.service("intake", "consume") as intake,
        scene.service("catalog", "consume") as catalog,
    ):
        (failed,) = await scene.said(JobFailed)
        assert (failed.job_id, failed.reason) == (job, "backend_unavailable")
        assert "calotype uncertain list" in failed.remedy
        assert [(a.attempt_id, a.state, a.cost) for a in failed.attempts] == [(attempt, AttemptState.UNCERTAIN, None)]
        assert [charge["attempt_id"] for charge in scene.provider.charges()] == [str(attempt)], "one charge, one call"

        async def all_know() -> bool:
            return {await money(stage, job) for stage in (inference, intake, catalog)} == {("uncertain", None)}

        await eventually(all_know)
        assert await spending(intake) == [("0", 1, 1, "EUR")]

        async with scene.client(inference, scene.reader) as rita:
            assert (await rita.get("/v1/uncertain")).status_code == 403
            wanted = {"attempts": [str(attempt)], "charged": "none"}
            assert (await rita.post("/v1/uncertain/settle", json=wanted)).status_code == 403
        async with scene.client(inference, scene.operator) as otto:
            (listed,) = (await otto.get("/v1/uncertain")).json()["attempts"]
            assert (listed["attempt_id"], listed["backend"], listed["currency"]) == (str(attempt), "local", "EUR")
            assert listed["provider_request_id"].startswith("req_"), "the provider can be asked about it by its own id"
            assert (await otto.get("/v1/uncertain", params={"backend": "other"})).json()["attempts"] == []
            assert (await otto.get("/v1/uncertain", params={"older": 3600})).json()["attempts"] == []
            wanted = {"attempts": [str(attempt)], "charged": "0.05", "note": "invoice 7"}
            first = (await otto.post("/v1/uncertain/settle", json=wanted)).json()
            assert [(each["cost"], each["settled_by"]) for each in first["settled"]] == [("0.05", "otto")]
            again = (await otto.post("/v1/uncertain/settle", json=wanted | {"charged": "none"})).json()
            assert (again["settled"], [each["cost"] for each in again["already"]]) == ([], ["0.05"])
            strange = str(uuid4())
            none = (await otto.post("/v1/uncertain/settle", json=wanted | {"attempts": [strange]})).json()
            assert none == {"settled": [], "already": [], "unknown": [strange]}
            assert (await otto.get("/v1/uncertain")).json()["attempts"] == []
            acts = (await otto.get("/v1/stages/inference/actions")).json()["actions"]
            assert [(act["principal"], act["action"]) for act in acts] == [("otto", "uncertain.settle")]
            assert acts[0]["detail"] == {"attempts": [str(attempt)], "charged": "0.05", "note": "invoice 7"}

        async def all_settled() -> bool:
            return {await money(stage, job) for stage in (inference, intake, catalog)} == {("succeeded", "0.05")}

        await eventually(all_settled)
        (settled,) = await scene.said(AttemptSettled)
        await scene.send(inference, settled, failed)  # told again, and in the other order
        for topic in (ATTEMPTS_SETTLED, JOBS_ENDED):
            await eventually(partial(scene.has_read, "intake-quotas", topic))
        assert await spending(intake) == [("0.05", 1, 0, "EUR")]
        assert len(scene.provider.calls()) == 1


async def test_a_worker_that_was_taken_over_settles_what_it_alone_knows(scene: Scene) -> None:
    scene.provider.script.change({"next": ["slow"], "slow_seconds": 4})
    async with scene.service("inference") as inference:
        await scene.begin(inference)
        event = assembled()
        await scene.send(inference, event)
        await eventually(has_called(scene))
        # As if this process had stood still: the lease names another holder, who died too.
        await inference.database.execute("update work set holder = 'inference@elsewhere', ready_at = clock_timestamp()")
        (failed,) = await scene.said(JobFailed)
        assert [a.state for a in failed.attempts] == [AttemptState.UNCERTAIN]
        (settled,) = await scene.said(AttemptSettled)
        assert (settled.attempt.state, str(settled.attempt.cost)) == (AttemptState.SUCCEEDED, "0.04")
        assert settled.attempt.attempt_id == failed.attempts[0].attempt_id
        assert settled.attempt.provider_request_id
        assert len(scene.provider.calls()) == 1
        assert not await inference.database.fetchval("select count(*) from attempts where state = 'uncertain'")


async def test_a_worker_told_to_end_in_the_middle_of_a_call_says_that_nobody_knows(scene: Scene) -> None:
    scene.provider.script.change({"next": ["charge_then_hang"]})
    async with scene.service("inference") as inference:
        await scene.begin(inference)
        event = assembled()
        await scene.send(inference, event)
        await eventually(has_called(scene))
        (worker,) = [part for part in inference.parts if isinstance(part, Worker)]
        await worker.stop(within=0.2)
        (failed,) = await scene.said(JobFailed)
        assert [a.state for a in failed.attempts] == [AttemptState.UNCERTAIN]
        assert await money(inference, event.job_id) == ("uncertain", None)
        async with scene.terminal(inference) as says:
            listed = json.loads(await says("list", "--backend", "local", "--json"))
            assert [each["job_id"] for each in listed["attempts"]] == [str(event.job_id)]
            assert json.loads(await says("list", "--older", "1h", "--json"))["attempts"] == []
            assert str(event.job_id) in await says("list", "--older", "0s")
            assert "name attempts" in (await says("settle", "--charged", "none", code=1)).lower()
            assert await says("settle", "--backend", "local", "--charged", "none") == "1 settled.\n"
            again = await says("settle", listed["attempts"][0]["attempt_id"], "--charged", "0.04")
            assert "was known before: failed, 0 EUR" in again
        assert await money(inference, event.job_id) == ("failed", "0")


async def test_a_busy_provider_is_asked_again_and_every_attempt_is_booked(scene: Scene) -> None:
    scene.provider.script.change({"next": ["429_retry_after", "500", "ok"], "retry_after": 0.1})
    async with scene.service("inference") as inference:
        await scene.begin(inference)
        event: PromptAssembled = assembled()
        await scene.send(inference, event)
        (made,) = await scene.said(ImageGenerated)
        booked = [(attempt.state, str(attempt.cost)) for attempt in made.attempts]
        assert booked == [("failed", "0"), ("failed", "0"), ("succeeded", "0.04")]
        assert await inference.blobs.get(made.original.key)
        assert len(scene.provider.calls()) == 3 and len(scene.provider.charges()) == 1


def has_called(scene: Scene) -> Any:
    async def called() -> int:
        return len(scene.provider.calls())

    return called


async def test_an_attempt_costs_the_same_in_whatever_order_and_however_often_it_is_told(
    servers: EmbeddedServers,
) -> None:
    orders = ("u s", "s u", "us", "su", "u u s s", "s u s u", "us us", "su u s")  # each word is one batch
    async with await open_pool(await new_database(servers), stage="intake") as pool:
        for number, order in enumerate(orders, start=1):
            whose: dict[str, Any] = {"workspace": UUID(int=number), "request_id": UUID(int=1), "run": 1}
            job = UUID(int=number)
            attempt = Attempt(attempt_id=ids.attempt_id(job, 1, 1), backend="cloud", state=AttemptState.UNCERTAIN)
            known = attempt.model_copy(update={"state": AttemptState.SUCCEEDED, "cost": Decimal("0.05")})
            said = {
                "u": Settled(**whose, job_id=job, ended=True, attempts=[attempt]),
                "s": Settled(**whose, job_id=job, ended=False, attempts=[known]),
            }
            for batch in order.split():
                async with transaction(pool) as connection:
                    await settle(Transaction(connection), [said[letter] for letter in batch])
        rows = await pool.fetch("select cost::text, attempts, unpriced from spending")
        assert [tuple(row) for row in rows] == [("0.05", 1, 0)] * len(orders)
        assert await pool.fetchval("select count(*) from attempts where state = 'succeeded'") == len(orders)
