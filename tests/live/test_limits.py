"""Caps of money and limits of calls, over several workers' claims on a real Postgres; nobody is called."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.inference import http, replays, telling
from services.inference.app import build
from services.inference.domain import PREFIX, Job
from services.inference.limits import ClaimLimits, Limit
from services.inference.permits import Permits
from services.inference.presence import Presence
from services.inference.queue import queries
from services.inference.replaying import Order
from services.inference.settings import InferenceSettings
from services.inference.standing import queries as standing
from services.inference.tables import RoutingTables
from shared import identity
from shared.events import Parameters, Priority, PromptAssembled, WaitingOn
from shared.leases import NewWork, Worker, enqueue
from shared.library.documents import Rate
from shared.postgres import Connection, transaction
from shared.service import open_service
from tests.inference.listening import Heard
from tests.inference.prompts import WORKSPACE, assembled, routes
from tests.live.queueing import DATABASES, KIND, OTHER, Queue, table
from tests.live.stage import eventually
from tests.servers.provider import Provider


async def test_a_cap_holds_exactly_however_many_processes_claim_at_once(queue: Queue) -> None:
    await queue.found(cap="1.00")
    await queue.found(workspace=OTHER)
    await queue.put(*(assembled() for _ in range(40)), *(assembled(workspace=OTHER) for _ in range(10)))
    workers = [queue.worker() for _ in range(4)]
    taken = await queue.drain(*workers)
    assert Counter(lease.workspace for lease in taken) == {WORKSPACE: 25, OTHER: 10}, "25 at 0.04 are 1.00"
    assert sorted(await queue.spent()) == [("0", "0.40"), ("0", "1.00")]

    await queue.found(cap="1.10")
    assert len(await queue.drain(*workers)) == 2, "as soon as the cap is raised"
    await queue.pool.execute("update spend set day = day - 1")
    assert len(await queue.drain(*workers)) == 13, "as soon as the day turns"


async def test_what_a_call_cost_takes_the_place_of_what_was_set_aside_and_what_nobody_knows_stays_spent(
    queue: Queue,
) -> None:
    await queue.found(cap="0.12")
    await queue.put(*(assembled() for _ in range(9)))
    claims = queue.worker()
    first, second, third = await queue.drain(claims)
    await queue.end(claims, first, cost="0")
    await queue.end(claims, second, cost="0.03")
    await queue.end(claims, third, cost=None)
    assert await queue.spent() == [("0.03", "0.04")]
    (more,) = await queue.drain(claims)
    await queue.end(claims, more, cost="0.04")
    assert await queue.spent() == [("0.07", "0.04")]
    assert not await queue.drain(claims), "0.11 of 0.12 are gone, and a picture takes 0.04"
    known = await queue.pool.fetchval("select attempt_id from attempts where state = 'uncertain'")
    async with transaction(queue.pool) as connection:
        found = queries.settle_uncertain(
            connection, ids=[known], states=["failed"], costs=[Decimal(0)], currencies=["USD"],
            provider_ids=[None], price_lists=[None], latencies=[None], by="mara", note=None,
        )  # fmt: skip
        assert [row async for row in found]
    assert len(await queue.drain(claims)) == 1, "a person found that it was not billed"


async def test_what_its_worker_lost_is_taken_up_whatever_the_cap_and_begins_anew_only_within_it(queue: Queue) -> None:
    """A local backend with a price: nobody else bills, so what was lost is simply made again, where there is money."""
    by = routes("proof", price="0.50")
    await queue.found(cap="0.50", by=by)
    await queue.put(assembled())
    claims = queue.worker(kinds=["proof/standard"])
    (lease,) = await queue.drain(claims)
    await queue.pool.execute("update work set ready_at = clock_timestamp() - interval '1 second'")
    assert not await queue.drain(claims)
    (row,) = await queue.pool.fetch("select holder, losses, ready_at is not null as waits from work")
    assert tuple(row) == (None, 1, True)
    assert await queue.pool.fetchval("select state from attempts") == "failed"
    assert await queue.spent() == [("0", "0.50")], "what it cost nobody knows"
    await queue.found(cap="1.00", by=by)
    (again,) = await queue.drain(claims)
    assert (again.work_id, again.epoch) == (lease.work_id, 3)


async def test_a_held_job_says_what_holds_it_since_when_until_when_and_what_helps(queue: Queue) -> None:
    await queue.found(cap="0.05")
    events = [assembled() for _ in range(2)]
    await queue.put(*events)
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=[KIND], slots=2)
    (taken,) = await queue.drain(queue.worker())
    ((job, place),) = (await queue.places(*events)).items()
    assert job != taken.job_id
    hold = place.hold
    assert hold is not None and place.position is None
    assert hold.waiting_on is WaitingOn.CAP
    assert hold.who == "the spend cap of 0.05 USD a day: 0.04 is spent or set aside, and this takes 0.04"
    assert hold.until is not None and hold.until > hold.since
    assert (hold.until.hour, hold.until.minute) == (0, 0)
    assert "calotype workspace limit" in (hold.remedy or "")

    await queue.found(cap="0.01")
    hold = next(iter((await queue.places(*events)).values())).hold
    assert hold is not None and hold.until is None
    assert "fits on no day" in hold.who


async def test_the_first_of_a_held_flow_are_told_so_once_and_again_when_they_are_let_go(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PATIENCE", 0.0)
    await queue.found(cap="0.05")
    events = [assembled() for _ in range(3)]
    await queue.put(*events)
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=[KIND], slots=2)
    (taken,) = await queue.drain(queue.worker())
    heard: Any = Heard()
    told = telling.Telling(queue.pool, heard, kinds=[KIND], tables=queue.tables, accounts={})
    await told.look()
    await told.look()
    waiting = {event.job_id for event in events} - {taken.job_id}
    assert {(state.piece.job.event.job_id, state.waiting_on) for state in heard.told} == {
        (job, WaitingOn.CAP) for job in waiting
    }
    assert len(heard.told) == 2, "what was told is not told again"
    assert "the spend cap of 0.05 USD a day" in heard.told[0].detail
    held_back, spend = await http._held_back(queue.pool, WORKSPACE, [KIND], tables=queue.tables, accounts={})
    assert [(each.backend, each.waiting_on) for each in held_back] == [("local", WaitingOn.CAP)]
    assert spend is not None
    assert (spend.cap, spend.spent[0].settled, spend.spent[0].reserved) == ("0.05", "0", "0.04")

    await queue.found(cap="9")
    await told.look()
    assert [state.waiting_on for state in heard.told[2:]] == [WaitingOn.WORKER] * 2


async def test_a_job_that_nobody_claims_has_no_place_and_says_so(queue: Queue) -> None:
    await queue.found()
    event = assembled()
    await queue.put(event)
    (place,) = (await queue.places(event)).values()
    assert place.hold is not None and place.position is None
    assert (place.hold.waiting_on, place.hold.who) == (WaitingOn.WORKER, f"no worker claims {KIND}")
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=[KIND], slots=2)
    (place,) = (await queue.places(event)).values()
    assert (place.hold, place.position) == (None, 1)


async def test_a_place_counts_the_turns_of_others_and_its_start_the_pace_and_the_slots(queue: Queue) -> None:
    await queue.found()
    await queue.found(workspace=OTHER)
    theirs = [assembled(workspace=OTHER) for _ in range(50)]
    mine = [assembled() for _ in range(3)]
    await queue.put(*theirs)
    await queue.put(*mine)
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=[KIND], slots=2)
        await pace(connection, {WORKSPACE: 10.0})
    found = await queue.places(*mine)
    assert sorted(place.position or 0 for place in found.values()) == [2, 4, 6], "one of theirs before each of mine"
    assert sorted(place.starts_in_seconds or 0 for place in found.values()) == [10.0, 20.0, 30.0]
    await queue.put(urgent := assembled(priority=Priority.HIGH))
    assert (await queue.places(urgent))[urgent.job_id].position == 1, "a lane of its own"


async def pace(connection: Connection, seconds: dict[UUID, float], *, of: PromptAssembled | None = None) -> None:
    """That pictures like this one take so long in these workspaces."""
    job = Job(event=of or assembled(), asset_id=UUID(int=1), cause_id=UUID(int=2), model="m")
    await standing.keep_paces(
        connection,
        workspaces=list(seconds),
        backends=["local"] * len(seconds),
        sorts=[job.sort] * len(seconds),
        seconds=list(seconds.values()),
    )


async def test_a_start_is_estimated_by_what_each_of_those_before_takes(queue: Queue) -> None:
    """A slow and a fast size of one backend, and another workspace of which nothing was made yet."""
    await queue.found()
    await queue.found(workspace=OTHER)
    large = Parameters(width=512, height=512, steps=40, guidance=5.0)
    slow, fast, last = assembled(parameters=large), assembled(), assembled()
    for event in (slow, fast, last):
        await queue.put(event)
    async with transaction(queue.pool) as connection:
        await standing.seen(connection, holder="h", kinds=[KIND], slots=1)
        await pace(connection, {WORKSPACE: 60.0}, of=slow)
        await pace(connection, {WORKSPACE: 2.0})
    found = await queue.places(slow, fast, last)
    assert [(found[e.job_id].position, found[e.job_id].starts_in_seconds) for e in (slow, fast, last)] == [
        (1, 60.0), (2, 62.0), (3, 64.0),
    ]  # fmt: skip
    await queue.put(assembled(workspace=OTHER))
    place = (await queue.places(last))[last.job_id]
    assert (place.position, place.starts_in_seconds) == (4, 66.0), "of an unknown pace: as long as one's own"
    assert await queue.pool.fetchval("select count(*) from paces") == 2
    await queue.pool.execute("update paces set measured_at = measured_at - interval '31 days'")
    async with transaction(queue.pool) as connection:
        await pace(connection, {WORKSPACE: 4.0})
    assert [row["seconds"] for row in await queue.pool.fetch("select seconds from paces")] == [3.0]
    place = (await queue.places(slow))[slow.job_id]
    assert place.starts_in_seconds == 6.0, "of its own sort nothing is known any more: as others of its backend"


async def test_a_rate_is_kept_by_all_processes_together_and_holds_up_nobody_else(queue: Queue) -> None:
    await queue.found(by=table(rate={"per_minute": 60, "burst": 2}))
    await queue.found(workspace=OTHER)
    await queue.put(*(assembled() for _ in range(9)), *(assembled(workspace=OTHER) for _ in range(9)))
    workers = [queue.worker() for _ in range(3)]
    many = Counter(lease.workspace for lease in await queue.drain(*workers, many=3))
    assert many[OTHER] == 9
    assert 2 <= many[WORKSPACE] <= 4, "two at once and one for each second that went by"
    assert any(0 < (worker._limits.due_in or 0) <= 1 for worker in workers)
    await queue.pool.execute("update meters set counted_at = counted_at - interval '1 hour'")
    assert len(await queue.claim(workers[0])) == 2, "no more than the burst, however long nobody called"


async def test_calls_at_once_are_counted_over_processes_and_an_account_s_over_workspaces(queue: Queue) -> None:
    await queue.found(by=table(concurrency=3))
    await queue.found(workspace=OTHER)
    await queue.put(*(assembled() for _ in range(9)), *(assembled(workspace=OTHER) for _ in range(9)))
    workers = [queue.worker(accounts={"acme": Limit(at_once=5)}) for _ in range(3)]
    taken = await queue.drain(*workers, many=2)
    assert len(taken) == 5
    assert Counter(lease.workspace for lease in taken)[WORKSPACE] <= 3
    one = next(lease for lease in taken if lease.workspace == WORKSPACE)
    holder = next(worker for worker in workers if one.work_id in worker._desk._pieces)
    await queue.end(holder, one, cost="0.04")
    assert len(await queue.drain(*workers)) == 1, "one ended, one begins"


async def test_slots_that_are_kept_are_the_dedicated_lane_s_however_much_else_waits(queue: Queue) -> None:
    await queue.found(by=routes("proof", price="0"))
    await queue.put(*(assembled(priority=Priority.LOW) for _ in range(20)))
    claims = queue.worker(kinds=["proof/standard"])
    claims.worker.concurrency, claims.worker.kept = 10, 2
    bulk = await queue.claim(claims, 10)
    assert len(bulk) == 8
    claims.worker.held |= {lease.work_id: lease for lease in bulk}
    assert not await queue.claim(claims, 2)
    await queue.put(*(assembled(priority=Priority.HIGH) for _ in range(3)))
    assert [lease.lane for lease in await queue.claim(claims, 2)] == ["dedicated"] * 2
    bulk[0].occupies = False
    assert len(await queue.claim(claims, 1)) == 1, "what is made and only to be kept has left its slot"


async def test_jobs_beyond_the_cap_wait_say_so_and_are_made_as_soon_as_it_is_raised(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service as it is built, but for Kafka, which has no part in this."""
    with Provider(tmp_path / "ledgers") as provider:
        for name, value in {
            "DATABASE_URL": DATABASES[0],
            "CALOTYPE_BLOBS_URL": (tmp_path / "blobs").as_uri(),
            "CALOTYPE_SESSION_SECRET": "of the live tests, long enough",
            "CALOTYPE_PROOF_CHILDREN": "0",
            "CALOTYPE_PROVIDERS": json.dumps({"acme": {"url": provider.url, "key": "sk-test"}}),
        }.items():
            monkeypatch.setenv(name, value)
        service = await open_service("inference", InferenceSettings(), roles=frozenset({"work", "http"}))
        await build(service)
        key = identity.new_key()
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=service.app),
            base_url="http://inference",
            headers={"Authorization": f"Bearer {key.token}"},
        )
        presence = next(part for part in service.parts if isinstance(part, Presence))
        await queue.found(cap="0.08", key=key)
        events = [assembled() for _ in range(5)]
        await queue.put(*events)
        await presence.start()
        await asyncio.gather(*(worker.start() for worker in service.workers))
        try:
            made = "select count(*) from work where outcome = 'made'"
            await eventually(lambda: queue.pool.fetchval(f"{made} having count(*) = 2"))
            said = (await client.get("/v1/queue")).json()
            assert [(each["backend"], each["waiting_on"]) for each in said["held_back"]] == [("local", "cap")]
            assert said["spend"] == {
                "cap": "0.08",
                "spent": [{"currency": "USD", "settled": "0.08", "reserved": "0.00"}],
            }
            asked = {"request": [str(event.request_id) for event in events]}
            places = (await client.get("/v1/queue/jobs", params=asked)).json()
            assert [(place["held"]["waiting_on"], place["position"]) for place in places] == [("cap", None)] * 3
            request = next(str(e.request_id) for e in events if str(e.job_id) == places[0]["job_id"])
            one = {"request": request, "job": places[0]["job_id"]}
            words = (await client.get("/v1/queue/words", params=one)).text
            assert words.startswith("In the queue it waits on cap: the spend cap of 0.08 USD a day")
            assert len(provider.charges()) == 2
            await queue.found(key=key)
            await eventually(lambda: queue.pool.fetchval(f"{made} having count(*) = 5"))
            assert (await client.get("/v1/queue/jobs", params=asked)).json() == []
        finally:
            await asyncio.gather(*(worker.stop(within=5) for worker in service.workers))
            await presence.stop()
            await service.database.close()
            await service.blobs.close()
        assert len(provider.charges()) == 5
        assert await queue.pool.fetchval("select sum(slots) from claimers") == 0


def test_a_bucket_fills_at_its_rate_to_its_burst() -> None:
    limit = Limit(rate=Rate(per_minute=30, burst=4))
    assert [limit.tokens(before, seconds) for before, seconds in ((None, 0), (0.0, 2), (1.5, 3), (3.5, 60))] == [
        4.0, 1.0, 3.0, 4.0,
    ]  # fmt: skip
    assert limit.tokens(2.0, -5.0) == 2.0, "a clock that is set back takes nothing away"


async def replaying(queue: Queue, number: int, accounts: dict[str, Limit]) -> replays.Claims:
    """A process's claims of replays, where one more waits."""
    order = Order(
        replay_id=UUID(int=number), asset_id=UUID(int=9), manifest_sha256="5a" * 32, kind="openai", backend="local",
        price=Decimal(0), call=table().backends[0].call,
    )  # fmt: skip
    kinds = [PREFIX + KIND]
    work = NewWork(
        work_id=order.replay_id, kind=kinds[0], workspace=WORKSPACE, lane="bulk", subject="local",
        payload=order.model_dump_json(),
    )  # fmt: skip
    async with transaction(queue.pool) as connection:
        await enqueue(connection, [work])
    tables = RoutingTables(kinds=["openai"], providers={"acme": "openai"})
    claims = replays.Claims(kinds, limits=ClaimLimits(tables, accounts=accounts), permitted=Permits(tables).replays)
    nothing: Any = None
    claims.worker = Worker(stage="inference", outbox=nothing, pool=queue.pool, kinds=kinds, exhausted=nothing)
    return claims


@pytest.mark.parametrize("whose", ["account", "backend"])
async def test_calls_at_once_are_jobs_and_replays_together(queue: Queue, whose: str) -> None:
    accounts = {"acme": Limit(at_once=2)} if whose == "account" else {}
    await queue.found(by=table(concurrency=2 if whose == "backend" else 256))
    await queue.put(*(assembled() for _ in range(3)))
    jobs = queue.worker(accounts=accounts)
    (first,) = await queue.claim(jobs, 1)
    again = [await replaying(queue, number, accounts) for number in (1, 2)]
    assert len(await queue.claim(again[0], 1)) == 1
    assert not await queue.claim(again[1], 1), "a job and a replay are two"
    assert not await queue.claim(jobs), "nor may another job"
    await queue.end(jobs, first, cost="0.04")
    assert len(await queue.claim(queue.worker(accounts=accounts))) == 1


async def test_an_account_that_was_away_is_asked_with_one_call_by_jobs_and_replays_of_every_pool(queue: Queue) -> None:
    await queue.found()
    await queue.put(assembled())
    claims = await replaying(queue, 1, {})
    (asking,) = await queue.claim(claims, 1)
    away = "insert into outages (account, failures, since, cause, probe_at) values ('acme', 3, now(), '', now())"
    await queue.pool.execute(away)
    assert not await queue.claim(queue.worker()), "somebody asks already"
    assert not await queue.claim(queue.worker(kinds=["openai/dedicated/acme", KIND]))
    await queue.pool.execute("update work set holder = null, ready_at = null where work_id = $1", asking.work_id)
    assert len(await queue.claim(queue.worker())) == 1
