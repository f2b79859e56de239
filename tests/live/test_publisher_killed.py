"""A publisher that is killed between any two steps has still delivered once."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.local.servers import EmbeddedServers
from services.publisher.handler import apply_approvals, apply_targets
from services.publisher.settings import PublisherSettings
from services.publisher.worker import exhausted
from shared.events import AssetApproved, AssetPublished
from shared.kafka import Producer, create_topics
from shared.leases import Worker
from shared.library.documents import TargetDocument
from shared.outbox import Outbox
from shared.postgres import Pool, open_pool
from shared.topics import ASSETS_PUBLISHED
from tests.live.dying_publisher import STEPS
from tests.live.publishing import Ended, blobs_at, hold, read_ended, settings_at, target_changed, until
from tests.live.stage import new_database
from tests.publisher.builders import FILES, approved, delivery, target_document
from tests.servers.receiver import PUBLISHER_ENVIRONMENT, Receiver, receiving


@dataclass
class Front:
    """What hears of targets and approvals, while the workers that deliver are killed in processes of their own."""

    settings: PublisherSettings
    url: str
    pool: Pool
    outbox: Outbox
    worker: Worker

    async def know(self, target: TargetDocument) -> None:
        async with self.outbox.transaction() as transaction:
            await apply_targets(transaction, [target_changed(target)], worker=self.worker)

    async def take(self, asset: AssetApproved) -> None:
        async with self.outbox.transaction() as transaction:
            await apply_approvals(transaction, [asset], worker=self.worker)


@pytest.fixture
async def front(servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Front]:
    url = await new_database(servers)
    settings = settings_at(servers, url, tmp_path)
    await create_topics(settings)
    pool = await open_pool(url, stage="publisher")
    outbox = Outbox(pool, Producer(settings))
    worker = Worker(stage="publisher", outbox=outbox, pool=pool, kinds=[], exhausted=exhausted)
    yield Front(settings, url, pool, outbox, worker)
    await pool.close()


async def test_killed_between_any_two_steps_it_delivers_once(servers: EmbeddedServers, front: Front) -> None:
    settings, url, pool = front.settings, front.url, front.pool
    await front.know(target_document())

    for step in STEPS:
        await front.take(await hold(blobs_at(settings), approved(step.replace(" ", "-"))))
        dying = await start(step, settings, url)
        assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL, step

    last = await start("never", settings, url)
    await until(lambda: nothing_left(pool), seconds=60)
    await last.communicate(b"")  # its standard input ends, so it stops in order

    rows = await pool.fetch("select publication_id, state from publications")
    wanted = {delivery(step.replace(" ", "-")).publication_id for step in STEPS}
    assert {row["publication_id"]: row["state"] for row in rows} == dict.fromkeys(wanted, "delivered")
    files = Counter(path.read_bytes() for path in settings.publish_folder.rglob("*.png"))
    assert files == Counter({data: len(STEPS) for data in FILES.values()})
    assert len(list(settings.publish_folder.rglob("*.json"))) == len(STEPS)
    assert await published_ids(servers, settings) == dict.fromkeys(wanted, 1)


# Points of shared/crash.py that a worker comes to between a publication's intent and its fact, in their order.
POINTS = (
    "claim.after",
    "call.before",
    "call.after",
    "settle.before",
    "commit.before",
    "commit.after",
    "settle.after",
    "outbox.before_send",
    "outbox.after_send",
    "outbox.after_delete",
)
IN_FLIGHT = ("hang", "hang_taken")  # killed while it waits for an answer: nothing was taken, or all


async def test_killed_at_any_point_it_tells_a_webhook_once(
    servers: EmbeddedServers, front: Front, tmp_path: Path
) -> None:
    settings, url, pool = front.settings, front.url, front.pool
    with receiving(tmp_path) as receiver:
        hook = {"url": f"{receiver.url}/hooks/site", "secrets": ["hook_new", "hook_old"]}
        await front.know(target_document(type="webhook", settings=hook))

        async def nothing_kills_it() -> None:
            receiver.script(weights={"ok": 1})
            worker = await run(settings, url, "services.publisher", "--roles", "work", **PUBLISHER_ENVIRONMENT)
            await until(lambda: nothing_left(pool), seconds=60)
            worker.terminate()
            assert await worker.wait() in {0, -signal.SIGTERM}  # the latter where there was nothing left from the start

        for number, place in enumerate((*POINTS, *IN_FLIGHT), 1):
            receiver.script(weights={place if place in IN_FLIGHT else "ok": 1})
            asked_before = partial(was_asked, receiver, before=len(receiver.lines()))
            await front.take(approved(name_of(place)))
            crash = {"CALOTYPE_CRASH": f"publisher.{place}"} if place in POINTS else {}
            dying = await run(settings, url, "services.publisher", "--roles", "work", **PUBLISHER_ENVIRONMENT, **crash)
            if place in IN_FLIGHT:
                await until(asked_before, seconds=60)
                dying.kill()
            assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL, place
            if number % 4 == 0:  # what is lost eight times is given up as uncertain, and that is another test's
                await nothing_kills_it()

        await nothing_kills_it()
        wanted = {delivery(name_of(place)).publication_id for place in (*POINTS, *IN_FLIGHT)}
        assert receiver.effects() == {str(publication): 1 for publication in wanted}
        assert len(receiver.lines()) > len(wanted)  # some of them were told twice, and it made no difference
    rows = await pool.fetch("select publication_id, state from publications")
    assert {row["publication_id"]: row["state"] for row in rows} == dict.fromkeys(wanted, "delivered")
    assert await published_ids(servers, settings) == dict.fromkeys(wanted, 1)


def name_of(place: str) -> str:
    return re.sub(r"[._]", "-", place)


async def was_asked(receiver: Receiver, *, before: int) -> bool:
    return len(receiver.lines()) > before


async def start(step: str, settings: PublisherSettings, url: str) -> Process:
    return await run(settings, url, "tests.live.dying_publisher", step)


async def run(settings: PublisherSettings, url: str, program: str, *arguments: str, **more: str) -> Process:
    environment = {
        "DATABASE_URL": url,
        "CALOTYPE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "CALOTYPE_TOPIC_PREFIX": settings.topic_prefix,
        "CALOTYPE_BLOBS_URL": settings.blobs_url,
        "CALOTYPE_PUBLISH_FOLDER": str(settings.publish_folder),
        "CALOTYPE_LEASE_SECONDS": "2",
        "CALOTYPE_PUBLISH_RETRY_SECONDS": "0.1",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", program, *arguments, stdin=PIPE, env=os.environ | environment | more
    )


async def nothing_left(pool: Pool) -> bool:
    waiting = await pool.fetchval("select count(*) from publications where state = 'pending'")
    return not waiting and not await pool.fetchval("select count(*) from outbox")


async def published_ids(servers: EmbeddedServers, settings: PublisherSettings) -> dict[object, int]:
    """Publication → how many different facts say that it was delivered."""
    facts = set()
    for fact in await told(servers, settings):
        assert isinstance(fact, AssetPublished)
        facts.add((fact.publication_id, fact.event_id))
    return dict(Counter(publication for publication, _ in facts))


async def told(servers: EmbeddedServers, settings: PublisherSettings) -> list[Ended]:
    """Everything that was said of publications, from the beginning; what was sent twice twice."""
    name = settings.topic_prefix + ASSETS_PUBLISHED.name
    consumer = AIOKafkaConsumer(name, bootstrap_servers=servers.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        found: list[Ended] = []
        ends = await consumer.end_offsets(consumer.assignment())
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                found += map(read_ended, (await consumer.getmany(partition, timeout_ms=500)).get(partition, []))
    finally:
        await consumer.stop()
    return found
