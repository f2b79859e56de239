"""Work that no live process claims: it waits its while, goes elsewhere or ends, and is never forgotten."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.inference import unclaimed
from services.inference.standing import queries as standing
from services.inference.unclaimed import Unclaimed
from shared.events import JobFailed, Lane
from shared.library.documents import Backend, RouteRule, Routes
from shared.outbox import Outbox
from shared.postgres import transaction
from tests.inference.prompts import assembled, routes
from tests.live.calling import Scene
from tests.live.queueing import KIND, Queue, table
from tests.live.stage import eventually

NOBODY: Any = None  # is sent anything: what leaves lies in the outbox
BACKENDS = "select subject, kind, ready_at is not null as waits, outcome from work"


def watch(queue: Queue, patience: float = 600.0) -> Unclaimed:
    return Unclaimed(Outbox(queue.pool, NOBODY), queue.tables, patience=patience)


async def pass_by(queue: Queue, seconds: float) -> None:
    """As if so long had gone by while somebody looked."""
    ago = timedelta(seconds=seconds)
    await queue.pool.execute("update unclaimed set since = since - $1::interval", ago)
    await queue.pool.execute("update work set created_at = created_at - $1::interval", ago)


async def told(queue: Queue) -> list[JobFailed]:
    rows = await queue.pool.fetch("select body from outbox order by id")
    return [JobFailed.model_validate_json(row["body"]) for row in rows]


def two(other: str = "dedicated") -> Routes:
    """What `table` has, and after it one of another pool."""
    first = table().backends[0]
    second = Backend(name="second", kind="proof", visibility="private", pool=other)
    rules = [RouteRule(id="any", lane=Lane.DEDICATED, backends=["local", "second"])]
    return Routes(name="routes", version=2, owner="platform", backends=[first, second], rules=rules)


async def test_it_waits_its_while_and_then_ends_and_says_what_is_missing(queue: Queue) -> None:
    await queue.found()
    event = assembled()
    await queue.put(event)
    watching = watch(queue)
    await watching.look()
    hold = (await queue.places(event))[event.job_id].hold
    assert hold is not None and hold.until is not None
    assert timedelta(seconds=590) < hold.until - hold.since < timedelta(seconds=610)
    assert "after that it goes to another backend that its rule names, or ends as unroutable" in hold.words
    await pass_by(queue, 590)
    await watching.look()
    assert not await told(queue), "not before its while is over"
    await pass_by(queue, 11)
    await watching.look()
    (failed,) = await told(queue)
    assert (failed.job_id, failed.reason, failed.attempts) == (event.job_id, "unroutable", [])
    assert f"no process has claimed {KIND} since" in (failed.detail or "")
    assert "start one: inference with the role work" in (failed.remedy or "")
    assert failed.refused == {"local": f"no process claims {KIND}"}
    (row,) = await queue.pool.fetch(BACKENDS)
    assert (row["waits"], row["outcome"]) == (False, "unroutable")
    await watching.look()
    assert len(await told(queue)) == 1
    assert not await queue.pool.fetchval("select count(*) from unclaimed")


async def test_who_came_late_has_its_own_while_and_one_whose_worker_comes_back_stays(queue: Queue) -> None:
    await queue.found()
    await queue.put(early := assembled())
    watching = watch(queue)
    await watching.look()
    await pass_by(queue, 601)
    await queue.put(late := assembled())
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=[KIND], slots=2)
    await watching.look()
    assert not await told(queue), "somebody claims it"
    await queue.pool.execute("update claimers set seen_at = seen_at - interval '1 day'")
    await watching.look()
    assert not await told(queue), "it begins anew"
    await queue.pool.execute("update unclaimed set since = since - interval '601 seconds'")
    await watching.look()
    assert [failed.job_id for failed in await told(queue)] == [early.job_id]
    assert (await queue.places(late))[late.job_id].hold is not None


async def test_an_outage_of_everybody_who_looks_ends_nothing(queue: Queue) -> None:
    await queue.found()
    await queue.put(assembled())
    watching = watch(queue)
    await watching.look()
    await pass_by(queue, 7200)
    await queue.pool.execute("update unclaimed set looked_at = looked_at - interval '2 hours'")
    await watching.look()
    assert not await told(queue)


async def test_it_goes_to_what_is_claimed_and_a_deadline_holds_before_all(queue: Queue) -> None:
    await queue.found(by=two())
    await queue.put(moves := assembled(), expires := assembled())
    deadline = "update work set deadline = clock_timestamp() where job_id = $1"
    await queue.pool.execute(deadline, expires.job_id)
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=["proof/dedicated"], slots=2)
    watching = watch(queue)
    await watching.look()
    assert [(failed.job_id, failed.reason) for failed in await told(queue)] == [(expires.job_id, "expired")]
    await pass_by(queue, 601)
    await watching.look()
    assert len(await told(queue)) == 1
    (row,) = [row for row in await queue.pool.fetch(BACKENDS) if row["waits"]]
    assert (row["subject"], row["kind"]) == ("second", "proof/dedicated")
    (taken,) = await queue.drain(queue.worker(kinds=["proof/dedicated"]))
    assert (taken.job_id, taken.losses) == (moves.job_id, 0)
    await watching.look()


@pytest.mark.parametrize(
    ("kind", "reason", "state"),
    [(KIND, "backend_unavailable", "uncertain"), ("proof/standard", "unroutable", "failed")],
)
async def test_what_a_dead_worker_held_ends_too_and_a_call_that_may_be_billed_is_said_to_be_uncertain(
    queue: Queue, kind: str, reason: str, state: str
) -> None:
    await queue.found(by=table() if kind == KIND else routes("proof"))
    await queue.put(event := assembled())
    (lease,) = await queue.drain(queue.worker(kinds=[kind]))
    watching = watch(queue)
    await watching.look()
    await pass_by(queue, 601)
    await watching.look()
    assert not await told(queue), "its lease runs: somebody may be at work"
    await queue.pool.execute("update work set ready_at = clock_timestamp() - interval '1 second'")
    await watching.look()
    (failed,) = await told(queue)
    assert (failed.job_id, failed.reason) == (event.job_id, reason)
    (attempt,) = failed.attempts
    assert (attempt.state, attempt.cost, attempt.number) == (state, None, lease.epoch)


async def test_the_service_ends_it_by_itself_and_names_backends_that_nobody_works_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_UNCLAIMED_SECONDS", "1")
    monkeypatch.setattr(unclaimed, "LOOK_EVERY", 0.2)
    async with scene.service("inference", "consume,http") as inference:
        await scene.begin(inference)
        event = assembled()
        await scene.send(inference, event)
        async with scene.client(inference, scene.reader) as rita:
            (backend,) = (await rita.get("/v1/backends")).json()["backends"]
            assert (backend["work"], backend["claimed"]) == ("openai/standard/acme", False)
            assert "urgent" in backend["rules"]
        (failed,) = await scene.said(JobFailed)
        assert (failed.job_id, failed.reason, failed.attempts) == (event.job_id, "unroutable", [])
    async with scene.service("inference") as inference:
        async with scene.client(inference, scene.reader) as rita:
            (backend,) = (await rita.get("/v1/backends")).json()["backends"]
            assert backend["claimed"]
        await scene.send(inference, again := assembled())
        await eventually(lambda: made(inference.database, again.job_id))
    assert len(scene.provider.charges()) == 1


async def made(pool: Any, job: UUID) -> bool:
    return bool(await pool.fetchval("select count(*) from work where job_id = $1 and outcome = 'made'", job))
