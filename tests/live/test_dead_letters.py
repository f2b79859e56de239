"""What a group refused is seen, and ends replayed or dropped, by somebody, at some time."""

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from deploy.local.servers import EmbeddedServers
from shared.events import Event, JobFailed
from shared.kafka import Record, record_of
from shared.topics import TOPIC_OF
from tests.catalog.facts import Request
from tests.live.cataloguing import Catalog, catalog
from tests.live.stage import eventually

Letter = dict[str, Any]


def refused(running: Catalog, event: Event, group: str, *, offset: int = 7, body: bytes | None = None) -> Record:
    """The event as the bus of another stage sets it aside."""
    record = record_of(event, prefix=running.service.settings.topic_prefix)
    told = {
        "calotype-group": group,
        "calotype-reason": "handler_failed",
        "calotype-detail": "ValueError('it fell over')",
        "calotype-origin": f"{record.topic}/0/{offset}",
    }
    headers = [*record.headers, *((name, value.encode()) for name, value in told.items())]
    return Record(f"{record.topic}.dlq", record.key, headers, record.body if body is None else body)


async def letters(client: httpx.AsyncClient, count: int, **filters: Any) -> list[Letter]:
    async def found() -> tuple[list[Letter]] | None:
        answer = await client.get("/v1/dead-letters", params=filters)
        assert answer.status_code == 200, answer.text
        listed: list[Letter] = answer.json()["dead_letters"]
        return (listed,) if len(listed) == count else None

    result: tuple[list[Letter]] = await eventually(found)
    return result[0]


async def test_a_poison_record_waits_byte_for_byte_until_somebody_ends_it(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    """Its neighbours go on; replayed unmended it is refused again."""
    async with catalog(servers, tmp_path) as running:
        otto = running.clients["otto"]
        request = Request(name="poison", variants=2)
        job, _ = request.jobs
        good = record_of(job.processed(), prefix=running.service.settings.topic_prefix)
        poison = Record(good.topic, good.key, good.headers, b'{"not": "this event", "\xff": ')
        await running.deliver([poison])
        await running.hear(*request.life())
        (letter,) = await letters(otto, 1)
        assert (letter["consumer_group"], letter["reason"]) == ("catalog", "bad_body")
        shown = (await otto.get(f"/v1/dead-letters/{letter['dead_letter_id']}")).json()
        assert shown["headers"]["ce_jobid"] == str(job.job_id)
        assert shown["value"] == {"base64": "eyJub3QiOiAidGhpcyBldmVudCIsICL/Ijog"}

        why = (await running.ada.get(f"/v1/trace/{job.job_id}")).json()
        assert [found["dead_letter_id"] for found in why["dead_letters"]] == [letter["dead_letter_id"]]
        replayed = await otto.post("/v1/dead-letters/replay", json={"ids": [letter["dead_letter_id"]]})
        assert replayed.json() == {"replayed": 1}
        # It is as bad as before, so it comes back as a letter of its own; the first one has its end.
        (again,) = await letters(otto, 1)
        assert again["dead_letter_id"] != letter["dead_letter_id"]
        (ended,) = await letters(otto, 1, state="replayed")
        assert (ended["ended_by"], ended["ended_at"] is not None) == ("otto", True)


async def test_a_replay_reaches_the_group_that_refused_and_no_other(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        otto = running.clients["otto"]
        request = Request(name="replayed")
        (job,) = request.jobs
        await running.hear(request.accepted(), job.assembled(), job.generated())
        # The catalog never heard this one on its topic: it stands only among the letters of two groups.
        await running.deliver(
            [refused(running, job.processed(), "catalog"), refused(running, job.processed(), "inference", offset=8)]
        )
        await letters(otto, 2)
        await otto.post("/v1/dead-letters/replay", json={"group": "inference"})
        await otto.post("/v1/dead-letters/replay", json={"group": "catalog"})
        await running.heard(job.processed())
        await letters(otto, 2, state="replayed")
        assert await letters(otto, 0) == []
        assert [a["job_id"] for a in await running.assets()] == [str(job.job_id)]


async def test_a_letter_that_is_not_whole_is_not_replayed_and_the_others_are(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        otto = running.clients["otto"]
        request = Request(name="cut", variants=2)
        job, other = request.jobs
        await running.hear(request.accepted(), *(each.assembled() for each in request.jobs), job.generated())
        cut = refused(running, other.assembled(), "inference", offset=9, body=b"{")
        cut.headers.append(("calotype-cut", b"5000000"))
        await running.deliver([refused(running, job.processed(), "catalog"), cut])
        await letters(otto, 2)
        answer = await otto.post("/v1/dead-letters/replay", json={"every": True})
        assert answer.status_code == 422
        assert "only its beginning was kept" in answer.text and f"{cut.topic.removesuffix('.dlq')}/0/9" in answer.text
        await running.heard(job.processed())
        (left,) = await letters(otto, 1)
        dropped = await otto.post("/v1/dead-letters/drop", json={"ids": [left["dead_letter_id"]], "note": "sent anew"})
        assert dropped.json()["dropped"] == 1


async def test_dropping_a_record_ends_the_jobs_that_waited_for_it(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        otto = running.clients["otto"]
        request, other = Request(name="dropped", variants=2), Request(name="told elsewhere")
        (waits,) = other.jobs
        await running.hear(request.accepted(), other.accepted(), waits.assembled())
        await running.deliver(
            [
                refused(running, request.accepted(), "prompt"),
                # The ledger's refusal of a record does not hold the job up: dropping it ends nothing.
                refused(running, waits.assembled(), "catalog", offset=9),
            ]
        )
        (blamed,) = [one for one in await letters(otto, 2) if one["consumer_group"] == "prompt"]
        why = (await running.ada.get(f"/v1/why/{request.request_id}")).json()["jobs"]
        assert {found["command"] for found in why} == {f"calotype dlq show {blamed['dead_letter_id']}"}

        answer = await otto.post("/v1/dead-letters/drop", json={"every": True, "note": "a test"})
        assert answer.json()["dropped"] == 2
        failed = {UUID(job) for job in answer.json()["failed_jobs"]}
        assert failed == {job.job_id for job in request.jobs}

        async def said() -> list[Event]:
            return await running.said(TOPIC_OF[JobFailed].name)

        facts = await eventually(said)
        assert {fact.job_id for fact in facts} == failed
        counts = (await running.ada.get("/v1/jobs", params={"group": "status"})).json()["groups"]
        assert {group["key"]: group["jobs"] for group in counts} == {"pending": 1, "failed": 2}
        ended = await letters(otto, 2, state="dropped")
        assert {(letter["ended_by"], letter["note"]) for letter in ended} == {("otto", "a test")}


async def test_only_operators_see_dead_letters(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        for path in ("/v1/dead-letters", "/v1/dead-letters/4c4b3c9e-6f0e-5b7c-9c1e-2f0a4c8d1b63"):
            assert (await running.ada.get(path)).status_code == 403
        vague = await running.clients["otto"].post("/v1/dead-letters/drop", json={})
        assert vague.status_code == 422, "an empty body never means everything"


async def test_an_operator_resumes_a_stopped_consumer(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        granted = (await running.clients["otto"].post("/v1/dead-letters/resume", json={"group": "catalog"})).json()
        async with httpx.AsyncClient(base_url=running.url) as client:
            resumed = await client.post(granted["resume_at"], headers={"Authorization": f"Grant {granted['grant']}"})
            assert (resumed.status_code, resumed.json()) == (200, {"group": "catalog", "resumed": False})
            refused = await client.post(granted["resume_at"], headers={"Authorization": "Grant no.no"})
            assert refused.status_code == 403
