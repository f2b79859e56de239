"""Made again, and once more with one change: from the page in a real browser, and from the terminal."""

import asyncio
import hashlib
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.live.pipeline import Pipeline, Studio, ask, pipeline
from tests.live.stage import eventually
from tests.servers.chromium import chromium

pytestmark = [pytest.mark.timeout(300), pytest.mark.browser]
expect.set_options(timeout=60_000)
SIZES = ({"width": 1440, "height": 900}, {"width": 390, "height": 844})


@pytest.fixture(scope="module")
def running() -> Iterator[Pipeline]:
    with pipeline() as everything:
        yield everything


async def calotype(studio: Studio, *words: str, code: int = 0) -> Any:
    environment = {**os.environ, "CALOTYPE_URL": str(studio.admin.base_url), "CALOTYPE_KEY": studio.token}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", *words, "--json"), env=environment, stdout=PIPE, stderr=PIPE
    )
    told, said = await process.communicate()
    assert process.returncode == code, said.decode()
    return json.loads(told)


async def first_asset(studio: Studio) -> dict[str, Any]:
    """The second of two variants: to be made again alone."""
    await studio.call("POST", "/v1/requests", json=ask(variants=2), headers={"Idempotency-Key": "first"})

    async def both() -> list[dict[str, Any]]:
        found = await studio.every("/v1/assets", "assets")
        return found if len(found) == 2 else []

    found: list[dict[str, Any]] = await eventually(both, within=90)
    return next(asset for asset in found if asset["variant"] == 2)


async def test_the_terminal_makes_it_again_and_asks_for_one_more_with_one_change(running: Pipeline) -> None:
    async with running.studio() as studio:
        asset = (await first_asset(studio))["asset_id"]
        parent = await studio.call("GET", f"/v1/assets/{asset}")
        found = await calotype(studio, "replay", asset)
        assert (found["verdict"], found["changed"], found["cost"]) == ("exact", [], "0")

        files = await calotype(studio, "replay", asset, "--derivatives")
        assert files["verdict"] == "exact"
        assert {file["rendition"] for file in files["files"]} >= {"32", "16", "proxy-320"}

        with pytest.raises(AssertionError, match="it is over: exact"):
            await calotype(studio, "replay", "--cancel", found["replay_id"])

        same = await calotype(studio, "like", asset, "--seed", "keep", "--wait")
        other = await calotype(studio, "like", asset, "--set", "headline=One change", "--wait")
        another = await calotype(studio, "like", asset, "--seed", "77", "--wait")
        for child in (same, other):
            made = await studio.call("GET", f"/v1/assets/{child['asset_id']}")
            assert (made["parent_asset_id"], made["seed"], made["template"]) == (asset, parent["seed"], "tile@1")
        twin = await studio.call("GET", f"/v1/assets/{same['asset_id']}")
        assert twin["proxies"][0]["sha256"] == parent["proxies"][0]["sha256"], "nothing changed, nothing differs"
        changed = await studio.call("GET", f"/v1/assets/{other['asset_id']}")
        assert changed["brief"]["headline"] == "One change"
        reseeded = await studio.call("GET", f"/v1/assets/{another['asset_id']}")
        assert reseeded["seed"] == 77
        assert reseeded["proxies"][0]["sha256"] != parent["proxies"][0]["sha256"]

        children = (await studio.call("GET", f"/v1/assets/{asset}"))["children"]
        assert [child["asset_id"] for child in children] == [made["asset_id"] for made in (same, other, another)]
        (told,) = (await calotype(studio, "trace", other["asset_id"]))["jobs"]
        assert told["parent_asset_id"] == asset
        (told,) = (await calotype(studio, "trace", asset))["jobs"]
        assert [child["job_id"] for child in told["children"]] == [made["jobs"][0] for made in (same, other, another)]
        async with running.studio() as stranger:
            assert (await stranger.admin.get(f"/v1/assets/{asset}/request")).status_code == 404
        await studio.finish(5)


async def test_a_draft_of_a_recipe_is_tried_on_an_asset_before_it_is_published(
    running: Pipeline, tmp_path: Path
) -> None:
    async with running.studio() as studio:
        asset = (await first_asset(studio))["asset_id"]
        out, draft = tmp_path / "file.jpg", tmp_path / "web.yaml"
        asked = (asset, "--rendition", "32", "--out", str(out))
        published = await calotype(studio, "recipe", "preview", "web@1", *asked)
        shown = await studio.call("GET", f"/v1/assets/{asset}")
        stored = next(file for file in shown["files"] if file.get("rendition") == "32")
        assert hashlib.sha256(out.read_bytes()).hexdigest() == stored.get("unsigned_sha256", stored["sha256"])
        assert (published["width"], published["media_type"]) == (32, "image/jpeg")

        lines = "kind: recipe\nname: web\nversion: 2\nowner: tests\nchannel: web\nrenditions:\n"
        made = "  - {name: '32', width: 24, height: 24, format: webp, operations: [{op: resize, params: {%s}}]}\n"
        draft.write_text(lines + made % "mode: inside")
        tried = await calotype(studio, "recipe", "preview", str(draft), *asked)
        assert (tried["width"], tried["media_type"]) == (24, "image/webp")
        draft.write_text(lines + made % "mod: inside")
        with pytest.raises(AssertionError, match=r"web.yaml:7: renditions.0..operations.0..params.mod: unknown field"):
            await calotype(studio, "recipe", "preview", str(draft), *asked)
        await studio.finish(2)


async def test_the_page_makes_it_again_and_asks_for_one_more(running: Pipeline) -> None:
    async with running.studio() as studio, chromium() as browser:
        asset = (await first_asset(studio))["asset_id"]
        page = await (await browser.new_context(base_url=str(studio.admin.base_url))).new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        link = await studio.call("POST", "/v1/links", json={"next": f"/assets/{asset}"})
        await page.goto(link["url"])
        for number, size in enumerate(SIZES, start=1):
            await page.set_viewport_size(size)  # type: ignore[arg-type]
            await page.goto(f"/assets/{asset}")
            await page.get_by_role("button", name="Make it again, and compare").click()
            await expect(page.locator("#replays .approved")).to_have_text(["exact"] * number)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            await page.screenshot(path=shot(f"again_{size['width']}"), full_page=True)
        await page.get_by_role("button", name="Make the files again, and compare").click()
        await expect(page.locator("#derived .approved").first).to_have_text("exact")
        await page.get_by_role("link", name="web@1").click()
        await expect(page.locator("h1")).to_have_text("web@1 beside web@1")
        await expect(page.locator(".sides .not").first).to_contain_text("32 × 32 JPEG, quality 82")
        pictures = page.locator(".sides img")
        await expect(pictures).to_have_count(4)
        for place, width in enumerate([32, 32, 16, 16]):  # each is there when its preview was made
            await expect(pictures.nth(place)).to_have_js_property("naturalWidth", width)
        await page.goto(f"/assets/{asset}")
        await page.get_by_label("headline").fill("One change <b>of many</b>")
        await page.get_by_label("seed").fill("77")
        await page.get_by_role("button", name="Make one more like it").click()
        await expect(page).to_have_url(re.compile(r"/jobs\?show=all&job="))

        async def child() -> str:
            (found,) = (await studio.call("GET", f"/v1/assets/{asset}"))["children"] or [{}]
            return str(found.get("asset_id") or "")

        made = await eventually(child, within=60)
        await page.goto(f"/assets/{made}")
        await expect(page.locator("article")).to_contain_text(f"Asked to be more like asset {asset[:4]}…{asset[-4:]}")
        await expect(page.locator("article")).to_contain_text("One change <b>of many</b>")
        await expect(page.locator("article")).to_contain_text("seed 77")
        await page.goto(f"/assets/{asset}")
        await page.get_by_label("headline").fill("x" * 5000)
        await page.get_by_role("button", name="Make one more like it").click()
        await expect(page.get_by_role("heading")).to_have_text("Nothing was made.")
        await expect(page.locator("p").first).to_contain_text("headline")
        complaints = [said for said in complaints if "422" not in said]  # the browser's note about the refusal
        assert complaints == []


def shot(name: str) -> str | None:
    folder = os.environ.get("CALOTYPE_SCREENSHOTS")
    return str(Path(folder) / f"{name}.png") if folder else None
