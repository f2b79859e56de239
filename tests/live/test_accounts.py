"""A provider that takes no calls: left alone, asked again with one, and its jobs wait and do not fail."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deploy.local.servers import EmbeddedServers
from services.inference import rerouting
from services.inference.standing import queries as standing
from shared.events import Confidentiality, ImageGenerated, JobFailed, Lane
from shared.library.documents import Backend, Call, RouteRule, Routes
from shared.postgres import transaction
from tests.inference.prompts import WORKSPACE, assembled
from tests.live.calling import Scene
from tests.live.queueing import KIND, OTHER, open_queue, table
from tests.live.stage import eventually
from tests.servers.provider import Provider

CALL = Call(provider="acme", timeout_seconds=60)
OPEN = "select count(*) from outages where probe_at is not null"
# Also what was claimed as the account went away has been answered.
OPEN_AND_QUIET = f"{OPEN} having not exists (select 1 from work where holder is not null)"


async def all_made(scene: Scene, many: int) -> list[ImageGenerated]:
    async def made() -> list[Any]:
        found = await scene.said(ImageGenerated)
        return found if len(found) == many else []

    found: list[ImageGenerated] = await eventually(made)
    return found


async def test_jobs_of_a_provider_that_is_away_wait_for_it_and_none_fails(scene: Scene) -> None:
    """Longer than three tries of each would take."""
    scene.provider.script.change({"weights": {"503": 1}})
    async with scene.service("inference") as inference:
        await scene.begin(inference)
        events = [assembled() for _ in range(12)]
        await scene.send(inference, *events)
        await eventually(lambda: inference.database.fetchval(OPEN_AND_QUIET))
        during = len(scene.provider.calls())
        await eventually(lambda: inference.database.fetchval("select count(*) from outages where failures >= 5"))
        assert len(scene.provider.calls()) - during <= 3, "one call at a time asks how it is doing"
        assert await inference.database.fetchval("select max(failures) from work") == 0
        async with scene.client(inference, scene.reader) as rita:
            (away,) = (await rita.get("/v1/queue")).json()["away"]
        assert (away["account"], away["busy"]) == ("acme", False)
        scene.provider.script.change({"weights": {"ok": 1}})
        made = await all_made(scene, len(events))
        assert {each.job_id for each in made} == {event.job_id for event in events}
        assert not await inference.database.fetchval("select count(*) from outages")
    assert Counter(each.attempts[-1].state for each in made) == {"succeeded": len(events)}


async def test_a_provider_that_asks_for_patience_is_given_it_by_everybody(scene: Scene) -> None:
    scene.provider.script.change({"next": ["429_retry_after"], "retry_after": 3})
    async with scene.service("inference") as inference:
        await scene.begin(inference)
        await scene.send(inference, assembled())
        await eventually(lambda: inference.database.fetchval(OPEN))
        events = [assembled() for _ in range(4)]
        await scene.send(inference, *events)
        await eventually(lambda: inference.database.fetchval("select count(*) = 5 from work"))
        until = await inference.database.fetchval("select probe_at - clock_timestamp() from outages")
        assert len(scene.provider.calls()) == 1
        await all_made(scene, 5)
        first, second, *_ = [call["at"] for call in scene.provider.calls()]
        assert second - first >= 2.9 and until.total_seconds() > 0


async def test_a_job_that_fails_while_others_of_the_account_are_made_ends(scene: Scene) -> None:
    """Its own trouble, however much it looks like the provider's."""
    bad = assembled(prompt="always 500")
    scene.provider.script.change({"by_prompt": {"always 500": "500"}})
    async with scene.service("inference") as inference:
        await scene.begin(inference)
        await scene.send(inference, bad)

        async def trickle() -> None:
            while True:
                await scene.send(inference, assembled())
                await asyncio.sleep(0.3)  # as in a workspace that works

        others = asyncio.create_task(trickle())
        try:
            (failed,) = await scene.said(JobFailed)
        finally:
            others.cancel()
        assert (failed.job_id, failed.reason) == (bad.job_id, "backend_unavailable")
        assert len(failed.attempts) == 4, "the first try says nothing of the job, the next three do"
        assert await scene.said(ImageGenerated)


async def test_jobs_of_a_provider_that_stays_away_go_where_their_rule_lets_them_and_no_further(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerouting, "AFTER_SECONDS", 0.5)
    called: dict[str, Any] = {"kind": "openai", "model": "m", "price": Decimal("0.04"), "call": CALL, "concurrency": 8}
    here = Backend(name="here", visibility="private", **called)
    there = here.model_copy(
        update={"name": "there", "visibility": "cloud", "call": CALL.model_copy(update={"provider": "zenith"})}
    )
    rules = [
        RouteRule(
            id="confidential", confidentiality=[Confidentiality.CONFIDENTIAL], lane=Lane.STANDARD, backends=["here"]
        ),
        RouteRule(id="others", lane=Lane.STANDARD, backends=["here", "there"]),
    ]
    table = Routes(name="routes", version=1, owner="platform", backends=[here, there], rules=rules)
    scene.provider.script.change({"weights": {"503": 1}})
    with Provider(tmp_path / "zenith") as zenith:
        addresses = {"acme": scene.provider.url, "zenith": zenith.url}
        providers = {name: {"url": url, "key": "sk-test"} for name, url in addresses.items()}
        monkeypatch.setenv("CALOTYPE_PROVIDERS", json.dumps(providers))
        async with scene.service("inference") as inference:
            await scene.begin(inference, table)
            secret = assembled(confidentiality=Confidentiality.CONFIDENTIAL)
            public = [assembled() for _ in range(6)]
            await scene.send(inference, secret, *public)
            made = await all_made(scene, len(public))
            assert {each.job_id for each in made} == {event.job_id for event in public}
            assert {each.route.backend for each in made} == {"there"}
            assert all("has taken no calls since" in each.route.refused["here"] for each in made)
            assert len(zenith.charges()) == len(public)
            assert await inference.database.fetchval("select subject from work where ready_at is not null") == "here"
            scene.provider.script.change({"weights": {"ok": 1}})
            made = await all_made(scene, len(public) + 1)
        assert {each.route.backend for each in made if each.job_id == secret.job_id} == {"here"}
        assert len(zenith.charges()) == len(public), "confidential work never leaves"


async def test_what_waits_for_an_account_that_is_away_is_looked_through_a_part_of_each_flow_at_a_time(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much one workspace has queued, and also what came back to wait after it was looked at."""
    monkeypatch.setattr(rerouting, "PART", 2)
    waiting = "select count(*) filter (where workspace = $1), count(*) from work where kind = $2 and parked is null"
    async with open_queue(servers) as queue:
        rules = [RouteRule(id="any", lane=Lane.STANDARD, backends=["local", "second"])]
        backends = [table().backends[0], Backend(name="second", kind="proof", visibility="private")]
        by = Routes(name="routes", version=1, owner="platform", backends=backends, rules=rules)
        for workspace in (WORKSPACE, OTHER):
            await queue.found(by=by, workspace=workspace)
        await queue.put(*(assembled() for _ in range(3)), *(assembled(workspace=OTHER) for _ in range(2)))
        await queue.pool.execute(
            "insert into outages values ('acme', 3, now() - interval '1 minute', '', false, now())"
        )
        async with transaction(queue.pool) as connection:
            await standing.seen(connection, holder="h", kinds=["proof/standard"], slots=1)
        (held,) = await queue.pool.fetch(
            "update work set holder = 'h' where work_id = (select work_id from work where workspace = $1 limit 1)"
            " returning work_id",
            WORKSPACE,
        )

        async def told() -> tuple[int, int]:
            (row,) = await queue.pool.fetch(waiting, WORKSPACE, KIND)
            return row[0], row[1]

        looking = rerouting.Rerouting(queue.pool, queue.tables, kinds=[KIND])
        async with transaction(queue.pool) as another:
            assert await rerouting.queries.i_look(another, account="acme")
            await looking.look()
            assert await told() == (3, 5), "one process at a time"
        left = []
        for _ in range(3):
            await looking.look()
            left.append(await told())
        assert left == [(2, 3), (1, 1), (1, 1)]
        await queue.pool.execute("update work set holder = null where work_id = $1", held["work_id"])
        await looking.look()
        assert await told() == (0, 0)
