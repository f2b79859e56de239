"""What a check rejects waits for nobody, is told once, is shown with its reason, and may be approved by a person."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

from deploy.local.servers import EmbeddedServers
from services.catalog.web.view import ReviewQuery, Viewer
from shared.events import AssetApproved, AssetRejected, RequestCompleted, ReviewNeeded
from tests.catalog.facts import WORKSPACE, Request
from tests.live.cataloguing import Catalog, catalog, verdict
from tests.live.stage import eventually

ADA = Viewer(name="ada", workspace_id=WORKSPACE, workspace="Salt & Linden", csrf="t")


async def waiting(running: Catalog) -> set[UUID]:
    return {row["job_id"] for row in await running.rows("select job_id from awaiting_review")}


async def said(running: Catalog, topic: str, least: int) -> list[Any]:
    async def told() -> list[Any]:
        events = await running.said(topic)
        return events if len(events) >= least else []

    found: list[Any] = await eventually(told)
    return found


async def approve(running: Catalog, asset: dict[str, Any], who: str = "ada", **more: Any) -> Any:
    return await running.clients[who].post(f"/v1/assets/{asset['asset_id']}/decisions", json=verdict(asset, **more))


async def test_a_picture_that_a_check_rejects_is_rejected_once_and_says_why(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="blank", variants=2)
        blank, good = request.jobs
        await running.hear(request.accepted(), blank.blank(), good.processed())
        await running.hear(blank.blank())
        assert await waiting(running) == {good.job_id}, "a rejected picture waits for nobody"
        (asset,) = await running.assets(status="completed")
        assert (await approve(running, asset, decision="approve")).status_code == 200
        (fact,) = [e for e in await said(running, "assets-rejected.v1", 1) if isinstance(e, AssetRejected)]
        assert (fact.by.principal, fact.code, fact.reason) == ("check:entropy", "artefact", "It is blank.")
        assert fact.cause_id == blank.blank().event_id
        asked = await said(running, "reviews-recorded.v1", 1)
        assert [e.job_id for e in asked if isinstance(e, ReviewNeeded)] == [good.job_id]
        (ended,) = [e for e in await said(running, "requests-completed.v1", 1) if isinstance(e, RequestCompleted)]
        assert ended.jobs == {"approved": 1, "rejected": 1}

        shown = (await running.pages.review(ADA, ReviewQuery(queue="rejected", asset=blank.asset_id))).shown
        assert shown is not None and shown.decision is not None
        assert (shown.decision.by, shown.decision.reason) == ("the entropy check", "It is blank.")
        why = (await running.ada.get(f"/v1/why/{blank.job_id}")).json()
        assert "the entropy check rejected it (artefact)" in str(why)


async def test_a_cancel_that_was_first_leaves_nothing_to_reject(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="cancelled", variants=2)
        early, late = request.jobs
        await running.hear(request.accepted(), late.blank())
        await running.hear(request.cancel())
        await running.hear(early.blank())
        ranks = {row["job_id"]: row["rank"] for row in await running.rows("select job_id, rank from jobs")}
        assert ranks == {early.job_id: 3, late.job_id: 5}
        assert [e.job_id for e in await said(running, "assets-rejected.v1", 1)] == [late.job_id]


async def test_a_person_may_approve_what_a_check_rejected_and_only_one_of_two_does(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="overruled")
        (job,) = request.jobs
        await running.hear(request.accepted(), job.blank())
        (asset,) = await running.assets()
        assert (asset["status"], asset["review_version"]) == ("rejected", 1)
        seen_before = await approve(running, asset, review_version=0)
        assert seen_before.status_code == 409 and "the entropy check rejected" in seen_before.json()["detail"]
        both = await asyncio.gather(approve(running, asset), approve(running, asset, "mara"))
        assert sorted(answer.status_code for answer in both) == [200, 409]
        (fact,) = await said(running, "assets-approved.v1", 1)
        assert isinstance(fact, AssetApproved)
        (asset,) = await running.assets()
        assert asset["status"] == "approved"
        assert await waiting(running) == set()
        again = await approve(running, asset, review_version=2)
        assert again.status_code == 409


async def test_an_approval_against_a_check_is_taken_back_and_the_rejection_stands(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path, undo_seconds=3600.0) as running:
        request = Request(name="taken back")
        (job,) = request.jobs
        await running.hear(request.accepted(), job.blank())
        (asset,) = await running.assets()
        taken = (await approve(running, asset)).json()["decision_id"]
        page = (await running.pages.review(ADA, ReviewQuery(queue="approved", asset=job.asset_id))).shown
        assert page is not None and page.state == "approved"
        assert (await running.ada.post(f"/v1/decisions/{taken}/undo")).status_code == 200
        (asset,) = await running.assets()
        assert (asset["status"], asset["review_version"], asset["decision"]["by"]) == ("rejected", 2, "check:entropy")
        assert await waiting(running) == set()
        assert (await approve(running, asset)).status_code == 200
