"""A call that may have been billed: killed, frozen or stopped within, it is charged once, listed, and settled once."""

import asyncio
import json
import os
import signal
import sys
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from deploy.local.servers import EmbeddedServers
from services.intake.handler import Settled, settle
from shared import ids
from shared.events import (
    Attempt,
    AttemptSettled,
    AttemptState,
    ImageGenerated,
    JobFailed,
    PromptAssembled,
)
from shared.outbox import Transaction
from shared.postgres import open_pool, transaction
from shared.service import Service
from shared.topics import ATTEMPTS_SETTLED, JOBS_ENDED
from tests.inference.prompts import assembled
from tests.live.calling import Scene
from tests.live.stage import eventually, new_database


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
        worker, _ = inference.workers
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
