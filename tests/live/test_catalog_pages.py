"""The pages over the catalog's own tables: what is drawn is what is there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from deploy.local.servers import EmbeddedServers
from services.catalog.web.data import CatalogPages
from services.catalog.web.view import Conflict, Decided, JobsQuery, Mark, ReviewQuery, Ruling, Shown, Undone, Viewer
from shared import identity
from shared.blobs import library_key
from shared.errors import Rejected
from shared.events import Event, JobStatus, WaitingOn
from shared.http import SESSION_COOKIE
from shared.library.documents import Rubric, RubricLine
from tests.catalog.facts import WORKSPACE, Request
from tests.live.cataloguing import Catalog, catalog
from tests.live.stage import eventually

ADA = Viewer(name="ada", workspace_id=WORKSPACE, workspace="Salt & Linden", csrf="token")
LONG = 3600.0


@asynccontextmanager
async def pages(
    servers: EmbeddedServers, folder: Path, *, undo_seconds: float = LONG
) -> AsyncIterator[tuple[Catalog, CatalogPages]]:
    async with catalog(servers, folder, undo_seconds=undo_seconds) as running:
        yield running, running.pages


def ruling(shown: Shown, decision: str = "approve", **more: object) -> Ruling:
    return Ruling(
        asset_id=shown.asset_id,
        asset_version_id=shown.asset_version_id,
        review_version=shown.review_version,
        decision=decision,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


async def store(running: Catalog, *requests: Request) -> None:
    """The bytes that the facts of these requests name."""
    for request in requests:
        for job in request.jobs:
            for file in (*job.processed().proxies, job.processed().original):
                data = f"{job.job_id} {job.run} {file.name}".encode()
                await running.service.blobs.put(file.key, data, media_type=file.media_type)


async def test_a_reviewer_walks_the_queue_from_front_to_end(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with pages(servers, tmp_path) as (running, data):
        first, second = Request(name="first", variants=2), Request(name="second", campaign="gifts")
        await store(running, first, second)
        for request in (first, second):
            await running.hear(*request.life())
        review = await data.review(ADA, ReviewQuery())
        assert [(c.key, c.count) for c in review.queues] == [("to_review", 3), ("approved", 0), ("rejected", 0)]
        assert [(c.key, c.words, c.count) for c in review.campaigns] == [
            ("gifts", "Gifts", 1),
            ("winter-home", "Winter home", 2),
        ]
        assert [len(s.frames) for s in review.sets] == [2, 1]
        shown = review.shown
        assert shown is not None
        assert (shown.name, shown.line) == (
            "Salt Marsh candle, product tile",
            "Salt Marsh candle · product tile · variant 1 of 2",
        )
        assert (shown.position, shown.of, shown.sku) == (1, 2, "SL-CND-220")
        assert shown.asked == ("“Evenings, slowly”", "bone", "en")
        assert (shown.made_by.backend, shown.made_by.seed, str(shown.made_by.cost.amount)) == ("proof", 4201, "0.040")
        assert shown.picture is not None and shown.missing is None
        seen = [shown.asset_id]
        decided = await data.decide(ADA, ruling(shown))
        assert isinstance(decided, Decided)
        while following := review.next_open:
            review = await data.review(ADA, ReviewQuery(asset=following))
            assert review.shown is not None
            seen.append(review.shown.asset_id)
            assert isinstance(await data.decide(ADA, ruling(review.shown, "reject", code="soft")), Decided)
        assert seen == [job.asset_id for request in (first, second) for job in request.jobs]
        done = await data.review(ADA, ReviewQuery())
        assert done.shown is None
        assert [f.state for s in done.sets for f in s.frames] == [Mark.APPROVED, Mark.REJECTED, Mark.REJECTED]
        assert (done.pace.decided, done.pace.total, done.pace.accepted) == (3, 3, 1)


async def test_a_decision_can_be_undone_from_the_page_and_a_conflict_names_who(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with pages(servers, tmp_path) as (running, data):
        await running.hear(*Request(name="undone").life())
        shown = (await data.review(ADA, ReviewQuery())).shown
        assert shown is not None
        mara = Viewer(name="mara", workspace_id=WORKSPACE, workspace="", csrf="")
        decided = await data.decide(mara, ruling(shown))
        assert isinstance(decided, Decided)
        conflict = await data.decide(ADA, ruling(shown, "reject", code="soft"))
        assert isinstance(conflict, Conflict) and conflict.what.startswith("mara approved at ")
        review = await data.review(mara, ReviewQuery(asset=shown.asset_id, last=decided.decision_id))
        assert review.last is not None and review.last.undo_until is not None and review.last.mine
        assert isinstance(await data.undo(mara, decided.decision_id), Undone)
        again = (await data.review(ADA, ReviewQuery())).shown
        assert again is not None and again.review_version == 1 and again.decision is None
        assert isinstance(await data.undo(mara, decided.decision_id), Conflict)


async def test_missing_bytes_are_named_and_the_rubric_is_read_once_it_is_there(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with pages(servers, tmp_path) as (running, data):
        rubric = Rubric(name="tiles", version=2, owner="studio", lines=[RubricLine(id="label", text="Label legible")])
        request = Request(name="missing", rubric=rubric.pin())
        await running.hear(*request.life())
        shown = (await data.review(ADA, ReviewQuery())).shown
        assert shown is not None
        assert shown.picture is None and shown.missing is not None
        assert shown.rubric == ()
        key = library_key(WORKSPACE, rubric.pin().digest)
        await running.service.blobs.put(key, rubric.canonical(), media_type="application/json")
        await data.decide(ADA, ruling(shown, rubric=("label",)))
        life = await data.asset(ADA, shown.asset_id)
        assert life is not None
        assert [(line.key, line.words, line.met) for line in life.rubric] == [("label", "Label legible", True)]
        assert life.decisions[0].by == "ada"


def in_every_state(request: Request) -> list[Event]:
    pending, running_, waits, failed, completed = request.jobs
    return [
        request.accepted(),
        pending.assembled(),
        running_.assembled(),
        running_.generated(),
        waits.assembled(),
        waits.progressed(status=JobStatus.PENDING, waiting_on=WaitingOn.RATE, detail="proof, 2 a second", preview=6),
        failed.assembled(),
        failed.failed(),
        *completed.life(),
    ]


async def test_the_jobs_page_counts_every_state_once(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with pages(servers, tmp_path) as (running, data):
        request = Request(name="states", variants=5, batch="winter")
        single = Request(name="single")
        facts = in_every_state(request)
        await running.send(*facts)
        await running.hear(*(f for f in facts if type(f).__name__ != "JobProgressed"), single.accepted())

        async def noted() -> bool:
            return bool(await running.sql("select count(*) from progress"))

        await eventually(noted)
        jobs = await data.jobs(ADA, JobsQuery())
        assert jobs.in_flight == 4
        by_name = {batch.name: batch for batch in jobs.batches}
        assert by_name["Winter home"].squares == "prwfc"
        assert by_name["Winter home"].counts == {
            Mark.PENDING: 1,
            Mark.RUNNING: 1,
            Mark.WAITING: 1,
            Mark.FAILED: 1,
            Mark.COMPLETED: 1,
        }
        assert by_name["Single requests"].squares == "p"
        stages = {stage.key: (stage.waiting, stage.running, stage.failed) for stage in jobs.stages}
        assert stages == {
            "intake": (0, 0, 0),
            "prompt": (1, 0, 0),
            "inference": (2, 0, 1),
            "postprocess": (1, 0, 0),
            "review": (1, 0, 0),
            "publish": (0, 0, 0),
        }
        assert [(cause.key, cause.count) for cause in jobs.waiting_on] == [("rate", 1), ("review", 1)]
        assert [entry.state for entry in jobs.entries] == [Mark.FAILED, Mark.COMPLETED]
        assert "did not answer within 120 s" in jobs.entries[0].cause
        for show, states in (("failed", [Mark.FAILED]), ("running", [Mark.RUNNING])):
            shown = await data.jobs(ADA, JobsQuery(show=show))
            assert [entry.state for entry in shown.entries] == states
        rate = await data.jobs(ADA, JobsQuery(show="all", waiting="rate"))
        assert [entry.state for entry in rate.entries] == [Mark.WAITING]
        drawn = (await data.jobs(ADA, JobsQuery(job=request.jobs[2].job_id))).job
        assert drawn is not None and drawn.preview == f"/v1/previews/{drawn.job_id}?step=6"
        assert request.batch_id is not None
        assert await data.job_at(ADA, request.batch_id, 3) == request.jobs[3].job_id
        assert await data.job_at(ADA, WORKSPACE, 0) == single.jobs[0].job_id
        assert await data.job_at(ADA, request.batch_id, 5) is None


async def test_a_drawer_tells_where_the_time_went(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with pages(servers, tmp_path, undo_seconds=0) as (running, data):
        request = Request(name="drawer")
        (job,) = request.jobs
        await running.hear(*request.life())
        shown = (await data.review(ADA, ReviewQuery())).shown
        assert shown is not None
        await data.decide(ADA, ruling(shown))
        await running.hear(job.published())
        drawer = (await data.jobs(ADA, JobsQuery(job=job.job_id))).job
        assert drawer is not None
        assert drawer.state is Mark.APPROVED
        assert drawer.why.startswith("Approved by ada at ")
        assert [(s.kind, s.words) for s in drawer.spans][:4] == [
            ("work", "prompt"),
            ("wait", "a worker"),
            ("work", "inference"),
            ("work", "postprocess"),
        ]
        assert drawer.spans[2].seconds == pytest.approx(1.5)
        assert [p.state for p in drawer.publications] == ["delivered"]
        life = await data.asset(ADA, job.asset_id)
        assert life is not None
        assert [fact.stage for fact in life.facts][:4] == ["intake", "prompt", "inference", "postprocess"]
        assert life.asked_by == "ada" and life.cost.amount is not None


async def test_another_workspace_is_shown_nothing(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with pages(servers, tmp_path) as (running, data):
        request = Request(name="secret", batch="secret")
        (job,) = request.jobs
        await running.hear(*request.life())
        stranger = Viewer(name="eve", workspace_id=uuid4(), workspace="Elsewhere", csrf="")
        review = await data.review(stranger, ReviewQuery(asset=job.asset_id))
        assert review.shown is None and review.sets == ()
        jobs = await data.jobs(stranger, JobsQuery(job=job.job_id))
        assert jobs.job is None and jobs.batches == ()
        assert await data.asset(stranger, job.asset_id) is None
        with pytest.raises(Rejected):
            await data.decide(stranger, ruling_of(job.asset_id, job.asset_version_id))


def ruling_of(asset: object, version: object) -> Ruling:
    return Ruling(asset_id=asset, asset_version_id=version, review_version=0, decision="approve")  # type: ignore[arg-type]


async def test_a_signed_in_browser_sees_and_decides_and_nobody_else_does(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with pages(servers, tmp_path) as (running, _):
        request = Request(name="browser")
        (job,) = request.jobs
        await store(running, request)
        await running.hear(*request.life())
        session = identity.sign(
            {"key_id": running.keys["ada"].key_id, "at": datetime.now(UTC).isoformat()},
            secret="of the live tests",
            purpose="session",
            seconds=600,
        )
        form = {
            "asset_id": str(job.asset_id),
            "asset_version": str(job.asset_version_id),
            "review_version": "0",
            "decision": "approve",
            "next": "/review",
            "back": "/review",
        }
        async with httpx.AsyncClient(base_url=running.url, cookies={SESSION_COOKIE: session}) as browser:
            page = await browser.get("/review")
            assert page.status_code == 200, page.text
            assert "Salt Marsh candle, product tile" in page.text
            for path in ("/jobs", f"/assets/{job.asset_id}", f"/jobs?job={job.job_id}"):
                assert (await browser.get(path)).status_code == 200
            forged = await browser.post("/review/decisions", data=form | {"csrf": "forged"})
            assert forged.status_code == 403
            csrf = identity.csrf_token(session, secret="of the live tests")
            sent = await browser.post("/review/decisions", data=form | {"csrf": csrf})
            assert sent.status_code == 303, sent.text
        async with httpx.AsyncClient(base_url=running.url) as nobody:
            assert (await nobody.get("/review")).status_code == 401
        assert await running.sql("select principal from decisions") == "ada"
