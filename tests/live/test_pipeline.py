"""From a request event to published files, on real servers through six real processes, whatever is killed or away."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deploy.local.supervisor import STAGES
from shared.events.envelope import event_type
from shared.postgres import STAGES_WITH_DATABASE
from shared.topics import (
    ASSETS_RECALLED,
    ASSETS_REJECTED,
    IMAGE_REQUESTS,
    REQUESTS_COMPLETED,
    REVIEWS_RECORDED,
    TOPICS,
    Topic,
)
from tests.groups import readers
from tests.live.delivered import assert_each_once, facts_of
from tests.live.pipeline import (
    FILES_OF_AN_ASSET,
    LEASES,
    OUTBOX,
    Pipeline,
    Studio,
    ask,
    assert_says_when_to_come_again,
    pipeline,
    sheet,
)
from tests.live.stage import PARTITIONS, eventually

OUTSIDER = Path(__file__).with_name("outsider.py")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running() -> Iterator[Pipeline]:
    with pipeline() as everything:
        yield everything


# -- strangers


async def test_a_stranger_with_the_cloudevents_sdk_orders_hears_and_fetches(running: Pipeline) -> None:
    """Binary and structured mode; nothing of ours is imported there, and every event is complete in itself."""
    async with running.studio() as studio:
        seen = await talk_to_a_stranger(studio)
    assert not {"shared", "services", "deploy", "tests", "pydantic", "faststream"} & set(seen["imported"])
    events = {
        (event["type"].removeprefix("calotype."), event.get("clientreference")): event for event in seen["events"]
    }
    for reference in ("our binary", "our structured"):
        approved, published = events["AssetApproved", reference], events["AssetPublished", reference]
        assert approved["requestid"] == approved["data"]["request_id"] == published["requestid"]
        assert published["data"]["asset_version_id"] == approved["data"]["asset_version_id"] == approved["subject"]
        assert published["data"]["files"] == approved["data"]["files"]
        assert {receipt["sha256"] for receipt in published["data"]["receipts"]} >= {
            file["sha256"] for file in approved["data"]["files"]
        }
        assert not {"prompt", "negative_prompt", "variables"} & set(approved["data"])
        files = seen["files"][reference]
        assert len(files) == FILES_OF_AN_ASSET
        for file in files:
            assert (file["without_key"], file["redirect"], file["status"]) == (401, 307, 200)
            assert {name: file[name] for name in ("media_type", "bytes", "sha256")} == file["said"]
    rejected = events["RequestRejected", "our wrong"]
    assert rejected["data"]["origin_id"] == "/pim/of/strangers wrong"
    (problem,) = rejected["data"]["problems"]
    assert "channels" in problem["where"] and problem["remedy"]
    assert {event["traceparent"].split("-")[1] for event in seen["events"]} == {TRACE}


async def talk_to_a_stranger(studio: Studio) -> dict[str, Any]:
    """Runs the stranger in a process of its own; a person approves meanwhile."""
    running = studio.pipeline
    key = await studio.call("POST", "/v1/keys", json={"principal": "dam", "roles": ["reader"]})
    told = {
        "bootstrap": running.servers.kafka_bootstrap,
        "prefix": running.prefix,
        "workspace": str(studio.workspace),
        "token": key["token"],
        "trace": TRACE,
        "ask": ask("A stranger's headline"),
    }
    # -I: neither this folder nor PYTHONPATH leads to us.
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-I", OUTSIDER, stdin=PIPE, stdout=PIPE)
    talking = asyncio.create_task(stranger.communicate(json.dumps(told).encode()))
    try:
        await studio.finish(2)
        output, _ = await asyncio.wait_for(asyncio.shield(talking), 60)
    finally:
        if stranger.returncode is None:
            stranger.kill()
        await talking
    assert stranger.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


# -- poison

Poison = tuple[str | None, list[tuple[str, bytes]], bytes]
# Facts that leave for people outside, and whose notices nobody writes yet.
UNREAD = {REQUESTS_COMPLETED, REVIEWS_RECORDED, ASSETS_REJECTED, ASSETS_RECALLED}


async def test_poison_on_every_topic_is_set_aside_and_its_neighbours_go_on(running: Pipeline) -> None:
    """Every group that reads the topic refuses it for itself; the catalog lists all of it, until somebody drops it."""
    async with running.studio() as studio:
        wanted = await spread_poison(studio)
        for number in range(8):
            await studio.submit(f"neighbour {number}")
        await studio.finish(8)
        await running.all_ready()

        async def all_listed() -> bool:
            return (await letters(studio, "waiting")).total() >= wanted.total()

        await eventually(all_listed)
        assert await letters(studio, "waiting") == wanted
        told = Counter((await facts_of(studio)).types.values())
        assert told["RequestRejected"] == 1  # of a type nobody knows, but readable: the sender is answered, once

        dropped = await studio.call("POST", "/v1/dead-letters/drop", json={"every": True, "note": "poison"})
        assert dropped == {"dropped": wanted.total(), "failed_jobs": [], "failed_reruns": []}
        assert await letters(studio, "waiting") == Counter()
        assert await letters(studio, "dropped") == wanted


async def spread_poison(studio: Studio) -> Counter[Any]:
    """Onto every partition of every topic; returns the dead letters that must come of it."""
    running = studio.pipeline
    reading = await readers(running.servers.kafka_bootstrap, running.prefix)
    wanted = Counter[Any]()
    async with running.producer() as producer:
        for topic in TOPICS:
            name = running.prefix + topic.name
            groups = [group for group, held in reading.items() if name in {partition.topic for partition in held}]
            assert groups or topic in UNREAD, f"nobody reads {topic.name}"
            for reason, headers, body in poison(topic, studio):
                for number in range(PARTITIONS):
                    await producer.send_and_wait(name, body, key=b"poison", partition=number, headers=headers)
                if reason is not None:
                    wanted |= Counter({(topic.name, group, reason): PARTITIONS for group in groups})
    return wanted


def poison(topic: Topic, studio: Studio) -> list[Poison]:
    """Records that cannot be read, each with the reason it is set aside for; None: it is answered instead."""
    told = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"poison"),
        ("ce_source", b"/poison"),
        ("content-type", b"application/json"),
    ]
    is_foreign = topic is IMAGE_REQUESTS
    known = "calotype.ImageRequested" if is_foreign else event_type(topic.events[0])
    nonsense = [*told, ("ce_type", b"calotype.Nonsense")]
    nonsense += [("ce_workspace", str(studio.workspace).encode())] if is_foreign else []
    return [
        ("bad_header", [*told, ("ce_type", b"\xff\xfe")], b"{}"),
        ("bad_body", [*told, ("ce_type", known.encode())], b'{"not": "whole'),
        (None if is_foreign else "unknown_type", nonsense, b"{}"),
    ]


async def letters(studio: Studio, state: str) -> Counter[Any]:
    answer = await studio.call("GET", "/v1/dead-letters", params={"limit": 500, "state": state})
    assert answer["next"] is None
    return Counter((one["topic"], one["consumer_group"], one["reason"]) for one in answer["dead_letters"])


# -- ends, asked for and not


async def test_sigterm_in_the_middle_of_work_loses_nothing_and_repeats_nothing(running: Pipeline) -> None:
    """All six at once; every job could finish in the time that a service has, so none is begun again."""
    async with running.studio() as studio:
        dead = await running.dead()
        await studio.send_file("before", rows=20)
        await studio.approve(5)
        sending = asyncio.create_task(studio.submit_all([f"meanwhile {number}" for number in range(20)], variants=2))
        await running.until(LEASES.format("inference"))
        await running.all_end()
        await sending
        await studio.finish(60)
        await assert_each_once(studio, requests=40, jobs=60)
        assert await running.dead() == dead
        for stage in STAGES_WITH_DATABASE:
            again = (
                "select work_id, kind, epoch, losses, failures, detail from {}.work where workspace = $1 and epoch > 1"
            )
            assert await running.rows(again.format(stage), studio.workspace) == [], stage
    assert [stage for stage in STAGES if "stop.step_failed" in running.log(stage)] == []


async def test_killed_one_after_another_each_service_still_delivers_every_job_once(running: Pipeline) -> None:
    """Two hundred jobs, from HTTP, a file and Kafka; each service is killed with something in its hands."""
    async with running.studio() as studio:
        dead = await running.dead()

        sending = asyncio.create_task(studio.submit_all([f"first {number}" for number in range(25)], variants=2))
        await running.until("select count(*) > 5 from intake.requests where workspace = $1", studio.workspace)
        async with running.killed_with(OUTBOX, "intake"):
            await sending
        assert studio.refused, "it was killed before anybody sent anything, or after everybody had"

        await studio.order("second", requests=10, variants=5)
        await running.until("select count(*) > 25 from intake.requests where workspace = $1", studio.workspace)
        async with running.killed("prompt"):
            await studio.send_file("third", rows=50)

        for stage in ("inference", "postprocess"):
            async with running.killed_with(LEASES, stage):
                await studio.submit(f"while {stage} is away", variants=25)

        approving = asyncio.create_task(studio.approve(60))
        await running.until("select count(*) > 0 from catalog.decisions where workspace = $1", studio.workspace)
        async with running.killed_with(OUTBOX, "catalog"):
            await approving

        approving = asyncio.create_task(studio.approve(60))
        async with running.killed_with(LEASES, "publisher"):
            await approving

        await studio.finish(200)
        await assert_each_once(studio, requests=25 + 10 + 50 + 2, jobs=200)
        for stage in ("inference", "postprocess", "publisher"):
            lost = f"select count(*) from {stage}.work where workspace = $1 and losses > 0"
            assert await running.count(lost, studio.workspace), f"{stage} was killed, and it had nothing in its hands"
        assert await running.dead() == dead


# -- servers that are away

# Each answers from one stage's database, or writes to it.
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/requests", {"json": ask(), "headers": {"Idempotency-Key": "while it is away"}}),
    ("POST", "/v1/batches", {"content": sheet("while away", rows=1), "headers": {"Content-Type": "text/csv"}}),
    ("GET", "/v1/usage", {}),
    ("GET", "/v1/queue", {}),
    ("GET", "/v1/jobs", {}),
    ("GET", "/v1/assets", {}),
    ("GET", "/v1/publications", {}),
]


async def test_postgres_away_is_said_and_nothing_accepted_is_lost(running: Pipeline) -> None:
    """A service that has to start without it waits for it, and says so."""
    async with running.studio() as studio:
        dead = await running.dead()
        await studio.send_file("before", rows=15)
        await running.until(LEASES.format("inference"))
        async with running.without("postgres"):
            for method, path, content in ASKED:
                assert_says_when_to_come_again(await studio.admin.request(method, path, **content))
            await studio.order("meanwhile", requests=5)  # Kafka holds it
            await running.signal("publisher", signal.SIGKILL)
            await until_all_wait_for(running, "postgres", stages=STAGES_WITH_DATABASE)
        await all_of_it_arrives(studio, requests=20, dead=dead)


async def test_a_postgres_that_answers_nothing_delays_and_loses_nothing(running: Pipeline) -> None:
    """Worse than one that is away: connections stay open, nothing ever comes back on them, and still all can stop."""
    async with running.studio() as studio:
        dead = await running.dead()
        await studio.send_file("before", rows=15)
        await running.until(LEASES.format("inference"))
        with running.frozen("postgres"):
            asking = asyncio.create_task(studio.admin.request(*ASKED[0][:2], **ASKED[0][2]))
            await until_all_wait_for(running, "postgres", stages=STAGES_WITH_DATABASE)
            assert not asking.done()
        assert (await asking).status_code == 202
        with running.frozen("postgres"):
            again = asyncio.create_task(studio.submit("as everything ends"))
            await running.all_end()
        await again
        await all_of_it_arrives(studio, requests=17, dead=dead)


@pytest.mark.parametrize("mute", [["kafka"], ["kafka", "postgres"]], ids="+".join)
async def test_servers_that_answer_nothing_keep_no_process(running: Pipeline, mute: list[str]) -> None:
    async with running.studio() as studio:
        dead = await running.dead()
        await studio.send_file("before", rows=15)
        await running.until(LEASES.format("inference"))
        with ExitStack() as frozen:
            for name in mute:
                frozen.enter_context(running.frozen(name))
            await running.all_end()
        await all_of_it_arrives(studio, requests=15, dead=dead)


async def test_kafka_away_is_said_and_nothing_accepted_is_lost(running: Pipeline) -> None:
    """What is committed is accepted, and waits in the outbox; a service that has to start without Kafka waits too."""
    async with running.studio() as studio:
        dead = await running.dead()
        await studio.send_file("before", rows=15)
        await running.until(LEASES.format("inference"))
        async with running.without("kafka"):
            await studio.submit_all([f"meanwhile {number}" for number in range(5)])
            assert studio.refused == 0
            await running.signal("publisher", signal.SIGKILL)
            await until_all_wait_for(running, "kafka", stages=STAGES)
        await all_of_it_arrives(studio, requests=20, dead=dead)


async def test_the_object_store_away_is_said_and_nothing_accepted_is_lost(running: Pipeline) -> None:
    """What needs no bytes goes on; what does waits, and a file that cannot be served now is not called missing."""
    async with running.studio() as studio:
        dead = await running.dead()
        await studio.submit("before")
        await studio.approve(1)
        (asset,) = await studio.every("/v1/assets", "assets")
        (file, *_) = (await studio.call("GET", f"/v1/assets/{asset['asset_id']}"))["files"]
        await studio.send_file("at work", rows=15)
        await running.until(LEASES.format("inference"))
        with running.without_store():
            assert_says_when_to_come_again(await studio.admin.get(f"/v1/files/{file['file_id']}"))
            assert_says_when_to_come_again(await studio.admin.request(*ASKED[1][:2], **ASKED[1][2]))
            await studio.submit_all([f"meanwhile {number}" for number in range(4)])
            assert studio.refused == 0
            await until_all_wait_for(running, "object store", stages=STAGES)
        await all_of_it_arrives(studio, requests=20, dead=dead)


async def until_all_wait_for(running: Pipeline, dependency: str, *, stages: tuple[str, ...]) -> None:
    """Every stage that needs it says that it is not ready, and why.

    One that was killed says so when it has started, after its keeper's pause: that has grown if it was killed before.
    """

    async def told() -> bool:
        async with running.client() as client:
            answers = await asyncio.gather(*(client.get(f"/v1/stages/{stage}/readyz") for stage in stages))
        told = [answer.json().get("dependencies", {}) for answer in answers if answer.status_code == 503]
        return [stage_told.get(dependency, "ok") != "ok" for stage_told in told] == [True] * len(stages)

    await eventually(told, within=90)


async def all_of_it_arrives(studio: Studio, *, requests: int, dead: int) -> None:
    """Without a hand, and as if nothing had been."""
    await studio.pipeline.all_ready()
    await studio.finish(requests)
    await assert_each_once(studio, requests=requests, jobs=requests)
    assert await studio.pipeline.dead() == dead


SQUARE = {"kind": "recipe", "name": "web", "version": 2, "owner": "tests", "channel": "web"}
SQUARE |= {"renditions": [{"name": "24", "width": 24, "height": 24}]}


async def test_killed_while_a_recipe_is_run_again_each_asset_has_one_new_version_and_it_is_served(
    running: Pipeline,
) -> None:
    async with running.studio() as studio:
        await studio.submit("winter", variants=30)
        await studio.finish(30)
        await studio.call("POST", "/v1/library", json={"documents": [SQUARE]})
        known = (
            "select count(*) > 0 from catalog.library_items where workspace = $1 and kind = 'recipe' and version = 2"
        )
        await running.until(known, studio.workspace)
        asked = {"recipes": ["web@2"], "every": True}
        assert len((await studio.call("POST", "/v1/assets/rerun", json=asked))["requested"]) == 30
        async with running.killed_with(LEASES, "postprocess"):
            assert (await studio.call("POST", "/v1/assets/rerun", json=asked))["requested"] == []
        await studio.approve(30)
        async with running.killed_with(LEASES, "publisher"):
            pass

        async def served() -> bool:
            states = Counter(p["state"] for p in await studio.every("/v1/publications", "publications"))
            return states == {"superseded": 30, "delivered": 30} and await running.lag() == 0

        await eventually(served, within=90)
        facts = await facts_of(studio)
        counted = facts.count()
        assert [counted[name] for name in ("ImageProcessed", "AssetPublished", "AssetApproved")] == [60, 60, 60]
        assert [counted[name] for name in ("DerivativesRequested", "AssetSuperseded", "ImageGenerated")] == [30, 30, 30]
        assert not counted["JobFailed"] + counted["DerivativesFailed"]
        assert counted["RequestCompleted"] == 1, "the job's end is the first version's"
        assert {event_id: told for event_id, told in facts.bodies.items() if len(told) > 1} == {}
        assert await studio.statuses() == {"approved": 30}
