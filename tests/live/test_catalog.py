"""Stage 5 on a real Kafka and a real Postgres: one ledger row per fact, one standing per job, whatever the order."""

import random
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.servers import EmbeddedServers
from services.catalog.domain import Standing, fold, standings
from services.catalog.feed import Feed
from services.catalog.ledger.facts import heard
from services.catalog.ledger.writing import Writing
from shared.events import Event, JobStatus, RequestCompleted, ReviewNeeded, WaitingOn
from shared.postgres import workspace_transaction
from tests.catalog.facts import TRACE, Job, Request
from tests.live.cataloguing import catalog
from tests.live.stage import eventually


def all_facts(request: Request) -> list[Event]:
    """Facts that disagree: the jobs of the request end in every way there is, one of them twice."""
    good, failed, cancelled, retried = request.jobs
    again = retried.again()
    return [
        request.accepted(),
        *good.life(),
        good.progressed(status=JobStatus.PENDING, waiting_on=WaitingOn.RATE),
        good.progressed(after=3),
        good.published(),
        good.publication_failed(),
        failed.assembled(),
        failed.failed(),
        cancelled.assembled(),
        cancelled.cancelled(),
        retried.assembled(),
        retried.failed(),
        again.retried(),
        *again.life(),
    ]


async def test_a_life_is_kept_once_and_told_from_any_id(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="whole", variants=2, batch="winter")
        job, other = request.jobs
        await running.hear(*request.life(), job.published())
        await running.hear(*request.life())  # again: nothing is written twice

        facts = await running.rows("select event_id, count(*) from ledger group by event_id")
        assert {row["count"] for row in facts} == {1}
        needed = [e for e in await running.said("reviews-recorded.v1") if isinstance(e, ReviewNeeded)]
        assert sorted(e.job_id for e in needed) == sorted([job.job_id, other.job_id])

        for asked, kind in (
            (request.request_id, "request"),
            (request.batch_id, "batch"),
            (job.job_id, "job"),
            (job.asset_id, "asset"),
            (job.asset_version_id, "asset version"),
            (job.attempt_id, "attempt"),
            (job.generated().event_id, "event"),
            (job.published().publication_id, "publication"),
        ):
            answer = await running.ada.get(f"/v1/trace/{asked}")
            assert answer.status_code == 200, f"{kind}: {answer.text}"
            told = answer.json()
            assert told["kind"] == kind
            types = [fact["type"] for fact in told["facts"] if fact["job_id"] in {None, str(job.job_id)}]
            assert types == [
                "RequestAccepted",
                "PromptAssembled",
                "ImageGenerated",
                "ImageProcessed",
                "ReviewNeeded",
                "AssetPublished",
            ]
        missing = await running.ada.get(f"/v1/trace/{uuid4()}")
        assert missing.status_code == 404
        assert missing.json()["type"] == "urn:calotype:problem:not_found"


async def test_files_lead_to_the_life_they_belong_to(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="files")
        (job,) = request.jobs
        await running.hear(*request.life())
        asset = (await running.ada.get(f"/v1/assets/{job.asset_id}")).json()
        assert [file["name"] for file in asset["files"]] == ["original", "web-wide"]
        for file in (*asset["files"], *asset["proxies"], asset["manifest"]):
            assert (await running.ada.get(f"/v1/trace/{file['file_id']}")).json()["kind"] == "file"


@pytest.mark.parametrize("seed", range(5))
async def test_the_upsert_folds_as_the_domain_does(servers: EmbeddedServers, tmp_path: Path, seed: int) -> None:
    """Postgres and `later` agree on every job, however the facts are shuffled, repeated and cut into batches."""
    chance = random.Random(seed)
    async with catalog(servers, tmp_path) as running:
        request = Request(name=f"shuffled {seed}", variants=4)
        facts = all_facts(request)
        told = [fact for fact in facts for _ in range(chance.randint(1, 3))]
        chance.shuffle(told)
        feed = Feed(running.service.database)
        while told:
            many = chance.randint(1, 6)
            batch, told = told[:many], told[many:]
            async with running.service.facts.transaction() as transaction:
                writing = Writing(transaction, feed)
                await writing.keep(map(heard, batch))
                await writing.close()
        said = [s for f in map(heard, facts) for s in standings(f.kind, f.body, f.at)]
        expected = {standing.job_id: standing for standing in fold(said)}
        rows = await running.rows(
            "select job_id::text, request_id::text, workspace::text, run, rank, step, since, reason, variant from jobs "
            "where request_id = $1",
            request.request_id,
        )
        found = {row["job_id"]: Standing(**row) for row in rows}
        assert found == expected
        await _projection_is_the_same(running, request)


async def _projection_is_the_same(running: object, request: Request) -> None:
    sql = running.sql  # type: ignore[attr-defined]
    good, _, _, retried = request.jobs
    again: Job = retried.again()
    waiting = "select array_agg(asset_id order by asset_id) from awaiting_review where request_id = $1"
    assert await sql(waiting, request.request_id) == sorted([good.asset_id, again.asset_id])
    assert await sql("select state from publications where job_id = $1", good.job_id) == "delivered"
    assert await sql("select count(*) from failures where request_id = $1", request.request_id) == 2
    assert await sql("select count(*) from attempts where job_id = $1", again.job_id) == 2
    assert await sql("select completed_at is null from requests where request_id = $1", request.request_id)


async def test_the_end_of_a_request_is_told_once_however_late_its_cost_is_heard(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="late")
        (job,) = request.jobs
        feed = Feed(running.service.database)
        batches: list[list[Event]] = [
            [request.accepted(), job.processed(), job.approved()],
            [job.generated(), request.accepted()],
            [request.accepted()],
        ]
        for batch in batches:
            async with running.service.facts.transaction() as transaction:
                writing = Writing(transaction, feed)
                await writing.keep(map(heard, batch))
                await writing.close()

        async def all_sent() -> bool:
            return bool(await running.sql("select count(*) from outbox") == 0)

        await eventually(all_sent)
        (told,) = await running.said("requests-completed.v1")
        assert isinstance(told, RequestCompleted)
        assert (told.jobs, told.cost) == ({"approved": 1}, None)  # what was not known then is not called 0


async def test_a_fresh_start_heard_again_after_its_end_reopens_nothing(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="restarted")
        (job,) = request.jobs
        again = job.again()
        feed = Feed(running.service.database)
        batches: list[list[Event]] = [
            [request.accepted()],
            [job.failed()],
            [again.retried()],
            [again.failed()],
            [again.retried()],
        ]
        for batch in batches:
            async with running.service.facts.transaction() as transaction:
                writing = Writing(transaction, feed)
                await writing.keep(map(heard, batch))
                await writing.close()
        assert await running.sql(
            "select completed_at is not null from requests where request_id = $1", request.request_id
        )


async def test_a_workspace_sees_nothing_of_another(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        stranger = uuid4()
        mine, theirs = Request(name="mine"), Request(name="theirs", workspace=stranger)
        await running.hear(*mine.life(), *theirs.life())
        listed = (await running.ada.get("/v1/jobs")).json()["jobs"]
        assert [job["request_id"] for job in listed] == [str(mine.request_id)]
        (job,) = theirs.jobs
        for path in (f"/v1/jobs/{job.job_id}", f"/v1/assets/{job.asset_id}", f"/v1/trace/{job.job_id}"):
            assert (await running.ada.get(path)).status_code == 404
        tables = await running.rows(
            "select c.relname, c.relforcerowsecurity from pg_class c join pg_attribute a on a.attrelid = c.oid "
            "where c.relnamespace = 'catalog'::regnamespace and c.relkind in ('r', 'p') and a.attname = 'workspace'"
        )
        assert {"ledger", "jobs", "assets", "decisions"} <= {table["relname"] for table in tables}
        async with workspace_transaction(running.service.database, stage="catalog", workspace=stranger) as connection:
            for table in tables:
                assert table["relforcerowsecurity"], table["relname"]
                foreign = await connection.fetchval(
                    f"select count(*) from {table['relname']} where workspace <> $1", stranger
                )
                assert foreign == 0, table["relname"]
            assert await connection.fetchval("select count(*) from ledger") > 0


async def test_a_cancel_drops_what_waits_for_a_person(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="cancelled", variants=2)
        job, other = request.jobs
        early, late = request.life()[:-3], other.life()
        await running.hear(*early)
        await running.hear(request.cancel())

        async def ended() -> list[str]:
            answer = (await running.ada.get("/v1/jobs", params={"status": "cancelled"})).json()
            return [found["job_id"] for found in answer["jobs"]]

        assert await eventually(ended) == [str(job.job_id)]
        await running.hear(*late)  # it arrives after its cancel
        assert set(await eventually(ended)) == {str(job.job_id), str(other.job_id)}
        assert await running.assets(status="completed") == []
        completed = (await running.ada.get(f"/v1/trace/{request.request_id}")).json()["facts"][-1]
        assert completed["type"] == "RequestCompleted"
        assert completed["body"]["jobs"] == {"cancelled": 2}


async def test_what_the_catalog_says_of_a_request_goes_on_its_trace(servers: EmbeddedServers, tmp_path: Path) -> None:
    """Also where what made it true has none: a cancel is somebody's own request."""
    async with catalog(servers, tmp_path) as running:
        request = Request(name="traced")
        await running.hear(*request.life())
        await running.hear(request.cancel().model_copy(update={"traceparent": None}))

        async def told() -> dict[str, str]:
            rows = await running.rows(
                "select type, traceparent from ledger where type in ('JobCancelled', 'RequestCompleted')"
            )
            return {row["type"]: row["traceparent"] or "" for row in rows}

        async def both() -> bool:
            return len(await told()) == 2

        await eventually(both)
        assert {name: TRACE in trace for name, trace in (await told()).items()} == {
            "JobCancelled": True,
            "RequestCompleted": True,
        }


MALFORMED = {
    "/v1/jobs?limit=0": "limit",
    "/v1/jobs?limit=501": "limit",
    "/v1/jobs?cursor=zzz": "cursor",
    "/v1/jobs?cursor=WzFlMzBd": "cursor",
    "/v1/jobs?cursor=WzE4NDQ2NzQ0MDczNzA5NTUxNjE2LDFd": "cursor",  # [2**64, 1]
    "/v1/jobs?campaign=a%00b": "query.campaign",
    "/v1/jobs?batch=7": "query.batch",
    "/v1/jobs?group=mood": "query.group",
    "/v1/jobs?mood=good": "query.mood",
    "/v1/assets?sku=%00": "query.sku",
    "/v1/assets?cursor=W10": "cursor",
    "/v1/trace/nonsense": "path.any_id",
    "/v1/why/7f3a": "path.any_id",
    "/v1/files/..%2f..%2fetc": None,
    "/v1/events?after=-1": "query.after",
    "/v1/events?after=1000000000000000000000": "query.after",
}


async def test_a_malformed_question_names_its_place(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        for path, where in MALFORMED.items():
            answer = await running.ada.get(path)
            assert answer.status_code in {404, 422}, (path, answer.status_code)
            assert answer.headers["content-type"] == "application/problem+json", path
            assert where is None or answer.json()["where"] == where, (path, answer.text)
