"""The projection follows from the ledger: compared it is the same, damaged it is mended, while the catalog goes on."""

import asyncio
from pathlib import Path
from typing import Any

from deploy.local.servers import EmbeddedServers
from shared.events import Event, JobProgressed, Measures
from tests.catalog.facts import Request
from tests.live.cataloguing import Catalog, catalog
from tests.live.test_catalog import all_facts

MEASURES = Measures(colours=[("#f2ece0", 1.0)], exposure=(0.5, 0.1, 0.9), entropy=5.0, fingerprint="0" * 112)
TABLES = ("requests", "jobs", "failures", "attempts", "assets", "files", "publications", "measures", "decisions")


INVENT_A_FAILURE = """
insert into failures (job_id, run, workspace, request_id, failed_at, stage, reason, detail)
select job_id, 7, workspace, request_id, now(), 'prompt', 'internal', 'made up' from jobs where job_id = '{}'
"""


async def rebuild(running: Catalog, *, check: bool, pages: int = 100) -> dict[str, Any]:
    """All parts of it, added up as far as the tests look."""
    found: dict[str, Any] = {"differences": [], "facts": 0, "jobs": 0, "parts": 0, "without_facts": 0, "rows": {}}
    after = None
    while True:
        answer = await running.clients["otto"].post(
            "/v1/stages/catalog/rebuild", json={"check": check, "after": after, "pages": pages}
        )
        assert answer.status_code == 200, answer.text
        part = answer.json()
        for name in ("differences", "facts", "jobs", "without_facts"):
            found[name] += part[name]
        for table, rows in part["rows"].items():
            found["rows"][table] = found["rows"].get(table, 0) + rows
        found["parts"] += 1
        after = part["next"]
        if after is None:
            return found


def kept_facts(request: Request) -> list[Event]:
    """All but progress, which is told and not kept."""
    return [fact for fact in all_facts(request) if not isinstance(fact, JobProgressed)]


async def told(running: Catalog) -> dict[str, list[dict[str, Any]]]:
    return {table: await running.rows(f"select * from {table} order by 1, 2") for table in TABLES}


async def test_what_stands_is_what_follows_from_the_ledger(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request, unheard = Request(name="whole", variants=4, batch="winter"), Request(name="unheard", variants=2)
        lone, other = unheard.jobs
        # Of one request nobody has heard what it asked for; a job of the other runs, which only its progress told.
        await running.hear(*kept_facts(request), lone.assembled(), lone.failed(), other.assembled())
        await running.send(other.progressed())
        await running.hear(other.generated())
        found = await rebuild(running, check=True)
        assert found["differences"] == []
        assert (found["jobs"], found["without_facts"]) == (6, 0)
        assert found["rows"] == {table: await running.sql(f"select count(*) from {table}") for table in TABLES}
        assert found["facts"] == await running.sql("select count(*) from ledger where type <> 'WorkspaceChanged'")


async def test_what_was_damaged_is_named_and_mended_and_the_rest_is_left_as_it_was(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request, kept, blank = Request(name="damaged", variants=4), Request(name="kept"), Request(name="blank")
        measured = Request(name="measured")
        await running.hear(*kept_facts(request), *kept.life(), blank.accepted(), blank.jobs[0].blank())
        await running.hear(measured.accepted(), measured.jobs[0].processed(measures=MEASURES))
        before = await told(running)
        waits = await running.rows("select * from awaiting_review order by 1")
        good, failed, _, _ = request.jobs
        for damage in (
            f"update jobs set rank = 6, step = 5, reason = 'a hand' where job_id = '{failed.job_id}'",
            f"delete from jobs where job_id = '{good.job_id}'",
            f"delete from attempts where job_id = '{good.job_id}'",
            f"update requests set campaign = 'another', completed_at = now() where request_id = '{request.request_id}'",
            INVENT_A_FAILURE.format(failed.job_id),
            "delete from files",
            "delete from publications",
            "delete from decisions",
            "update measures set exposure = 0.9",
        ):
            await running.service.database.execute(damage)
        found = await rebuild(running, check=True)
        assert {one["table"] for one in found["differences"]} == set(TABLES) - {"assets"}
        (job,) = [one for one in found["differences"] if one["key"].get("job_id") == str(failed.job_id) and
                  one["table"] == "jobs"]  # fmt: skip
        assert (job["stands"]["reason"], job["follows"]["reason"]) == ("a hand", "model_timeout")
        assert (await rebuild(running, check=True))["differences"] == found["differences"], "comparing mends nothing"

        await rebuild(running, check=False)
        assert (await rebuild(running, check=True))["differences"] == []
        assert await told(running) == before
        assert await running.rows("select * from awaiting_review order by 1") == waits
        (act,) = (await running.clients["otto"].get("/v1/stages/catalog/actions")).json()["actions"]
        assert act["action"] == "catalog.rebuild" and act["detail"]["jobs"] == 2


async def test_it_is_made_again_from_nothing_in_parts_while_facts_come_in(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        requests = [Request(name=f"part {n}", variants=2) for n in range(300)]
        lives = [fact for request in requests for fact in request.life()]
        await running.hear(*lives[: len(lives) // 2])
        for table in TABLES:
            await running.service.database.execute(f"delete from {table}")
        made, _ = await asyncio.gather(rebuild(running, check=False, pages=1), running.hear(*lives[len(lives) // 2 :]))
        assert made["parts"] > 1
        assert (await rebuild(running, check=True))["differences"] == []
        assert await running.sql("select count(*) from jobs where rank = 2") == 600


async def test_rows_without_facts_are_counted_and_left_alone(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        old = Request(name="old")
        await running.hear(*old.life())
        await running.service.database.execute("delete from ledger where type <> 'WorkspaceChanged'")
        found = await rebuild(running, check=False)
        assert (found["without_facts"], found["differences"]) == (1, [])
        assert await running.sql("select count(*) from jobs") == 1
        asked = {"check": True, "everyone": True}
        refused = await running.clients["otto"].post("/v1/stages/catalog/rebuild", json=asked)
        assert refused.status_code == 403 and "owner" in refused.json()["remedy"]
        assert (await running.ada.post("/v1/stages/catalog/rebuild", json={})).status_code == 403
