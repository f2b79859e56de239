"""Stage 2 on a real Kafka and a real store; it has no database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer

from deploy.local.servers import EmbeddedServers
from services.prompt.app import build
from services.prompt.settings import PromptSettings
from shared.blobs import library_key
from shared.events import BY_TYPE, Event, FailureReason, JobFailed, PromptAssembled, RequestAccepted
from shared.kafka import record_of
from shared.library.documents import Document
from shared.service import Service
from shared.topics import JOBS_ENDED, PROMPTS_ASSEMBLED, REQUESTS_ACCEPTED
from tests.live.serving import serving
from tests.live.stage import eventually
from tests.prompt.library import brand, policy, template
from tests.prompt.test_domain import WORKSPACE, request


class Prompting:
    """A running prompt stage, and what it says."""

    def __init__(self, service: Service, heard: AIOKafkaConsumer) -> None:
        self.service = service
        self._heard = heard

    async def hold(self, *documents: Document) -> None:
        for document in documents:
            key = library_key(WORKSPACE, document.pin().digest)
            await self.service.blobs.put(key, document.canonical(), media_type="application/json")

    async def send(self, *events: Event) -> None:
        prefix = self.service.settings.topic_prefix
        assert not await self.service.producer.deliver([record_of(event, prefix=prefix) for event in events])

    async def next(self, count: int) -> list[Any]:
        """The next so many records: events, or what was set aside as it was."""
        found: list[Any] = []
        while len(found) < count:
            record = await self._heard.getone()
            headers = dict(record.headers)
            if record.topic.endswith(".dlq"):
                found.append((headers["calotype-reason"].decode(), headers["calotype-detail"].decode()))
            else:
                found.append(BY_TYPE[headers["ce_type"].decode()].model_validate_json(record.value))
        return found

    async def waits(self) -> dict[str, str]:
        return self.service.bus.waiting_for()


@asynccontextmanager
async def prompting(servers: EmbeddedServers, folder: Path) -> AsyncIterator[Prompting]:
    settings = PromptSettings(
        kafka_bootstrap=servers.kafka_bootstrap,
        topic_prefix=f"p{uuid4().hex[:8]}.",
        topic_partitions=2,
        topic_replication=1,
        blobs_url=f"file://{folder}/blobs",
    )
    topics = [PROMPTS_ASSEMBLED.name, JOBS_ENDED.name, REQUESTS_ACCEPTED.dead_letters]
    opened = serving("prompt", settings, build, roles=("consume",), topics=topics, database=False)
    async with opened as (service, heard):
        yield Prompting(service, heard)


def numbered(number: int, **changes: Any) -> RequestAccepted:
    return request(request_id=UUID(int=number), cause_id=UUID(int=number), **changes)


async def test_each_job_of_a_request_is_assembled_and_the_same_again_when_it_comes_again(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with prompting(servers, tmp_path) as stage:
        await stage.hold(brand(), template(), policy())
        ask = request(variants=2)
        await stage.send(ask)
        first = await stage.next(2)
        assert [type(event) for event in first] == [PromptAssembled] * 2
        await stage.send(ask)
        second = await stage.next(2)
        assert sorted(event.body() for event in second) == sorted(event.body() for event in first)


async def test_a_refused_prompt_ends_its_job_and_a_document_that_is_gone_hurts_nobody_else(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with prompting(servers, tmp_path) as stage:
        await stage.hold(brand(), template(), policy())
        gone = template(version=9, prompt="never stored").pin()
        await stage.send(
            numbered(1, intended_use="tells that it cures"), numbered(2, template=gone), numbered(3), numbered(4)
        )
        said = await stage.next(4)
        (failed,) = [event for event in said if isinstance(event, JobFailed)]
        assert (failed.request_id, failed.reason) == (UUID(int=1), FailureReason.POLICY_REFUSED)
        assert {event.request_id for event in said if isinstance(event, PromptAssembled)} == {UUID(int=3), UUID(int=4)}
        (aside,) = [found for found in said if isinstance(found, tuple)]
        assert aside[0] == "handler_failed" and gone.digest in aside[1]


async def test_while_the_store_is_away_requests_wait_and_none_is_set_aside(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with prompting(servers, tmp_path) as stage:
        await stage.hold(brand(), template(), policy())
        away = tmp_path / "away"
        (tmp_path / "blobs").rename(away)
        await stage.send(numbered(1), numbered(2))
        assert "blobs" in str(await eventually(stage.waits))
        away.rename(tmp_path / "blobs")
        said = await stage.next(2)
        assert {event.request_id for event in said} == {UUID(int=1), UUID(int=2)}
        assert all(isinstance(event, PromptAssembled) for event in said)
