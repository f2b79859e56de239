"""What is broken beside the load of a trial, at the moment that matters: by what stands in the tables, not by time."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.topics import TOPICS
from tests.faults.link import Passage
from tests.faults.load.ledgers import Ledgers
from tests.faults.load.library import SIDES
from tests.faults.load.replaying import Replayer
from tests.faults.load.rerunning import Rerunner
from tests.faults.store_link import Trouble
from tests.faults.topics import admin
from tests.faults.world import BUCKET

if TYPE_CHECKING:
    from tests.faults.mutants.trial import Trial

Strike = Callable[["Trial"], Coroutine[Any, Any, None]]
SOON = 90.0  # seconds that a moment is waited for; where it does not come nothing is struck, and the trial says so
SLOW_FOR = 15.0  # seconds
HELD = "select count(*) from inference.work where holder is not null"
ORDERED = """select count(*) from inference.attempts
    where state = 'started' and backend = 'replicate' and provider_request_id is not null"""
MADE_BY_STABILITY = """select asset_id, workspace from catalog.assets
    join inference.attempts using (job_id, workspace) where backend = 'stability' and attempts.state = 'succeeded'"""
ACCEPTED = "select count(*) from intake.requests where state = 'accepted'"


class NothingStruck(Exception):
    """The moment never came."""


async def until(trial: "Trial", question: str, *, least: int = 1, within: float = SOON) -> None:
    async with asyncio.timeout(within):
        while (await trial.count(question)) < least:
            await asyncio.sleep(0.05)


async def postgres_restarts(trial: "Trial") -> None:
    """While much is on its way."""
    await until(trial, ACCEPTED, least=8)
    await trial.world.take_away("postgres", signal.SIGINT)
    await asyncio.sleep(1.5)
    await trial.world.bring_back("postgres")


async def postgres_is_slow(trial: "Trial") -> None:
    """On every other connection, so that transactions overlap and one that began first commits last."""
    slow: dict[Passage, float] = {}
    until_then = time.monotonic() + SLOW_FOR
    try:
        while time.monotonic() < until_then:
            for passage in trial.world.postgres_link.passages:
                passage.delay = slow.setdefault(passage, 0.25 * (len(slow) % 2))
            await asyncio.sleep(0.02)
    finally:
        for passage in slow:
            passage.delay = 0.0


async def keys_are_made(trial: "Trial") -> None:
    """In both workspaces at once: what is told of two workspaces shares no lock."""
    until_then = time.monotonic() + SLOW_FOR
    while time.monotonic() < until_then:
        asked = {"principal": "somebody", "roles": ["reader"]}
        await asyncio.gather(
            *(person.call("POST", "/v1/keys", json=asked) for person in trial.people for _ in range(3))
        )


async def store_takes_nothing(trial: "Trial") -> None:
    """While pictures are made."""
    trial.world.store_link.trouble = Trouble(full=True)
    try:
        await until(trial, HELD)
        await asyncio.sleep(SLOW_FOR)
    finally:
        trial.world.store_link.trouble = Trouble()


async def dead_letters_are_refused(trial: "Trial") -> None:
    """Now and then the broker takes no record of any size on the dead-letter topics, between others that it took."""
    try:
        for _ in range(6):
            await _largest_dead_letter(trial, 2 * 1024 * 1024)
            await asyncio.sleep(1)
            await _largest_dead_letter(trial, 60)
            await asyncio.sleep(1)
    finally:
        await _largest_dead_letter(trial, 2 * 1024 * 1024)


async def _largest_dead_letter(trial: "Trial", size: int) -> None:
    names = [f"{trial.world.prefix}{topic.name}.dlq" for topic in TOPICS]
    changed = [
        ConfigResource(ConfigResourceType.TOPIC, name, configs={"max.message.bytes": str(size)}) for name in names
    ]
    async with admin(trial.world) as client:
        await client.alter_configs(changed)


async def inference_stands_still(trial: "Trial") -> None:
    """In a call, with its lease in its hands, until another process has taken it over; then it goes on."""
    world = trial.world
    await until(trial, f"{HELD} and kind like 'openai%'")
    pid = world.members["inference"].pid
    assert pid is not None
    os.killpg(pid, signal.SIGSTOP)
    try:
        other = await world.join("inference")
        await other.ready()
        await asyncio.sleep(2 * world.scale.lease)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)


async def inference_dies_in_a_call(trial: "Trial") -> None:
    """The provider has billed it and has not answered yet; more than once, for one call may be of a cancelled job."""
    member = trial.world.members["inference"]
    charges = trial.world.ledgers / "acme" / "charges.jsonl"
    for many in (1, 4, 7):
        async with asyncio.timeout(SOON):
            while not charges.exists() or charges.read_bytes().count(b"\n") < many:
                await asyncio.sleep(0.02)
        await member.kill()


async def inference_dies_in_a_replay(trial: "Trial") -> None:
    """An image is being made again, for which the provider has billed and not answered yet."""
    await until(trial, f"select count(*) from ({MADE_BY_STABILITY}) made")
    (row,) = await trial.rows(f"{MADE_BY_STABILITY} limit 1")
    await trial.world.script("stability", {"weights": {"slow": 1}, "slow_seconds": 3.0})
    charges = trial.world.ledgers / "stability" / "charges.jsonl"
    with contextlib.closing(Ledgers(trial.seen.ledgers)) as ledgers:
        replayer = Replayer(trial.person(row["workspace"]), ledgers, seed=1)
        async with asyncio.timeout(SOON):
            while (replay := await replayer.again(str(row["asset_id"]))) is None:
                await asyncio.sleep(0.2)  # its manifest is not known yet
            while replay.encode() not in charges.read_bytes():
                await asyncio.sleep(0.02)
    await trial.world.members["inference"].kill()


async def inference_dies_beside_predictions(trial: "Trial") -> None:
    """They are ordered and named, and not over: whoever comes next asks for them."""
    await until(trial, ORDERED, least=2)
    await trial.world.members["inference"].kill()


async def cancelled_while_prompts_stand_still(trial: "Trial") -> None:
    """Everybody has heard of the cancels before anybody hears of the jobs."""
    world = trial.world
    pid = world.members["prompt"].pid
    assert pid is not None
    os.killpg(pid, signal.SIGSTOP)
    try:
        await until(trial, ACCEPTED, least=12)
        rows = await trial.rows("select request_id, workspace from intake.requests where state = 'accepted' limit 8")
        for row in rows:
            await trial.person(row["workspace"]).call("POST", f"/v1/requests/{row['request_id']}/cancel", json={})
        told = "select count(*) from catalog.ledger where type = 'CancelRequested'"
        await until(trial, told, least=len(rows))
        await asyncio.sleep(3)  # so that the oracle need not trust two clocks
    finally:
        os.killpg(pid, signal.SIGCONT)


async def decided_is_cancelled(trial: "Trial") -> None:
    """In the undo window of a decision."""
    done: set[Any] = set()
    while len(done) < 6 and not (trial.asked.is_set() and trial.is_quiet):
        for row in await trial.rows("select job_id, request_id, workspace from catalog.decisions where state = 'open'"):
            if row["job_id"] not in done and len(done) < 6:
                done.add(row["job_id"])
                asked = {"job_id": str(row["job_id"])}
                person = trial.person(row["workspace"])
                await person.call("POST", f"/v1/requests/{row['request_id']}/cancel", json=asked)
        await asyncio.sleep(0.1)
    if not done:
        raise NothingStruck("nobody decided")


async def failed_are_started_again(trial: "Trial") -> None:
    """Once what made them fail is over."""
    failed = "select count(*) from catalog.jobs where rank = 4 and run = 1"
    await trial.asked.wait()
    await until(trial, failed, within=SOON)
    await trial.world.script("acme", {"weights": {"ok": 1}})
    await asyncio.sleep(2)
    for person in trial.people:
        await person.json("POST", "/v1/jobs/retry", json={"every": True, "limit": 500})
    await until(trial, "select count(*) from catalog.ledger where type = 'JobRetried'")


async def approved_are_made_anew(trial: "Trial") -> None:
    """By a newer recipe, each asked for twice at once."""
    approved = "select asset_id from catalog.assets join catalog.jobs using (job_id) where rank = 6"
    person = trial.people[0]
    few = f"{approved} and assets.workspace = '{person.workspace}' limit 5"
    await until(trial, f"select count(*) from ({few}) few", least=5)
    with contextlib.closing(Ledgers(trial.seen.ledgers)) as ledgers:
        rerunner = Rerunner(person, ledgers, seed=1)
        await rerunner.publish()
        some = [str(row["asset_id"]) for row in await trial.rows(few)]
        promised = set(await rerunner.again(some, version=max(SIDES), twice=True))
    if not promised:
        raise NothingStruck("nothing was to be made anew")
    await until(trial, "select count(*) from catalog.assets where supersedes is not null", least=len(promised))


async def a_template_is_missing(trial: "Trial") -> None:
    """In the store, until its requests have become dead letters."""
    buckets = trial.world.root / "store" / "buckets" / BUCKET
    documents = [path for path in buckets.glob("ws/*/library/*.json") if b'"variables"' in path.read_bytes()]
    if not documents:
        raise NothingStruck("no template lies in the store")
    aside = [(path, path.with_suffix(".aside")) for path in documents]
    for path, away in aside:
        path.rename(away)
    try:
        await until(trial, "select count(*) from catalog.dead_letters where consumer_group = 'prompt'", least=4)
    finally:
        for path, away in aside:
            away.rename(path)


STRIKES: dict[str, Strike] = {
    strike.__name__: strike
    for strike in (
        postgres_restarts,
        postgres_is_slow,
        keys_are_made,
        store_takes_nothing,
        dead_letters_are_refused,
        inference_stands_still,
        inference_dies_in_a_call,
        inference_dies_in_a_replay,
        inference_dies_beside_predictions,
        cancelled_while_prompts_stand_still,
        decided_is_cancelled,
        failed_are_started_again,
        approved_are_made_anew,
        a_template_is_missing,
    )
}
