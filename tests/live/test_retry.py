"""A fresh start of what failed: begun once, counted, and ended by somebody even where nothing is left to make."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from deploy.local.servers import EmbeddedServers
from shared.events import (
    FailureReason,
    ImageGenerated,
    JobFailed,
    JobRetried,
    RequestAccepted,
    RequestCompleted,
    Stage,
)
from tests.catalog.facts import Request
from tests.inference.prompts import NOW, WORKSPACE, assembled
from tests.live.cataloguing import Catalog, catalog
from tests.live.intaking import Intake, intake_on, until
from tests.live.stage import eventually
from tests.live.test_inference import scripted
from tests.live.test_intake import attempt, ended


async def retry(running: Catalog, **asked: Any) -> dict[str, Any]:
    answer = await running.clients["otto"].post("/v1/jobs/retry", json=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def of_kind(running: Catalog, topic: str, kind: type[Any]) -> list[Any]:
    return [event for event in await running.said(topic) if isinstance(event, kind)]


async def test_what_failed_is_begun_again_once_and_its_request_is_open_until_it_ends(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request, other = Request(name="failed", variants=2), Request(name="elsewhere", campaign="spring")
        jobs, (apart,) = request.jobs, other.jobs
        facts = [fact for job in [*jobs, apart] for fact in (job.assembled(), job.failed())]
        await running.hear(request.accepted(), other.accepted(), *facts)

        async def completed() -> list[Any]:
            return await of_kind(running, "requests-completed.v1", RequestCompleted)

        assert len(await eventually(lambda: _count(completed, 2))) == 2
        where = {"campaign": "winter-home", "reason": "model_timeout", "stage": "inference", "backend": "proof"}
        wanted = {str(job.job_id) for job in jobs}
        assert set((await retry(running, where=where, dry_run=True))["retried"]) == wanted
        assert await running.sql("select count(*) from ledger where type = 'JobRetried'") == 0

        both = await asyncio.gather(retry(running, where=where), retry(running, where=where))
        begun = [job for answer in both for job in answer["retried"]]
        assert sorted(begun) == sorted(wanted), "asked twice at once, each is begun once"
        assert (await retry(running, where=where))["retried"] == []
        retried = await eventually(lambda: _count(lambda: of_kind(running, "jobs-ended.v1", JobRetried), 2))
        assert {(fact.job_id, fact.run, fact.by) for fact in retried} == {(job.job_id, 2, "otto") for job in jobs}
        assert {fact.cause_id for fact in retried} == {job.failed().event_id for job in jobs}
        listed = (await running.ada.get("/v1/jobs", params={"request": str(request.request_id)})).json()["jobs"]
        assert {(job["status"], job["stage"], job["run"]) for job in listed} == {("pending", "inference", 2)}
        assert await running.sql("select completed_at from requests where request_id = $1", request.request_id) is None

        again = [job.again() for job in jobs]
        ends = [fact for job in again for fact in (job.failed(),)]
        await running.hear(*ends)
        assert len(await eventually(lambda: _count(completed, 3))) == 3
        # The beginning of the run heard once more, after its end: the request stays complete.
        await running.send(*retried)
        marker = Request(name="marker")
        await running.hear(marker.accepted(), *[fact for job in marker.jobs for fact in job.life()])
        done = "select completed_at is not null from requests where request_id = $1"
        assert await running.sql(done, request.request_id)
        (act,) = (await running.clients["otto"].get("/v1/stages/catalog/actions")).json()["actions"]
        assert (act["action"], act["principal"], set(act["detail"]["jobs"])) == ("job.retry", "otto", wanted)


async def test_what_a_fresh_start_cannot_help_is_refused_and_left_alone(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="hopeless", variants=2)
        refused, cancelled = request.jobs
        prompt = {"stage": Stage.PROMPT, "reason": FailureReason.POLICY_REFUSED}
        await running.hear(
            request.accepted(),
            refused.failed().model_copy(update=prompt),
            cancelled.assembled(),
            cancelled.failed(),
            request.cancel(cancelled),
        )
        await running.hear(request.cancel(cancelled))
        answer = await retry(running, every=True)
        assert answer["retried"] == []
        whys = {one["job_id"]: one["why"] for one in answer["refused"]}
        assert "same request" in whys[str(refused.job_id)]
        assert "ada asked for its end" in whys[str(cancelled.job_id)]
        assert await running.sql("select count(*) from ledger where type = 'JobRetried'") == 0
        assert (await running.clients["otto"].get("/v1/stages/catalog/actions")).json()["actions"] == []

        page = await retry(running, every=True, limit=1)
        rest = await retry(running, every=True, limit=1, after=page["next"])
        assert {one["job_id"] for one in [*page["refused"], *rest["refused"]]} == set(whys) and rest["next"] is None
        for client, body, status in (
            (running.ada, {"every": True}, 403),
            (running.clients["otto"], {}, 422),
            (running.clients["otto"], {"where": {"reason": "bad_luck"}}, 422),
            (running.clients["otto"], {"where": {"colour": "red"}}, 422),
        ):
            assert (await client.post("/v1/jobs/retry", json=body)).status_code == status


async def test_a_fresh_start_of_what_inference_does_not_know_fails_at_once_and_once(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with scripted(servers, tmp_path) as (stage, _):
        job, request = uuid4(), uuid4()

        def begun(run: int, of: UUID = job) -> JobRetried:
            return JobRetried.of(
                cause_id=f"failure {run - 1}",
                occurred_at=NOW,
                workspace=WORKSPACE,
                request_id=request,
                job_id=of,
                run=run,
                by="otto",
            )

        await stage.send(begun(2), begun(2))
        ended = (await stage.outcomes(1))[job]
        assert isinstance(ended, JobFailed)
        assert (ended.run, ended.reason, ended.remedy) == (2, FailureReason.MISSING_SOURCE, "send the request again")
        # The run after that one finds nothing either; one that was asked for properly is found past it.
        await stage.send(begun(2), begun(3))
        assert (await stage.outcomes(1))[job].run == 3
        event = assembled()
        await stage.send(begun(2, event.job_id))
        assert isinstance((await stage.outcomes(1))[event.job_id], JobFailed)
        await stage.send(event)
        assert isinstance((await stage.outcomes(1))[event.job_id], ImageGenerated)
        await stage.send(begun(3, event.job_id))
        made = (await stage.outcomes(1))[event.job_id]
        assert isinstance(made, ImageGenerated) and made.run == 3


async def test_a_fresh_start_is_reserved_again_and_settled_once_in_whatever_order_it_is_told(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with intake_on(servers, tmp_path) as intake:
        await intake.found()
        await intake.publish()
        first = await intake.submit("a", variants=3)
        (fact,) = await intake.all_said(RequestAccepted)
        jobs = [UUID(job) for job in first.json()["jobs"]]
        freely = [ended(fact, job, attempts=[]) for job in jobs]
        await intake.tell(*freely)
        await until(lambda: _used(intake, ended=3, released=3))

        again = [_begun(fact, job) for job in jobs[:2]]
        await intake.tell(*again, *again)
        await until(lambda: _used(intake, ended=1, released=1))
        assert (await intake.client.get("/v1/usage")).json()["open_jobs"] == 2
        asked = (await intake.client.get(f"/v1/requests/{fact.request_id}")).json()
        assert asked["ended"] == 1

        dearly = _second(ended(fact, jobs[0], attempts=[attempt(jobs[0], 7, "0.40")]))
        await intake.tell(dearly, dearly, _second(freely[1]))
        await until(lambda: _used(intake, ended=3, released=2))
        # The third job's second run is over before its beginning is heard, and the first run's end comes once more.
        early = _second(ended(fact, jobs[2], attempts=[attempt(jobs[2], 8, "0.40")]))
        await intake.tell(early, _begun(fact, jobs[2]), freely[2], *again)
        await until(lambda: _used(intake, ended=3, released=1))


def _begun(fact: RequestAccepted, job: UUID) -> JobRetried:
    return JobRetried.of(
        cause_id="end", occurred_at=fact.occurred_at, workspace=fact.workspace, request_id=fact.request_id, job_id=job,
        run=2, by="otto",
    )  # fmt: skip


def _second(event: JobFailed) -> JobFailed:
    return event.model_copy(update={"run": 2, "event_id": uuid4()})


async def _used(intake: Intake, *, ended: int, released: int) -> bool:
    (today,) = (await intake.client.get("/v1/usage")).json()["days"]
    return bool((today["ended"], today["released"]) == (ended, released))


async def _count(said: Any, count: int) -> Any:
    found = await said()
    return found if len(found) == count else None
