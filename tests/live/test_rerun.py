"""A new version of an approved asset: reviewed though its job has ended, decided on apart, and the old one stays."""

from pathlib import Path
from typing import Any

from deploy.local.servers import EmbeddedServers
from services.catalog.web.view import Mark, Viewer
from shared.events import AssetApproved, AssetRejected, Event
from tests.catalog.facts import WORKSPACE, Job, Request
from tests.live.cataloguing import Catalog, catalog, verdict, workspace_changed
from tests.live.stage import eventually
from tests.live.test_rebuild import rebuild

VIEWER = Viewer(name="ada", workspace_id=WORKSPACE, workspace="Salt & Linden", csrf="", may_review=True)


async def decide(running: Catalog, job: Job, decision: str = "approve", **more: Any) -> dict[str, Any]:
    """What ada decides on the version that waits."""
    (waiting,) = [a for a in await running.assets(status="completed") if a["asset_id"] == str(job.asset_id)]
    answer = await running.ada.post(f"/v1/assets/{job.asset_id}/decisions", json=verdict(waiting, decision, **more))
    assert answer.status_code in {200, 201, 202}, answer.text
    return waiting


async def one(running: Catalog, job: Job) -> dict[str, Any]:
    answer = await running.ada.get(f"/v1/assets/{job.asset_id}")
    found: dict[str, Any] = answer.json()
    return found


async def test_a_new_version_is_reviewed_and_the_old_one_stays_until_it_is_approved(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="made anew", variants=2)
        better, worse = request.jobs
        await running.hear(request.accepted(), *(fact for job in request.jobs for fact in job.life()))
        for job in request.jobs:
            await decide(running, job)
        await running.hear(request.cancel())
        await running.hear(*(job.processed_anew() for job in request.jobs))
        await running.hear(request.cancel(better, after=3))  # of what is approved there is nothing to cancel

        listed = await running.assets(status="completed")
        assert {a["asset_version"] for a in listed} == {str(job.new_version_id) for job in request.jobs}
        assert (await one(running, better))["asset_version"] == str(better.asset_version_id), "what stands is shown"
        old = verdict(await one(running, worse)) | {"review_version": 0}
        answer = await running.clients["mara"].post(f"/v1/assets/{worse.asset_id}/decisions", json=old)
        assert answer.status_code == 409 and "newer version" in answer.text

        assert (await decide(running, better))["supersedes"] == str(better.asset_version_id)
        await decide(running, worse, "reject", code="bad_crop")
        assert await running.assets(status="completed") == []
        for job, stands, statuses in (
            (better, better.new_version_id, ["approved", "approved"]),
            (worse, worse.asset_version_id, ["approved", "rejected"]),
        ):
            found = await one(running, job)
            assert (found["status"], found["asset_version"]) == ("approved", str(stands))
            assert [version["status"] for version in found["versions"]] == statuses
        wide, square = ["original.png", "web-wide"], ["original.png", "web-square"]
        assert [len(found["files"]) for found in (await one(running, better), await one(running, worse))] == [
            len(square),
            len(wide),
        ]
        life = await running.pages.asset(VIEWER, better.asset_id)
        assert life is not None
        assert [(v.recipes, v.state, v.is_shown) for v in life.versions] == [
            (("web@1",), Mark.APPROVED, False),
            (("web@2",), Mark.APPROVED, True),
        ]

        jobs = (await running.ada.get("/v1/jobs", params={"request": str(request.request_id)})).json()["jobs"]
        assert {job["status"] for job in jobs} == {"approved"}
        approved = await eventually(lambda: told(running, "assets-approved.v1", AssetApproved, 3))
        assert {(fact.asset_version_id, fact.supersedes) for fact in approved} == {
            (better.asset_version_id, None),
            (worse.asset_version_id, None),
            (better.new_version_id, better.asset_version_id),
        }
        (rejected,) = await eventually(lambda: told(running, "assets-rejected.v1", AssetRejected, 1))
        assert rejected.supersedes == worse.asset_version_id
        assert len(await running.said("requests-completed.v1")) == 1, "the request was complete before, and stays so"
        assert await running.said("jobs-ended.v1") == [], "nobody was cancelled"
        assert (await rebuild(running, check=True))["differences"] == []


async def test_a_decision_on_a_new_version_is_taken_back_like_any_other(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="taken back")
        (job,) = request.jobs
        await running.hear(request.accepted(), *job.life())
        await decide(running, job)
        await running.hear(workspace_changed(running.keys, undo_seconds=3600, revision=2))
        await eventually(lambda: running.sql("select undo_seconds = 3600 from workspaces"))
        await running.hear(job.processed_anew(), request.cancel())
        await decide(running, job)
        (version,) = [v for v in (await one(running, job))["versions"] if v["supersedes"]]
        assert (version["status"], version["decision"]["state"]) == ("completed", "open")
        undone = await running.ada.post(f"/v1/decisions/{version['decision']['decision_id']}/undo")
        assert undone.status_code == 200, undone.text
        assert (await decide(running, job, "reject", code="soft"))["review_version"] == 1


async def told(running: Catalog, topic: str, kind: type[Event], many: int) -> list[Any]:
    found = [event for event in await running.said(topic) if isinstance(event, kind)]
    return found if len(found) == many else []
