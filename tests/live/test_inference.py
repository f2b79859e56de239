"""Stage 3 on a real Kafka, a real Postgres, a real store and a real (small, random) diffusion model."""

import asyncio
import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from PIL import Image

from deploy.local.servers import EmbeddedServers
from services.inference.app import STAGE, build
from services.inference.backends import Backend, BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.settings import InferenceSettings
from shared import identity, ids
from shared.events import (
    BY_TYPE,
    ApiKey,
    CancelRequested,
    Confidentiality,
    Event,
    FailureReason,
    ImageGenerated,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobRetried,
    Priority,
    PromptAssembled,
    SourceRole,
    SourceUse,
    WorkspaceChanged,
)
from shared.kafka import record_of
from shared.library.documents import Routes
from shared.service import Service
from shared.topics import IMAGES_GENERATED, JOBS_ENDED, JOBS_PROGRESSED
from tests.inference.prompts import NOW, WORKSPACE, assembled, routes
from tests.inference.tiny import tiny_model
from tests.live.items import published
from tests.live.serving import serving
from tests.live.stage import new_database
from tests.servers.provider import Provider, png

HEARD = (IMAGES_GENERATED, JOBS_ENDED, JOBS_PROGRESSED)
KEY = identity.new_key()
SLOTS = 2  # of the scripted backend
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ffff3f0005fe02fea7359081"
    "0000000049454e44ae426082"
)


class Scripted:
    """A backend that does what a test tells it: a fake that obeys the Protocol."""

    name = "scripted"

    def __init__(self) -> None:
        self.calls: list[Generation] = []
        self.failures: dict[UUID, list[BackendFailure]] = {}
        self.held: set[UUID] = set()
        self.begun = asyncio.Event()
        self.before_return: Callable[[], Awaitable[None]] | None = None

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        self.calls.append(work)
        self.begun.set()
        if self.failures.get(work.job_id):
            raise self.failures[work.job_id].pop(0)
        while work.job_id in self.held:
            if cancelled():
                raise GenerationCancelled
            progress(1, 2)
            await asyncio.sleep(0.02)
        if self.before_return is not None:
            await self.before_return()
        return Generated(image=PNG, width=1, height=1, manifest={"backend": "scripted"})

    async def close(self) -> None:
        pass

    async def is_busy(self) -> bool:
        return len(self.calls) >= SLOTS


class Stage:
    """A running inference, and what it says."""

    def __init__(self, service: Service, heard: AIOKafkaConsumer) -> None:
        self.service = service
        self.progress: list[JobProgressed] = []
        self._heard = heard

    async def send(self, *events: Event) -> None:
        prefix = self.service.settings.topic_prefix
        assert not await self.service.producer.deliver([record_of(event, prefix=prefix) for event in events])

    async def publish(self, table: Routes, *, workspace: UUID = WORKSPACE) -> None:
        await self.send(published(table, workspace=workspace, at=NOW))
        known = "select count(*) from library_items where workspace = $1 and version = $2"
        await self.until(lambda: self.value(known, workspace, table.version))

    async def outcomes(self, count: int) -> dict[UUID, Any]:
        """The ends of so many jobs, by job; progress on the way is kept."""
        found: dict[UUID, Any] = {}
        while len(found) < count:
            record = await asyncio.wait_for(self._heard.getone(), 60)
            event: Any = BY_TYPE[dict(record.headers)["ce_type"].decode()].model_validate_json(record.value)
            if isinstance(event, JobProgressed):
                self.progress.append(event)
                continue
            if isinstance(event, JobRetried):
                continue
            assert event.job_id not in found, "a job ended twice"
            found[event.job_id] = event
        return found

    async def value(self, query: str, *arguments: Any) -> Any:
        return await self.service.database.fetchval(query, *arguments)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(30):
            while not await condition():
                await asyncio.sleep(0.02)

    async def quiet(self) -> bool:
        """Nothing is left to do or to send."""
        work = await self.value("select count(*) from work where ready_at is not null")
        return bool(work == 0 and await self.value("select count(*) from outbox") == 0)


def settings_for(servers: EmbeddedServers, url: str, folder: Path, **settings: Any) -> InferenceSettings:
    return InferenceSettings(
        **{
            "DATABASE_URL": url,
            "kafka_bootstrap": servers.kafka_bootstrap,
            "topic_prefix": f"{url.rpartition('/')[2]}.",
            "topic_partitions": 2,
            "topic_replication": 1,
            "blobs_url": f"file://{folder}/blobs",
            "session_secret": "s" * 32,
            "proof_children": 0,
            **settings,
        }
    )


@asynccontextmanager
async def running(
    servers: EmbeddedServers,
    folder: Path,
    *,
    backends: Mapping[str, Backend] | None = None,
    table: Routes | None = None,
    roles: frozenset[str] = frozenset({"consume", "work"}),
    **settings: Any,
) -> AsyncIterator[Stage]:
    told = settings_for(servers, await new_database(servers), folder, **settings)
    built, topics = partial(build, backends=backends), [topic.name for topic in HEARD]
    async with serving(STAGE, told, built, roles=roles, topics=topics) as (service, heard):
        stage = Stage(service, heard)
        if table is not None:
            await stage.publish(table)
        yield stage


@asynccontextmanager
async def scripted(servers: EmbeddedServers, folder: Path, **settings: Any) -> AsyncIterator[tuple[Stage, Scripted]]:
    backend = Scripted()
    settings = {"proof_children": SLOTS} | settings
    async with running(servers, folder, backends={"proof": backend}, table=routes("proof"), **settings) as stage:
        yield stage, backend


async def occupy(stage: Stage, backend: Scripted) -> list[PromptAssembled]:
    """Jobs of one request that go on until they are let go or cancelled: all the worker has room for."""
    request = uuid4()
    events = [assembled(request=request, variant=number + 1) for number in range(SLOTS)]
    backend.held |= {event.job_id for event in events}
    await stage.send(*events)
    await stage.until(backend.is_busy)
    return events


def cancel(event: PromptAssembled, *, job: bool = False) -> CancelRequested:
    return CancelRequested.of(
        cause_id=uuid4(),
        occurred_at=NOW,
        workspace=WORKSPACE,
        request_id=event.request_id,
        job_id=event.job_id if job else None,
        by="mara",
    )


async def test_a_prompt_becomes_a_stored_image_with_its_manifest_and_its_cost(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(
        servers, tmp_path, backends={"proof": Scripted()}, table=routes("proof", price="0.04", currency="EUR")
    ) as stage:
        event = assembled()
        await stage.send(event, event)
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, ImageGenerated)
        assert await stage.service.blobs.get(fact.original.key) == PNG
        stored = await stage.service.blobs.get(fact.manifest.key)
        assert hashlib.sha256(stored).hexdigest() == fact.manifest.sha256
        manifest = json.loads(stored)
        assert manifest["prompt"] == event.prompt
        assert manifest["seed"] == fact.seed == 7
        assert manifest["output"]["sha256"] == fact.original.sha256
        assert manifest["made_by"] == {"backend": "scripted"}
        (attempt,) = fact.attempts
        assert (str(attempt.cost), attempt.currency, attempt.state) == ("0.04", "EUR", "succeeded")
        assert attempt.attempt_id == ids.attempt_id(event.job_id, 1, 1)
        assert fact.route.reason.startswith("public work of normal priority → private backend local")
        await stage.until(stage.quiet)
        rows = await stage.service.database.fetch(
            "select state, cost::text, ended_at is not null as over from attempts"
        )
        assert [tuple(row) for row in rows] == [("succeeded", "0.04", True)], "the same event twice is one attempt"


async def test_a_thousand_jobs_of_the_null_backend_end_once_each(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with running(servers, tmp_path, null_backend=True, table=routes("null")) as stage:
        events = [assembled() for _ in range(1000)]
        await stage.send(*events)
        ends = await stage.outcomes(1000)
        assert set(ends) == {event.job_id for event in events}
        assert all(isinstance(end, ImageGenerated) for end in ends.values())
        assert {str(end.attempts[0].cost) for end in ends.values()} == {"0"}
        await stage.until(stage.quiet)
        assert await stage.value("select count(*) from attempts where state = 'succeeded'") == 1000


async def test_a_job_nobody_may_make_fails_at_once_and_names_what_is_missing(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(servers, tmp_path, null_backend=True, table=routes("null", visibility="cloud")) as stage:
        secret, public = assembled(confidentiality=Confidentiality.CONFIDENTIAL), assembled()
        await stage.send(secret, public)
        ends = await stage.outcomes(2)
        assert isinstance(ends[public.job_id], ImageGenerated)
        failed = ends[secret.job_id]
        assert isinstance(failed, JobFailed)
        assert failed.reason is FailureReason.UNROUTABLE
        assert "confidential work never leaves private backends" in failed.detail
        assert failed.remedy == "give rule 'confidential' a backend that may take confidential work of normal priority"
        assert failed.attempts == []


async def test_a_job_that_is_faster_than_its_workspace_s_first_table_waits_for_it(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(servers, tmp_path, null_backend=True) as stage:
        early = assembled()
        await stage.send(early)
        await stage.publish(routes("null"))
        assert isinstance((await stage.outcomes(1))[early.job_id], ImageGenerated)


async def test_without_a_table_work_is_unroutable_and_says_so(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with running(servers, tmp_path, null_backend=True) as stage:
        event = assembled()
        await stage.send(event)
        failed = (await stage.outcomes(1))[event.job_id]
        assert failed.reason is FailureReason.UNROUTABLE
        assert failed.detail == "the workspace has no routing table"


async def test_what_no_backend_may_take_is_told_within_a_second_with_every_reason(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(servers, tmp_path, null_backend=True) as stage:

        async def told(event: PromptAssembled) -> JobFailed:
            began = time.monotonic()
            await stage.send(event)
            failed = (await stage.outcomes(1))[event.job_id]
            assert time.monotonic() - began < 1
            assert isinstance(failed, JobFailed)
            assert failed.reason is FailureReason.UNROUTABLE
            return failed

        table = routes("null", visibility="cloud", end_of_life="2026-09-30")
        await stage.publish(table)
        first = assembled(workspace=UUID(int=6))  # by which topics that are new find their leaders
        await stage.send(first)
        await stage.outcomes(1)
        without = await told(assembled(workspace=UUID(int=5)))
        assert (without.detail, without.table) == ("the workspace has no routing table", None)
        ended = await told(assembled())
        assert ended.refused == {"local": "its life ended on 2026-09-30"}
        assert (ended.rule, ended.table) == ("public", table.pin())
        hidden = await told(assembled(confidentiality=Confidentiality.CONFIDENTIAL))
        assert hidden.refused == {"local": "it is not private, and confidential work never leaves private backends"}
        unnamed = await told(assembled(confidentiality=Confidentiality.INTERNAL))
        assert unnamed.rule is None
        assert unnamed.refused.keys() == {"local"}


async def test_a_failed_attempt_is_tried_again_and_every_attempt_is_told(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        event = assembled()
        backend.failures[event.job_id] = [
            BackendFailure(FailureReason.OUT_OF_MEMORY, "no memory", retriable=True),
            BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "gone", retriable=True),
        ]
        await stage.send(event)
        fact = (await stage.outcomes(1))[event.job_id]
        assert [(a.number, a.state, a.reason, a.cost) for a in fact.attempts] == [
            (1, "failed", FailureReason.OUT_OF_MEMORY, None),
            (2, "failed", FailureReason.BACKEND_UNAVAILABLE, None),
            (3, "succeeded", None, None),
        ]
        assert any(
            p.waiting_on == "retry" and "no memory; attempt 2 in 1 s" in (p.detail or "") for p in stage.progress
        )


async def test_three_failures_are_the_end_and_so_is_one_that_cannot_be_mended(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        unlucky, wrong = assembled(), assembled()
        gone = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "gone", retriable=True)
        backend.failures[unlucky.job_id] = [gone, gone, gone]
        backend.failures[wrong.job_id] = [BackendFailure(FailureReason.CONTENT_FILTERED, "withheld", retriable=False)]
        await stage.send(unlucky, wrong)
        ends = await stage.outcomes(2)
        assert ends[unlucky.job_id].reason is FailureReason.BACKEND_UNAVAILABLE
        assert len(ends[unlucky.job_id].attempts) == 3
        assert ends[wrong.job_id].reason is FailureReason.CONTENT_FILTERED
        assert ends[wrong.job_id].remedy == "change the wording and ask again"
        assert len(ends[wrong.job_id].attempts) == 1


async def test_an_uncertain_attempt_is_never_repeated_by_itself(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        event = assembled()
        lost = BackendFailure(FailureReason.MODEL_TIMEOUT, "no answer after the call", retriable=True, uncertain=True)
        backend.failures[event.job_id] = [lost]
        await stage.send(event)
        failed = (await stage.outcomes(1))[event.job_id]
        assert [(a.state, a.cost) for a in failed.attempts] == [("uncertain", None)]
        assert len(backend.calls) == 1


async def test_an_expired_job_is_not_begun(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        event = assembled(deadline=datetime.now(UTC) - timedelta(seconds=1))
        await stage.send(event)
        assert (await stage.outcomes(1))[event.job_id].reason is FailureReason.EXPIRED
        assert backend.calls == []


async def test_a_cancel_stops_what_is_being_made_and_drops_what_waits(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        begun = await occupy(stage, backend)
        waiting = [assembled(request=begun[0].request_id, variant=variant) for variant in range(3, 6)]
        other = assembled()
        await stage.send(*waiting, other)
        await stage.until(lambda: stage.value("select count(*) = 6 from work"))
        await stage.send(cancel(begun[0]))
        ends = await stage.outcomes(6)
        assert isinstance(ends[other.job_id], ImageGenerated)
        for event in (*begun, *waiting):
            end = ends[event.job_id]
            assert isinstance(end, JobCancelled)
            assert end.by == "mara"
            assert [a.state for a in end.attempts] == (["cancelled"] if event in begun else [])
        assert len(backend.calls) == 3, "what waited was never begun"


async def test_a_job_that_arrives_after_its_cancel_is_dropped(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        event = assembled()
        await stage.send(cancel(event, job=True))
        await stage.until(lambda: stage.value("select count(*) from tombstones"))
        await stage.send(event)
        assert isinstance((await stage.outcomes(1))[event.job_id], JobCancelled)
        assert backend.calls == []


async def test_a_cancel_heard_by_another_process_reaches_the_worker(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        event = assembled()
        backend.held.add(event.job_id)
        await stage.send(event)
        await backend.begun.wait()
        await stage.service.database.execute(
            "insert into tombstones (request_id, workspace, cancelled_by) values ($1, $2, 'noor')",
            event.request_id,
            WORKSPACE,
        )
        end = (await stage.outcomes(1))[event.job_id]
        assert isinstance(end, JobCancelled)
        assert end.by == "noor"


async def test_a_late_image_of_a_cancelled_job_is_discarded_and_its_cost_is_told(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(
        servers, tmp_path, backends={"proof": (backend := Scripted())}, table=routes("proof", price="0.04")
    ) as stage:
        event = assembled()

        async def cancel_meanwhile() -> None:
            await stage.service.database.execute(
                "insert into tombstones (request_id, workspace, cancelled_by) values ($1, $2, 'late')",
                event.request_id,
                WORKSPACE,
            )

        backend.before_return = cancel_meanwhile
        await stage.send(event)
        end = (await stage.outcomes(1))[event.job_id]
        assert isinstance(end, JobCancelled)
        assert [(a.state, str(a.cost)) for a in end.attempts] == [("succeeded", "0.04")]


async def test_a_fresh_start_makes_the_job_again_as_a_new_run(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        event = assembled()
        backend.failures[event.job_id] = [BackendFailure(FailureReason.CORRUPT_OUTPUT, "grey", retriable=False)]
        await stage.send(event)
        assert isinstance((await stage.outcomes(1))[event.job_id], JobFailed)
        again = JobRetried.of(
            cause_id="retry-1",
            occurred_at=NOW,
            workspace=WORKSPACE,
            request_id=event.request_id,
            job_id=event.job_id,
            run=2,
            by="ops",
        )
        await stage.send(again, again)
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, ImageGenerated)
        assert fact.run == 2
        assert fact.asset_id == ids.asset_id(event.job_id, 2)
        assert [a.attempt_id for a in fact.attempts] == [ids.attempt_id(event.job_id, 2, 1)]
        assert len(backend.calls) == 2


async def test_work_of_a_dead_worker_is_taken_over_and_its_attempt_is_not_forgotten(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path, lease_seconds=1.0) as (stage, backend):
        event = assembled()
        backend.held.add(event.job_id)
        await stage.send(event)
        await backend.begun.wait()
        # As if another process had held it and died: its lease names a holder that does not renew.
        await stage.service.database.execute("update work set holder = 'inference@dead', epoch = 1")
        await stage.until(lambda: stage.value("select count(*) from attempts where number = 2"))
        backend.held.clear()
        fact = (await stage.outcomes(1))[event.job_id]
        assert [(a.number, a.state, a.cost) for a in fact.attempts] == [(1, "failed", None), (2, "succeeded", None)]
        await stage.until(stage.quiet)
        assert await stage.value("select losses from work") == 1


async def test_waiting_lanes_are_served_by_their_shares(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        await occupy(stage, backend)
        priorities = {"dedicated": Priority.HIGH, "standard": Priority.NORMAL, "bulk": Priority.LOW}
        jobs: dict[UUID, str] = {}
        for lane, priority in priorities.items():
            events = [assembled(priority=priority) for _ in range(30)]
            jobs |= {event.job_id: lane for event in events}
            await stage.send(*events)
        await stage.until(lambda: stage.value("select count(*) = 92 from work"))
        backend.held.clear()
        await stage.outcomes(92)
        order = [jobs[call.job_id] for call in backend.calls if call.job_id in jobs]
        assert Counter(order[:20]) == {"dedicated": 12, "standard": 6, "bulk": 2}


async def test_what_one_workspace_has_queued_keeps_another_for_one_job_a_slot_at_most(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path) as (stage, backend):
        beach = uuid4()
        await stage.publish(routes("proof"), workspace=beach)
        await occupy(stage, backend)
        await stage.send(*(assembled() for _ in range(50)))
        await stage.until(lambda: stage.value("select count(*) = 52 from work"))
        single = assembled(workspace=beach)
        await stage.send(single)
        await stage.until(lambda: stage.value("select count(*) = 53 from work"))
        backend.held.clear()
        await stage.outcomes(53)
        order = [call.job_id for call in backend.calls]
        assert order.index(single.job_id) <= 2 * SLOTS, "each slot had one job under way, and made one more at most"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny")
    return folder


async def test_a_diffusion_model_makes_an_image_with_progress_and_obeys_a_cancel(
    servers: EmbeddedServers, tmp_path: Path, models: Path
) -> None:
    async with running(servers, tmp_path, diffusion_models=models, table=routes("diffusion", model="tiny")) as stage:
        first = assembled()
        await stage.send(first)
        fact = (await stage.outcomes(1))[first.job_id]
        assert isinstance(fact, ImageGenerated), fact
        assert (fact.original.width, fact.original.height) == (64, 64)
        assert fact.source_type == "trainedAlgorithmicMedia"
        manifest = json.loads(await stage.service.blobs.get(fact.manifest.key))
        assert manifest["made_by"]["batch_shapes"] == [1, 1, 1, 1]
        used = await stage.value("select device_seconds from attempts")
        assert fact.attempts[0].device_seconds == used > 0
        long = assembled(parameters=first.parameters.model_copy(update={"steps": 900}))
        same = assembled()
        await stage.send(long)
        await stage.until(lambda: stage.value("select count(*) from previews"))
        await looks_at_its_preview(stage, long.job_id)
        await stage.send(cancel(long), same)
        ends = await stage.outcomes(2)
        assert isinstance(ends[long.job_id], JobCancelled)
        assert ends[long.job_id].attempts[0].device_seconds > used, "what was cancelled is booked all the same"
        assert max(event.preview for event in stage.progress) >= 3
        await stage.until(lambda: stage.value("select count(*) = 0 from previews"))
        assert ends[same.job_id].original.sha256 == fact.original.sha256, "the same seed, the same bytes"


async def looks_at_its_preview(stage: Stage, job: UUID) -> None:
    other = identity.new_key()
    await stage.send(known_workspace(WORKSPACE, KEY), known_workspace(UUID(int=5), other))
    await stage.until(lambda: stage.value("select count(*) = 2 from api_keys"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=stage.service.app), base_url="http://inference"
    ) as client:
        seen = await client.get(f"/v1/previews/{job}", headers={"Authorization": f"Bearer {KEY.token}"})
        assert (seen.status_code, seen.headers["content-type"]) == (200, "image/jpeg")
        with Image.open(io.BytesIO(seen.content), formats=["JPEG"]) as thumbnail:
            assert thumbnail.size == (64, 64)
        theirs = await client.get(f"/v1/previews/{job}", headers={"Authorization": f"Bearer {other.token}"})
        assert theirs.status_code == 404


async def test_the_queue_and_the_route_are_told_to_their_own_workspace_only(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    roles = frozenset({"consume", "http"})
    async with running(servers, tmp_path, null_backend=True, table=routes("null", price="0.04"), roles=roles) as stage:
        stranger, other = UUID(int=5), identity.new_key()
        await stage.send(known_workspace(WORKSPACE, KEY), known_workspace(stranger, other))
        await stage.until(lambda: stage.value("select count(*) = 2 from api_keys"))
        await stage.send(assembled(priority=Priority.HIGH))
        await stage.until(lambda: stage.value("select count(*) from work"))
        transport = httpx.ASGITransport(app=stage.service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://inference") as client:
            mine = {"Authorization": f"Bearer {KEY.token}"}
            theirs = {"Authorization": f"Bearer {other.token}"}
            assert (await client.get("/v1/queue")).status_code == 401
            (line,) = (await client.get("/v1/queue", headers=mine)).json()["lines"]
            assert (line["lane"], line["kind"], line["waiting"]) == ("dedicated", "null/standard", 1)
            assert (await client.get("/v1/queue", headers=theirs)).json()["lines"] == []
            asked = {"confidentiality": "confidential", "priority": "high"}
            answer = (await client.post("/v1/explain-route", headers=mine, json=asked)).json()
            assert (answer["routable"], answer["backend"], answer["rule"]) == (True, "local", "confidential")
            assert answer["price"] == "0.04"
            for beyond in ({"capabilities": ["inpainting"]}, {"loras": ["film"]}):
                answer = (await client.post("/v1/explain-route", headers=mine, json=asked | beyond)).json()
                assert answer["routable"] is False and next(iter(beyond.values()))[0] in answer["refused"]["local"]
            refused = (await client.post("/v1/explain-route", headers=theirs, json=asked)).json()
            assert refused["routable"] is False
            assert refused["reason"] == "the workspace has no routing table"
            assert (await client.get("/v1/backends")).status_code == 401
            assert [b["name"] for b in (await client.get("/v1/backends", headers=mine)).json()["backends"]] == ["local"]
            nothing = (await client.get("/v1/backends", headers=theirs)).json()
            assert (nothing["problem"], nothing["backends"]) == ("the workspace has no routing table", [])
            whole = await client.post("/v1/explain-route", headers=theirs, json={"campaign": "winter"})
            assert (whole.status_code, whole.json()["where"]) == (422, "campaign")
            wrong = await client.post("/v1/explain-route", headers=mine, json={"confidentiality": "secret"})
            assert wrong.status_code == 422
            assert wrong.json()["remedy"] == "one of public, internal, confidential"
            assert (await client.post("/v1/explain-route", headers=mine, json={"lane": "bulk"})).status_code == 422


def known_workspace(workspace: UUID, key: identity.NewKey) -> WorkspaceChanged:
    api_key = ApiKey(key_id=key.key_id, sha256=key.sha256, principal="mara", roles=["requester"])
    return WorkspaceChanged.of(
        cause_id="1", occurred_at=NOW, workspace=workspace, name=str(workspace), keys=[api_key], revision=1
    )


def editor(**backend: Any) -> Routes:
    call = {"provider": "acme"}
    return routes("openai", model="m", price="0.04", call=call, **backend)


async def test_an_image_starts_from_the_pictures_of_its_request_or_is_not_made(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    data = png(64, 64, seed="a photo")
    sha256 = hashlib.sha256(data).hexdigest()
    source = ids.source_id(WORKSPACE, sha256)
    stored = {"sha256": sha256, "media_type": "image/png", "width": 64, "height": 64}
    photo = SourceUse(
        role=SourceRole.REFERENCE, source_id=source, key=f"ws/{WORKSPACE}/{source}/{sha256}.png", **stored
    )
    mask = photo.model_copy(update={"role": SourceRole.MASK})
    gone = photo.model_copy(update={"sha256": "5a" * 32})
    with Provider(tmp_path / "ledgers") as provider:
        told = {"acme": {"url": provider.url, "key": "k"}}
        table = editor(capabilities=["text-to-image", "image-to-image"])
        async with running(servers, tmp_path, table=table, providers=told) as stage:
            await stage.service.blobs.put(photo.key, data, media_type="image/png")
            made, edited, missing = (assembled(sources=uses) for uses in ([photo], [photo, mask], [gone]))
            await stage.send(made, edited, missing)
            outcomes = await stage.outcomes(3)
            image = outcomes[made.job_id]
            assert isinstance(image, ImageGenerated), image
            manifest = json.loads(await stage.service.blobs.get(image.manifest.key))
            assert [use["sha256"] for use in manifest["sources"]] == [sha256]
            assert outcomes[edited.job_id].reason is FailureReason.UNROUTABLE
            assert "cannot do inpainting" in outcomes[edited.job_id].detail
            assert outcomes[missing.job_id].reason is FailureReason.MISSING_SOURCE
            assert [attempt.cost for attempt in outcomes[missing.job_id].attempts] == [0]
        assert [call["pictures"] for call in provider.calls()] == [1]
