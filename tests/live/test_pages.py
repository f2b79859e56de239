"""The pages of a real catalog in a real browser: what people decide there becomes a fact, and what happens shows up."""

import hashlib
import io
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Page, expect

from deploy.local.servers import EmbeddedServers
from shared.blobs import blob_key, library_key
from shared.events import AssetApproved, AssetRejected, Event, File
from shared.http import SESSION_COOKIE
from shared.identity import new_key, sign
from shared.library.documents import Rubric, RubricLine
from tests.catalog import facts
from tests.catalog.facts import TRACE, Request
from tests.live.cataloguing import Catalog, catalog, verdict, workspace_changed
from tests.live.stage import eventually
from tests.servers.chromium import chromium

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
expect.set_options(timeout=20_000)

LONG = 3600.0
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
HOST = "calotype.test"  # the catalog's public address; the browser is told where it stands
WALLS = ("#F2ECE0", "#2E4B52", "#E3B9A2", "#9BA36B", "#C4704A", "#C9CFCB")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Catalog]:
    async with catalog(servers, tmp_path_factory.mktemp("catalog")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(running: Catalog) -> AsyncIterator[Browser]:
    port = running.url.rpartition(":")[2]
    async with chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{port}") as started:
        yield started


@dataclass(eq=False)
class Desk:
    """A workspace of its own, and a browser somebody of it is signed in with."""

    running: Catalog
    workspace: UUID
    page: Page
    clients: dict[str, httpx.AsyncClient]
    complaints: list[str]

    async def look(self, path: str = "/review") -> Page:
        await self.page.goto(path)
        if path.startswith(("/review", "/jobs")):
            await expect(self.page.locator("#live.on")).to_have_count(1)
        return self.page

    def request(self, name: str = "a", **more: Any) -> Request:
        return Request(name=name, workspace=self.workspace, **more)

    async def assets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.clients["ada"].get("/v1/assets")).json()["assets"]
        return found

    async def said(self, topic: str) -> Event:
        """The one fact of this workspace on a topic, once it is there."""

        async def found() -> list[Event]:
            return [event for event in await self.running.said(topic) if event.workspace == self.workspace]

        facts_: list[Event] = await eventually(found)
        assert len(facts_) == 1
        return facts_[0]

    async def arrive(self, request: Request, *, pictures: bool = True) -> None:
        """Its pictures and rubric are in the store before the facts that name them."""
        lines = [
            RubricLine(id="label", text="Label legible and correct"),
            RubricLine(id="light", text="Light as asked"),
        ]
        rubric = Rubric(name="tiles", version=2, owner="ada", lines=lines).model_dump_json().encode()
        pin = facts.RUBRIC.model_copy(update={"digest": hashlib.sha256(rubric).hexdigest()})
        store = self.running.service.blobs
        await store.put(library_key(self.workspace, pin.digest), rubric, media_type="application/json")
        told: list[Event] = [request.accepted()]
        for job in request.jobs:
            files = [
                drawn(job, name, side) for name, side in (("original", 1024), ("proxy-320", 320), ("proxy-1024", 1024))
            ]
            for file in files if pictures else ():
                await store.put(file.key, picture(str(job.job_id), file.width or 0), media_type=file.media_type)
            changed = {"original": files[0], "proxies": files[1:], "rubric": pin}
            told += [job.assembled(), job.generated(), job.processed().model_copy(update=changed)]
        await self.running.hear(*told)


@asynccontextmanager
async def desk(
    running: Catalog, browser: Browser, *, who: str | None = "ada", undo_seconds: float = LONG
) -> AsyncIterator[Desk]:
    workspace = uuid4()
    keys = {name: new_key() for name in ("ada", "mara", "rita")}
    await running.hear(workspace_changed(keys, workspace=workspace, undo_seconds=undo_seconds))

    async def known() -> bool:
        count = await running.sql("select count(*) from api_keys where workspace = $1", workspace)
        return bool(count == len(keys))

    await eventually(known)
    context = await browser.new_context(base_url=f"http://{HOST}", viewport=DESK)  # type: ignore[arg-type]
    if who:
        secret = running.service.gate.secret
        session = sign({"key_id": keys[who].key_id}, secret=secret, purpose="session", seconds=LONG)
        await context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": f"http://{HOST}"}])
    complaints: list[str] = []
    page = await context.new_page()
    await page.route("**/v1/replays/of/*", lambda route: route.fulfill(body='<dl id="replays"></dl>'))  # inference's
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    clients = {
        name: httpx.AsyncClient(base_url=running.url, headers={"Authorization": f"Bearer {key.token}"})
        for name, key in keys.items()
    }
    yield Desk(running, workspace, page, clients, complaints)
    for client in clients.values():
        await client.aclose()
    await context.close()
    assert complaints == []


def drawn(job: facts.Job, name: str, side: int) -> File:
    """A file of the job with the hash of bytes that exist."""
    digest = hashlib.sha256(picture(str(job.job_id), side)).hexdigest()
    key = blob_key(job.request.workspace, job.asset_id, digest, "png")
    file = job.file(name, width=side, height=side, rendition=name)
    return file.model_copy(update={"sha256": digest, "key": key})


def picture(name: str, side: int) -> bytes:
    """A wall in one of the brand's colours."""
    wall = WALLS[hashlib.sha256(name.encode()).digest()[0] % len(WALLS)]
    out = io.BytesIO()
    Image.new("RGB", (side, side), wall).save(out, "PNG")
    return out.getvalue()


def shot(name: str) -> str | None:
    """Where CI keeps what the pages look like."""
    folder = os.environ.get("CALOTYPE_SCREENSHOTS")
    return str(Path(folder) / f"live_{name}.png") if folder else None


async def test_an_approval_by_key_becomes_a_public_fact(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser, undo_seconds=0) as at:
        request = at.request(variants=3, batch="winter-home.csv")
        await at.arrive(request)
        page = await at.look()
        await expect(page.locator(".frame")).to_have_count(3)
        await page.wait_for_function(
            "() => { const p = document.getElementById('picture'); return p.complete && p.width }"
        )
        await page.keyboard.press("2")
        await page.keyboard.press("Enter")
        await expect(page.locator(".frame.approved")).to_have_count(1)
        fact = await at.said("assets-approved.v1")
        assert isinstance(fact, AssetApproved)
        assert (fact.asset_id, [a.principal for a in fact.approvers]) == (request.jobs[0].asset_id, ["ada"])
        assert await running.sql("select rubric from decisions where workspace = $1", at.workspace) == ["light"]


async def test_a_rejection_by_click_carries_its_code(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser, undo_seconds=0) as at:
        await at.arrive(at.request())
        page = await at.look()
        await page.get_by_role("button", name="Reject").click()
        await page.get_by_label("In your words").fill("the glow is clipped")
        await page.get_by_role("button", name="off palette").click()
        await expect(page.get_by_role("heading", name="Nothing waits.")).to_be_visible()
        fact = await at.said("assets-rejected.v1")
        assert isinstance(fact, AssetRejected)
        assert (fact.code, fact.reason, fact.by.principal) == ("off_palette", "the glow is clipped", "ada")


async def test_an_undone_decision_was_never_a_fact(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at:
        request = at.request(variants=2)
        await at.arrive(request)
        page = await at.look()
        first = page.locator(f"#judge-{request.jobs[0].asset_id}")
        await page.keyboard.press("Enter")
        await expect(page.locator(".toast .what")).to_be_visible()
        await page.keyboard.press("z")
        await expect(first).to_be_visible()
        await page.get_by_role("button", name="Approve").click()
        await page.get_by_role("button", name="Undo").click()
        await expect(first).to_be_visible()
        assert {asset["status"] for asset in await at.assets()} == {"completed"}
        assert [e for e in await running.said("assets-approved.v1") if e.workspace == at.workspace] == []


async def test_who_was_quicker_is_named_on_the_picture(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at:
        await at.arrive(at.request())
        page = await at.look()
        (shown,) = await at.assets()
        answer = await at.clients["mara"].post(f"/v1/assets/{shown['asset_id']}/decisions", json=verdict(shown))
        assert answer.status_code == 200
        await expect(page.locator(".stands")).to_have_text(re.compile(r"mara approved at \d\d:\d\d"))
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        await page.screenshot(path=shot("conflict"))


async def test_what_kafka_brings_is_counted_and_shown_when_asked_for(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at:
        await at.arrive(at.request("first", variants=2))
        page = await at.look()
        await at.arrive(at.request("second", variants=3))
        await expect(page.locator("#news")).to_have_text("3 new, show")
        assert await page.locator(".frame").count() == 2
        await page.locator("#news").click()
        await expect(page.locator(".frame")).to_have_count(5)


async def test_jobs_move_over_the_page_while_it_is_looked_at(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at:
        request = at.request(variants=3, batch="winter-home.csv")
        page = await at.look("/jobs")
        await expect(page.locator(".first")).to_be_visible()
        await running.hear(request.accepted(), *(job.assembled() for job in request.jobs))
        await expect(page.locator(".squares")).to_have_attribute("data-squares", re.compile("^[pw]{3}$"))
        await at.arrive(request)
        await expect(page.locator(".squares")).to_have_attribute("data-squares", "ccc")
        await page.locator(".squares").focus()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Enter")
        await expect(page.locator(".drawer .id")).to_have_text(f"job {request.jobs[1].job_id}")
        await expect(page.locator(".drawer")).to_contain_text("an amber bottle on a bone wall")
        await page.screenshot(path=shot("drawer"))


async def test_one_address_tells_the_whole_life(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser, undo_seconds=0) as at:
        request = at.request(batch="winter-home.csv")
        (job,) = request.jobs
        await at.arrive(request)
        page = await at.look()
        await page.get_by_role("button", name="Approve").click()
        await expect(page.get_by_role("heading", name="Nothing waits.")).to_be_visible()
        await running.hear(job.published())
        page = await at.look(f"/assets/{job.asset_id}")
        told = await page.inner_text("article")
        parts = ["Asked", "ada", "Worded", "an amber bottle on a bone wall", "Made", "seed 4201", "Cut and checked"]
        parts += ["web-wide", "Decided", "approved by ada", "Published", "/published/salt-marsh", "Every fact"]
        places = [told.find(part) for part in parts]
        assert -1 not in places and places == sorted(places), list(zip(parts, places, strict=True))
        assert TRACE in await page.inner_text(".look")


async def test_a_lost_picture_is_a_grey_frame_that_says_why(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at:
        request = at.request()
        await at.arrive(request, pictures=False)
        page = await at.look()
        await expect(page.locator(".gone")).to_contain_text(str(request.jobs[0].asset_id))
        at.complaints.clear()  # the browser's note about the thumb that is not there


async def test_a_reader_sees_who_may_decide(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser, who="rita") as at:
        await at.arrive(at.request())
        page = await at.look()
        await expect(page.locator(".decided")).to_contain_text("You may look, not decide.")
        await expect(page.locator(".decided")).to_contain_text("mara")
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_nobody_sees_another_workspace(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at, desk(running, browser) as other:
        await other.arrive(other.request())
        page = await at.look()
        await expect(page.get_by_role("heading", name="Nothing waits.")).to_be_visible()
        answer: Any = await page.goto(f"/assets/{other.request().jobs[0].asset_id}")
        assert answer.status == 404
        at.complaints.clear()  # the browser's note about the 404


async def test_a_visitor_is_shown_the_way_in(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser, who=None) as at:
        answer: Any = await at.page.goto("/review")
        assert answer.status == 401
        await expect(at.page.locator("code")).to_have_text("calotype link")
        at.complaints.clear()  # the browser's note about the 401


async def test_no_page_is_wider_than_its_window(running: Catalog, browser: Browser) -> None:
    async with desk(running, browser) as at:
        requests = [at.request(f"row {n}", variants=3, batch="winter-home.csv") for n in range(4)]
        for request in requests:
            await at.arrive(request)
        job = requests[0].jobs[0]
        paths = {
            "review": "/review",
            "jobs": "/jobs",
            "job": f"/jobs?job={job.job_id}",
            "asset": f"/assets/{job.asset_id}",
        }
        for size in (DESK, PHONE):
            await at.page.set_viewport_size(size)  # type: ignore[arg-type]
            for name, path in paths.items():
                page = await at.look(path)
                assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, size)
                await page.screenshot(path=shot(f"{name}_{size['width']}"))
