"""Stage 4 on a real Kafka, a real Postgres, a real store and real child processes."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.servers import EmbeddedServers
from services.postprocess.app import STAGE, build
from services.postprocess.settings import PostprocessSettings
from shared.blobs import library_key
from shared.events import (
    BY_TYPE,
    CancelRequested,
    DerivativesFailed,
    Event,
    FailureReason,
    ImageGenerated,
    ImageProcessed,
    JobCancelled,
    JobFailed,
)
from shared.kafka import record_of
from shared.library.documents import Document, Operation
from shared.service import Service
from shared.topics import IMAGES_PROCESSED, JOBS_ENDED, JOBS_PROGRESSED
from tests.live.serving import serving
from tests.live.stage import eventually, new_database
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.images import RUBRIC, WORKSPACE, asked_anew, file, generated
from tests.postprocess.pictures import plain, read, written

ORIGINAL = written(plain(colour=(90, 120, 40)))
WEB = recipe(rendition("small", 32, 32, format="webp"), rendition("wide", 64, 16))
OUTCOMES = (IMAGES_PROCESSED, JOBS_ENDED)


class Stage:
    """A running postprocess, and what it says."""

    def __init__(self, service: Service, heard: AIOKafkaConsumer) -> None:
        self.service = service
        self._heard = heard

    async def hold(self, event: ImageGenerated, original: bytes, *documents: Document) -> None:
        await self.service.blobs.put(event.original.key, original, media_type="image/png")
        for document in (RUBRIC, *documents):
            key = library_key(WORKSPACE, document.pin().digest)
            await self.service.blobs.put(key, document.canonical(), media_type="application/json")

    async def send(self, *events: Event) -> None:
        prefix = self.service.settings.topic_prefix
        assert not await self.service.producer.deliver([record_of(event, prefix=prefix) for event in events])

    async def next(self, wanted: Callable[[Event], bool] = lambda _: True) -> Event:
        async for record in self._heard:
            event = BY_TYPE[dict(record.headers)["ce_type"].decode()].model_validate_json(record.value)
            if wanted(event):
                return event
        raise AssertionError("the consumer ended")

    async def outcomes(self, count: int) -> dict[UUID, Any]:
        """The ends of so many jobs, by job."""
        found: dict[UUID, Any] = {}
        while len(found) < count:
            event: Any = await self.next(lambda event: isinstance(event, ImageProcessed | JobFailed | JobCancelled))
            assert event.job_id not in found, "a job ended twice"
            found[event.job_id] = event
        return found

    async def tombstones(self) -> int:
        rows: int = await self.service.database.fetchval("select count(*) from tombstones")
        return rows

    async def left(self) -> int:
        rows: int = await self.service.database.fetchval("select count(*) from work where ready_at is not null")
        return rows


@asynccontextmanager
async def running(servers: EmbeddedServers, folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    told = PostprocessSettings(
        DATABASE_URL=await new_database(servers),
        kafka_bootstrap=servers.kafka_bootstrap,
        topic_prefix=f"t{uuid4().hex[:8]}.",
        topic_partitions=2,
        topic_replication=1,
        blobs_url=f"file://{folder}",
        children=1,
        **settings,
    )
    topics = [topic.name for topic in (*OUTCOMES, JOBS_PROGRESSED)]
    async with serving(STAGE, told, build, roles=("consume", "work"), topics=topics) as (service, heard):
        yield Stage(service, heard)


async def test_a_generated_image_becomes_an_asset_version(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with running(servers, tmp_path) as stage:
        event = generated(ORIGINAL, WEB)
        await stage.hold(event, ORIGINAL, WEB)
        await stage.send(event, event)
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, ImageProcessed)
        assert [(each.rendition, each.width) for each in fact.files] == [("original", 64), ("small", 32), ("wide", 64)]
        for each in (*fact.files, *fact.proxies):
            data = await stage.service.blobs.get(each.key)
            assert hashlib.sha256(data).hexdigest() == each.sha256
            assert read(data).size == (each.width, each.height)
        assert [verdict.check for verdict in fact.checks if not verdict.ok] == []
        assert fact.cause_id == event.event_id

        await stage.send(event)  # heard again after its end: nothing is made twice
        another = generated(ORIGINAL, WEB)
        await stage.hold(another, ORIGINAL)
        await stage.send(another)
        assert set(await stage.outcomes(1)) == {another.job_id}


async def test_a_corrupt_picture_fails_by_name_and_its_neighbours_do_not(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(servers, tmp_path) as stage:
        corrupt = ORIGINAL[: len(ORIGINAL) // 2]
        events = [generated(data, WEB) for data in (ORIGINAL, corrupt, ORIGINAL)]
        for event, data in zip(events, (ORIGINAL, corrupt, ORIGINAL), strict=True):
            await stage.hold(event, data, WEB)
        await stage.send(*events)
        found = await stage.outcomes(3)
        first, bad, last = (found[event.job_id] for event in events)
        assert isinstance(first, ImageProcessed)
        assert isinstance(last, ImageProcessed)
        assert isinstance(bad, JobFailed)
        assert bad.reason is FailureReason.CORRUPT_OUTPUT


async def test_a_killed_child_costs_an_attempt_and_nothing_else(servers: EmbeddedServers, tmp_path: Path) -> None:
    slow = recipe(*(rendition(f"r{n}", 1500, 1500, format="avif") for n in range(12)))
    large = written(plain(1500, 1500))
    async with running(servers, tmp_path) as stage:
        event, neighbour = generated(large, slow), generated(ORIGINAL, WEB)
        await stage.hold(event, large, slow)
        await stage.hold(neighbour, ORIGINAL, WEB)
        await stage.send(event, neighbour)
        child = await _child()
        child.kill()
        found = await stage.outcomes(2)
        assert isinstance(found[event.job_id], ImageProcessed)
        assert isinstance(found[neighbour.job_id], ImageProcessed)
        failures = await stage.service.database.fetchval("select sum(failures) from work")
        assert failures == 1


async def _child() -> psutil.Process:
    """The child process at work, as soon as there is one."""

    async def found() -> list[psutil.Process]:
        return [each for each in psutil.Process().children() if _decodes(each)]

    (child,) = await eventually(found)
    assert isinstance(child, psutil.Process)
    return child


def _decodes(process: psutil.Process) -> bool:
    try:
        return "services.postprocess.child" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


async def test_a_cancelled_request_ends_so_wherever_its_jobs_are(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with running(servers, tmp_path) as stage:
        event = generated(ORIGINAL, WEB)
        await stage.hold(event, ORIGINAL, WEB)
        cancel = CancelRequested.of(
            cause_id=uuid4(),
            occurred_at=event.occurred_at,
            workspace=WORKSPACE,
            request_id=event.request_id,
            by="mira",
        )
        await stage.send(cancel)
        await eventually(stage.tombstones)
        await stage.send(event)
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, JobCancelled)
        assert fact.by == "mira"
        assert await stage.left() == 0


async def test_a_cancel_during_the_work_discards_what_was_made(servers: EmbeddedServers, tmp_path: Path) -> None:
    slow = recipe(*(rendition(f"r{n}", 1500, 1500, format="avif") for n in range(12)))
    large = written(plain(1500, 1500))
    async with running(servers, tmp_path) as stage:
        event = generated(large, slow)
        await stage.hold(event, large, slow)
        await stage.send(event)
        child = await _child()
        child.suspend()
        await stage.send(
            CancelRequested.of(
                cause_id=uuid4(),
                occurred_at=event.occurred_at,
                workspace=WORKSPACE,
                request_id=event.request_id,
                job_id=event.job_id,
                by="mira",
            )
        )
        await eventually(stage.tombstones)
        child.resume()
        assert isinstance((await stage.outcomes(1))[event.job_id], JobCancelled)


async def test_a_recipe_that_is_gone_fails_the_job_by_name(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with running(servers, tmp_path) as stage:
        event = generated(ORIGINAL, WEB)
        await stage.hold(event, ORIGINAL)
        await stage.send(event)
        fact = (await stage.outcomes(1))[event.job_id]
        assert isinstance(fact, JobFailed)
        assert fact.reason is FailureReason.MISSING_SOURCE


@pytest.mark.parametrize("jobs", [300])
async def test_images_nothing_is_made_of_pass_without_a_worker(
    servers: EmbeddedServers, tmp_path: Path, jobs: int
) -> None:
    async with running(servers, tmp_path, review_proxies=()) as stage:
        events = [generated(ORIGINAL) for _ in range(jobs)]
        await stage.send(*events)
        found = await stage.outcomes(jobs)
        assert all(isinstance(fact, ImageProcessed) for fact in found.values())
        assert found[events[0].job_id].original.sha256 == file(events[0].asset_id, ORIGINAL).sha256
        assert await stage.left() == 0


async def test_files_are_made_anew_once_and_no_cancel_or_failure_of_theirs_is_the_jobs(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running(servers, tmp_path) as stage:
        image = generated(ORIGINAL, WEB)
        square = recipe(rendition("square", 24, 24), version=2)
        odd = recipe(rendition("odd", 24, 24, operations=[Operation(op="crpo")]), version=3)
        await stage.hold(image, ORIGINAL, WEB, square, odd)
        asked, wrong = asked_anew(image, square), asked_anew(image, odd)
        cancel = CancelRequested.of(
            cause_id="a person",
            occurred_at=image.occurred_at,
            workspace=WORKSPACE,
            request_id=image.request_id,
            by="mira",
        )
        await stage.send(cancel)
        await eventually(stage.tombstones)
        await stage.send(asked, asked, wrong)
        found = {event.cause_id: event for event in [await stage.next(), await stage.next()]}
        made, refused = found[asked.event_id], found[wrong.event_id]
        assert isinstance(made, ImageProcessed)
        assert (made.supersedes, made.job_id) == (asked.supersedes, image.job_id)
        assert [(file.rendition, file.recipe) for file in made.files] == [("original", None), ("square", "web@2")]
        for each in (*made.files, *made.proxies):
            assert hashlib.sha256(await stage.service.blobs.get(each.key)).hexdigest() == each.sha256
        assert isinstance(refused, DerivativesFailed)
        assert "crpo" in refused.detail

        await stage.send(asked, asked_anew(image, WEB))  # heard again after its end; and back to the recipe before
        back = await stage.next()
        assert isinstance(back, ImageProcessed)
        assert [file.rendition for file in back.files] == ["original", "small", "wide"]
        told = await stage.service.database.fetchval("select count(*) from work where kind = 'process.anew'")
        assert told == 3
