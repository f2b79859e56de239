"""A new version of an approved asset: reviewed though its job has ended, decided on apart, and the old one stays."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from typer.testing import CliRunner

from deploy.cli import app
from deploy.local.servers import EmbeddedServers
from services.catalog.web.view import Mark, ReviewQuery, Viewer
from shared.blobs import library_key
from shared.events import (
    AssetApproved,
    AssetRejected,
    DerivativesFailed,
    DerivativesRequested,
    Event,
    ImageProcessed,
    Pin,
)
from shared.library.documents import Recipe
from tests.catalog.facts import BEGIN, BLANK, WORKSPACE, Job, Request
from tests.live.cataloguing import Catalog, catalog, verdict, workspace_changed
from tests.live.items import published
from tests.live.stage import eventually
from tests.live.test_dead_letters import letters, refused
from tests.live.test_rebuild import rebuild
from tests.postprocess.documents import recipe, rendition

VIEWER = Viewer(name="ada", workspace_id=WORKSPACE, workspace="Salt & Linden", csrf="", may_review=True)


FIRST = {"web": Pin(name="web", version=1, digest="1" * 64)}


@asynccontextmanager
async def approved(
    servers: EmbeddedServers, folder: Path, *, variants: int = 1, undo_anew: float = 0.0
) -> AsyncIterator[tuple[Catalog, Request]]:
    """A catalog with a request whose pictures, made by web@1, are all approved; what comes then may be taken back."""
    async with catalog(servers, folder) as running:
        request = Request(name="approved", variants=variants)
        life = [(job.assembled(), job.generated(recipes=FIRST), job.processed()) for job in request.jobs]
        await running.hear(request.accepted(), *(fact for facts in life for fact in facts))
        for job in request.jobs:
            await decide(running, job)
        if undo_anew:
            await running.hear(workspace_changed(running.keys, undo_seconds=undo_anew, revision=2))
            await eventually(lambda: running.sql("select undo_seconds from workspaces"))
        yield running, request


async def publish(running: Catalog) -> Recipe:
    """The next version of the recipe."""
    new = recipe(rendition("square"), version=2)
    key = library_key(WORKSPACE, new.pin().digest)
    await running.service.blobs.put(key, new.canonical(), media_type="application/json")
    await running.hear(published(new, workspace=WORKSPACE, at=BEGIN))
    return new


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
    async with approved(servers, tmp_path, variants=2) as (running, request):
        better, worse = request.jobs
        await running.hear(request.cancel())
        await running.hear(*(job.processed_anew() for job in request.jobs))
        await running.hear(request.cancel(better, after=3))  # of what is approved there is nothing to cancel

        for which, version in (("approved", better.asset_version_id), ("to_review", better.new_version_id)):
            page = await running.pages.review(VIEWER, ReviewQuery(queue=which, asset=better.asset_id))
            assert page.shown is not None
            assert page.shown.asset_version_id == version, f"what stands in the queue {which}"
        listed = await running.assets(status="completed")
        assert {a["asset_version"] for a in listed} == {str(job.new_version_id) for job in request.jobs}
        assert (await one(running, better))["asset_version"] == str(better.asset_version_id), "what stands is shown"
        old = verdict(await one(running, worse)) | {"review_version": 0}
        answer = await running.clients["mara"].post(f"/v1/assets/{worse.asset_id}/decisions", json=old)
        assert answer.status_code == 409 and "newer version" in answer.text

        assert (await decide(running, better))["supersedes"] == str(better.asset_version_id)
        await decide(running, worse, "reject", code="bad_crop")
        assert await running.assets(status="completed") == []
        stood = {a["asset_version"]: a["superseded_by"] for a in await running.assets(status="approved")}
        assert stood == {
            str(better.asset_version_id): str(better.new_version_id),
            str(better.new_version_id): None,
            str(worse.asset_version_id): None,
        }
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
        facts = await eventually(lambda: told(running, "assets-approved.v1", AssetApproved, 3))
        assert {(fact.asset_version_id, fact.supersedes) for fact in facts} == {
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
    async with approved(servers, tmp_path, undo_anew=3600) as (running, request):
        (job,) = request.jobs
        await running.hear(job.processed_anew(), request.cancel())
        await decide(running, job)
        (version,) = [v for v in (await one(running, job))["versions"] if v["supersedes"]]
        assert (version["status"], version["decision"]["state"]) == ("completed", "open")
        undone = await running.ada.post(f"/v1/decisions/{version['decision']['decision_id']}/undo")
        assert undone.status_code == 200, undone.text
        assert (await decide(running, job, "reject", code="soft"))["review_version"] == 1


async def test_a_campaign_is_asked_for_anew_once_and_each_asset_says_why_not(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        new = await publish(running)
        request, other = Request(name="old recipe", variants=2), Request(name="of another", campaign="spring")
        (job, undecided), (elsewhere,) = request.jobs, other.jobs
        await running.hear(request.accepted(), other.accepted())
        for each in (job, undecided, elsewhere):
            await running.hear(each.generated(recipes=FIRST), each.processed())
        await decide(running, job)
        await decide(running, elsewhere)

        asked: dict[str, Any] = {
            "recipes": ["web@2"],
            "where": {"campaign": "winter-home", "asset_type": "product-tile"},
        }
        dry = await rerun(running, **asked, dry_run=True)
        assert (dry["recipes"], [one["asset_id"] for one in dry["requested"]]) == (
            {"web": "web@2"},
            [str(job.asset_id)],
        )
        assert await running.said("derivatives-requested.v1") == []
        both = await asyncio.gather(rerun(running, **asked), rerun(running, **asked))
        assert sorted(len(answer["requested"]) for answer in both) == [0, 1], "asked twice at once, once is asked"
        (refused,) = [one for answer in both for one in answer["refused"]]
        assert "are being run" in refused["why"]
        (fact,) = await eventually(lambda: told(running, "derivatives-requested.v1", DerivativesRequested, 1))
        assert (fact.supersedes, fact.by, fact.image.recipes) == (job.asset_version_id, "otto", {"web": new.pin()})
        assert fact.image.original == job.generated().original
        assert (job.generated().brand, fact.image.brand) == (None, request.accepted().brand), "as its request pinned it"
        trace = (await running.ada.get(f"/v1/trace/{fact.supersedes}")).json()
        assert "asked for by otto: web@2" in next(
            f["words"] for f in trace["facts"] if f["type"] == type(fact).__name__
        )

        fields = job.processed_anew().model_dump(exclude={"event_id", "cause_id"})
        await running.hear(ImageProcessed.of(cause_id=fact.event_id, **fields))
        waits = await rerun(running, **asked)
        assert "waits for a decision" in waits["refused"][0]["why"]
        await decide(running, job)
        (done,) = (await rerun(running, **asked))["refused"]
        assert "is made by web@2" in done["why"], "what stands is the version that was approved last"
        named = await rerun(running, recipes=["web@2"], where={"assets": [str(undecided.asset_id)]})
        assert "no approved asset" in named["refused"][0]["why"]
        three = {"assets": [str(each.asset_id) for each in (job, undecided, elsewhere)]}
        paged = await rerun(running, recipes=["web@2"], where=three, limit=1, dry_run=True)
        assert paged["next"], "two are approved"
        assert [one["why"] for one in paged["refused"] if one["asset_id"] == str(undecided.asset_id)], (
            "told once, first"
        )
        (act,) = (await running.clients["otto"].get("/v1/stages/catalog/actions")).json()["actions"]
        assert (act["action"], act["detail"]["assets"]) == ("asset.rerun", [str(job.asset_id)])
        for client, body, status in (
            (running.ada, asked, 403),
            (running.clients["otto"], {"recipes": ["web@2"]}, 422),
            (running.clients["otto"], {"recipes": ["web@9"], "every": True}, 422),
            (running.clients["otto"], {"recipes": ["web@2", "web@2"], "every": True}, 422),
        ):
            assert (await client.post("/v1/assets/rerun", json=body)).status_code == status


async def test_what_was_made_from_a_version_since_replaced_is_not_approved_over_it(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with approved(servers, tmp_path) as (running, request):
        (job,) = request.jobs
        blank = job.processed_anew().model_copy(update={"checks": [BLANK]})
        fields = blank.model_dump() | {"cause_id": "another ask", "checks": [], "asset_version_id": uuid4()}
        await running.hear(blank, ImageProcessed.of(**{name: fields[name] for name in fields if name != "event_id"}))
        waiting = await decide(running, job)
        over = {"asset_version": str(blank.asset_version_id), "review_version": 1}
        answer = await running.ada.post(f"/v1/assets/{job.asset_id}/decisions", json=verdict(over))
        assert answer.status_code == 409 and "has been replaced" in answer.text, "it would undo the other"
        assert answer.json()["asset_version"] == waiting["asset_version"]
        again = await running.ada.post(f"/v1/assets/{job.asset_id}/decisions", json=verdict(waiting))
        assert again.status_code == 200, "the same decision, sent again"


async def test_an_approval_of_a_new_version_against_a_check_is_taken_back_and_the_rejection_stands(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with approved(servers, tmp_path, undo_anew=3600) as (running, request):
        (job,) = request.jobs
        await running.hear(job.processed_anew().model_copy(update={"checks": [BLANK]}))

        async def overruled() -> Any:
            (version,) = [v for v in (await one(running, job))["versions"] if v["supersedes"]]
            assert (version["status"], version["decision"]["by"]) == ("rejected", "check:entropy")
            return await running.ada.post(f"/v1/assets/{job.asset_id}/decisions", json=verdict(version))

        taken = await overruled()
        assert taken.status_code == 200, taken.text
        assert (await running.ada.post(f"/v1/decisions/{taken.json()['decision_id']}/undo")).status_code == 200
        assert await running.rows("select * from awaiting_review") == []
        assert (await overruled()).status_code == 200


async def test_what_is_approved_while_a_rerun_waits_is_what_it_builds_on(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with approved(servers, tmp_path, undo_anew=3600) as (running, request):
        (job,) = request.jobs
        await publish(running)
        asked: dict[str, Any] = {"recipes": ["web@2"], "every": True}
        await rerun(running, **asked)
        (fact,) = await eventually(lambda: told(running, "derivatives-requested.v1", DerivativesRequested, 1))
        fields = job.processed_anew().model_dump(exclude={"event_id", "cause_id"})
        await running.hear(ImageProcessed.of(cause_id=fact.event_id, **fields))
        await decide(running, job)
        async with running.service.database.acquire() as holder, holder.transaction():
            await holder.execute("select from jobs for update")
            await holder.execute(
                "update decisions set state = 'final', ended_at = clock_timestamp() where state = 'open'"
            )
            waiting = asyncio.create_task(rerun(running, **asked))
            held = "select count(*) from pg_locks where not granted"
            await eventually(lambda: running.sql(held), within=20)
        (refused,) = (await waiting)["refused"]
        assert "is made by web@2" in refused["why"]


async def test_an_ask_whose_record_somebody_gave_up_is_asked_again_as_another(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with approved(servers, tmp_path) as (running, request):
        (job,) = request.jobs
        await publish(running)
        asked: dict[str, Any] = {"recipes": ["web@2"], "every": True}
        for tries, group in ((1, "postprocess-anew"), (2, "catalog")):
            assert (await rerun(running, **asked))["requested"]
            *_, fact = await eventually(partial(told, running, "derivatives-requested.v1", DerivativesRequested, tries))
            fields = job.processed_anew().model_dump(exclude={"event_id", "cause_id"})
            unread = fact if group != "catalog" else ImageProcessed.of(cause_id=fact.event_id, **fields)
            await running.deliver([refused(running, unread, group)])
            await letters(running.clients["otto"], 1)
            assert "are being run" in (await rerun(running, **asked))["refused"][0]["why"], "it may be replayed yet"
            dropped = await running.clients["otto"].post("/v1/dead-letters/drop", json={"every": True})
            assert dropped.json() == {"dropped": 1, "failed_jobs": [], "failed_reruns": [str(job.asset_id)]}
        assert (await rerun(running, **asked))["requested"]


async def test_the_terminal_asks_anew_and_says_how_it_ended_also_where_the_record_was_dropped(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with approved(servers, tmp_path, variants=2) as (running, request):
        broken, lost = request.jobs
        await publish(running)
        assert await calotype(running, "assets", "rerun", "--recipe", "web@2", "--every", "--dry-run") == (
            "2 assets would get a new version by web@2 for web; 0 do not."
        )
        asked = json.loads(await calotype(running, "assets", "rerun", "--recipe", "web@2", "--every", "--json"))
        assert {one["asset_id"] for one in asked["requested"]} == {str(job.asset_id) for job in request.jobs}
        again = await calotype(running, "assets", "rerun", "--recipe", "web@2", "--every")
        assert "0 assets get" in again and again.count("these recipes are being run over it") == 1  # alike: one line
        assert "2 assets" in again and all(str(job.asset_id) in again for job in request.jobs)
        assert "asked for by otto" in await calotype(running, "assets", "show", str(lost.asset_id))

        facts = await eventually(lambda: told(running, "derivatives-requested.v1", DerivativesRequested, 2))
        asks = {fact.asset_id: fact for fact in facts}
        fields = broken.failed_anew().model_dump(exclude={"event_id", "cause_id"})
        await running.hear(DerivativesFailed.of(cause_id=asks[broken.asset_id].event_id, **fields))
        await running.deliver([refused(running, asks[lost.asset_id], "postprocess-anew")])
        await letters(running.clients["otto"], 1)
        dropped = await calotype(running, "dlq", "drop", "--every", "--note", "a test")
        assert f"the new version of asset {lost.asset_id} failed with it" in dropped

        for job, reason, words in (
            (broken, "invalid_request", "no operation 'crpo'"),
            (lost, "internal", "postprocess-anew refused its record (handler_failed), and otto dropped it"),
        ):
            (ended,) = (await one(running, job))["reruns"]
            assert (ended["state"], ended["by"], ended["recipes"]) == ("failed", "otto", {"web": "web@2"})
            assert ended["failure"]["reason"] == reason and words in ended["failure"]["detail"]
            assert f"{reason}: {ended['failure']['detail']}" in await calotype(
                running, "assets", "show", str(job.asset_id)
            )
            life = await running.pages.asset(VIEWER, job.asset_id)
            assert life is not None
            assert [(line.state, words in (line.why or "")) for line in life.reruns] == [(Mark.FAILED, True)]
        once_more = await rerun(running, recipes=["web@2"], every=True)
        assert [each["asset_id"] for each in once_more["requested"]] == [str(lost.asset_id)]
        assert "crpo" in once_more["refused"][0]["why"]
        gone = [fact for fact in await running.said("images-processed.v1") if isinstance(fact, DerivativesFailed)]
        assert {fact.asked for fact in gone} == {None, asks[lost.asset_id].event_id}
        assert (await rebuild(running, check=True))["differences"] == []


async def calotype(running: Catalog, *words: str) -> str:
    """What otto's terminal says."""
    environment = {"CALOTYPE_URL": running.url, "CALOTYPE_KEY": running.keys["otto"].token}
    done = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
    assert done.exit_code == 0, f"{done.output}{done.exception}"
    return done.output.strip()


async def rerun(running: Catalog, **asked: Any) -> dict[str, Any]:
    answer = await running.clients["otto"].post("/v1/assets/rerun", json=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def told(running: Catalog, topic: str, kind: type[Event], many: int) -> list[Any]:
    found = [event for event in await running.said(topic) if isinstance(event, kind)]
    return found if len(found) == many else []
