"""What was routed by a table that was corrected since, or to a backend whose last day passed while it waited."""

from datetime import date
from typing import Any

import pytest

from services.inference.domain import Failed
from shared.events import Confidentiality, ImageGenerated, JobFailed, Lane
from shared.library.documents import Backend, RouteRule, Routes
from shared.service import Service
from tests.inference.prompts import NOW, WORKSPACE, assembled, routes
from tests.live.calling import TABLE, Scene
from tests.live.items import published
from tests.live.queueing import KIND, Queue, table
from tests.live.stage import eventually
from tests.live.test_replay import SEEDED, SMALL, desk

CONFIDENTIAL, INTERNAL = Confidentiality.CONFIDENTIAL, Confidentiality.INTERNAL
LEVELS = [Confidentiality.PUBLIC, INTERNAL, CONFIDENTIAL]
WAITING = "select job_id, kind from work where holder is null and ready_at is not null"


def two(**first: Any) -> Routes:
    """A provider's, then one of our own."""
    second = Backend(name="second", kind="proof", visibility="private")
    rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["local", "second"])]
    return Routes(
        name="routes", version=2, owner="platform", backends=[table(**first).backends[0], second], rules=rules
    )


def without_the_first() -> Routes:
    rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["second"])]
    return two().model_copy(update={"backends": two().backends[1:], "rules": rules})


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        (two(visibility="cloud"), LEVELS[1:]),
        (two(ceiling=INTERNAL), LEVELS[2:]),
        (two(enabled=False), LEVELS),
        (two(end_of_life=date(2020, 1, 1)), LEVELS),
        (without_the_first(), LEVELS),
    ],
)
async def test_what_its_backend_may_take_no_more_goes_to_the_next_of_its_rule_and_is_not_begun(
    queue: Queue, now: Routes, moved: list[Confidentiality]
) -> None:
    await queue.found(by=two())
    events = {level: assembled(confidentiality=level) for level in LEVELS}
    await queue.put(*events.values())
    await queue.found(by=now)
    taken = {lease.job_id for lease in await queue.drain(queue.worker())}
    gone = {events[level].job_id for level in moved}
    assert taken == {event.job_id for event in events.values()} - gone
    assert {(row["job_id"], row["kind"]) for row in await queue.pool.fetch(WAITING)} == {
        (job, "proof/standard") for job in gone
    }
    assert {row["job_id"] for row in await queue.pool.fetch("select job_id from attempts")} == taken
    others = await queue.drain(queue.worker(kinds=["proof/standard"]))
    assert {lease.job_id for lease in others} == gone


async def test_a_provider_that_was_corrected_is_called_instead(queue: Queue) -> None:
    await queue.found()
    await queue.put(*(assembled(confidentiality=CONFIDENTIAL) for _ in range(2)))
    await queue.found(by=table(call={"provider": "acme", "quality": "high"}))
    assert len(await queue.claim(queue.worker(), 1)) == 1, "whom it calls is the same"
    await queue.found(by=table(call={"provider": "zenith"}))
    claims = queue.worker(kinds=[KIND, "openai/standard/zenith"], providers=["acme", "zenith"])
    assert not await queue.claim(claims), "it goes elsewhere first"
    (lease,) = await queue.drain(claims)
    assert (lease.kind, claims._desk.take(lease).job.sent.provider) == ("openai/standard/zenith", "zenith")


async def test_what_is_made_here_goes_on_where_the_table_forgot_its_backend_and_not_where_it_forbids_it(
    queue: Queue,
) -> None:
    await queue.found(by=routes("proof"))
    await queue.put(*(assembled(confidentiality=CONFIDENTIAL) for _ in range(2)))
    await queue.found(by=without_the_first())
    claims = queue.worker(kinds=["proof/standard"])
    (first,) = await queue.claim(claims, 1)
    assert claims._desk.take(first).barred is None
    await queue.found(by=routes("proof", visibility="cloud"))
    claims = queue.worker(kinds=["proof/standard"])
    (second,) = await queue.drain(claims)
    barred = claims._desk.take(second).barred
    assert isinstance(barred, Failed) and barred.reason == "unroutable"
    assert barred.detail.startswith("it was sent to local, and it is not private, and confidential work never leaves")
    assert await queue.pool.fetchval("select count(*) from attempts") == 1


def cloud(of: Routes) -> Routes:
    backend = of.backends[0].model_copy(update={"visibility": "cloud"})
    return of.model_copy(update={"backends": [backend]})


async def publish(scene: Scene, service: Service, corrected: Routes) -> None:
    """The next version of the table, once this process goes by it."""
    corrected = corrected.model_copy(update={"version": 2})
    await scene.send(service, published(corrected, workspace=WORKSPACE, at=NOW))

    async def known() -> bool:
        async with scene.client(service, scene.reader) as rita:
            return bool((await rita.get("/v1/backends")).json()["table"]["version"] == 2)

    await eventually(known)


async def test_what_may_go_nowhere_ends_and_its_provider_hears_nothing_of_it(scene: Scene) -> None:
    secret, public = assembled(confidentiality=CONFIDENTIAL), assembled()
    async with scene.service("inference", "consume,http") as front:
        await scene.begin(front)
        await scene.send(front, secret, public)
        await eventually(lambda: front.database.fetchval("select count(*) = 2 from work"))
        await publish(scene, front, cloud(TABLE))
    async with scene.service("inference"):
        (failed,) = await scene.said(JobFailed)
        (made,) = await scene.said(ImageGenerated)
    assert (failed.job_id, failed.reason, failed.attempts) == (secret.job_id, "unroutable", [])
    assert "it was sent to local, and it is not private" in (failed.detail or "")
    assert failed.refused["local"] == "it is not private, and confidential work never leaves private backends"
    assert made.job_id == public.job_id
    assert len(scene.provider.calls()) == 1


async def test_a_replay_goes_only_where_today_s_table_lets_its_image_go(scene: Scene) -> None:
    scene.provider.script.change({"takes_seed": True})
    async with desk(scene, SEEDED) as opened:
        event = assembled(parameters=SMALL, confidentiality=CONFIDENTIAL)
        fact = (await opened.make(event))[event.job_id]
        await opened.cap("0.06")
        asked = (await opened.ask(fact, pay=True)).json()["replay_id"]
        await publish(scene, opened.service, cloud(SEEDED))
        await opened.cap("9")
        ended = await opened.ended(asked)
        assert (ended["state"], ended["reason"], ended["cost"]) == ("failed", "unroutable", "0")
        assert "confidential work never leaves private backends" in ended["detail"]
        refused = await opened.ask(fact, pay=True)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:calotype:problem:not_replayable")
        assert "confidential work never leaves private backends" in refused.json()["detail"]
        assert len(scene.provider.calls()) == 1
