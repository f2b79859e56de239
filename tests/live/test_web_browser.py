"""The pages in a real browser, over the fixture campaign: keys, live events, squares, phone."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, Route, expect

from services.catalog.web.keys import KEYS
from services.catalog.web.view import Mark
from tests.catalog.campaign import big_batch
from tests.catalog.fake_pages import FakePages, reviewed
from tests.catalog.preview import DRIFTED, REPLAY, preview
from tests.servers.chromium import chromium

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
# Two cores are shared by whoever else builds: a condition may take its time to become true.
expect.set_options(timeout=20_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@asynccontextmanager
async def house(fake: FakePages) -> AsyncIterator[str]:
    """The pages at an address of their own."""
    server = uvicorn.Server(uvicorn.Config(preview(fake), port=0, log_level="error", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def visit(
    browser: Browser,
    fake: FakePages,
    path: str = "/review",
    *,
    size: dict[str, int] = DESK,
    script: bool = True,
    forgiven: str = "^$",
) -> AsyncIterator[Page]:
    """A page that has loaded; whatever the browser complains about fails the test, but for `forgiven`."""
    complaints: list[str] = []
    async with house(fake) as address:
        context = await browser.new_context(base_url=address, viewport=size, java_script_enabled=script)  # type: ignore[arg-type]
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        await page.goto(path)
        if script:
            await expect(page.locator("#live.on, .life, .recipe")).to_have_count(1)
        yield page
        await context.close()
    assert [said for said in complaints if not re.search(forgiven, said)] == []


def shot(name: str) -> str | None:
    """Where CI keeps what the pages look like."""
    folder = os.environ.get("CALOTYPE_SCREENSHOTS")
    return str(Path(folder) / f"{name}.png") if folder else None


async def line(page: Page) -> str:
    return await page.inner_text(".tools p")


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("ArrowRight", 13),
        ("l", 13),
        ("ArrowLeft", 11),
        ("h", 11),
        ("ArrowDown", 15),
        ("j", 15),
        ("ArrowUp", 9),
        ("k", 9),
    ],
)
async def test_a_key_moves_to_the_neighbour(browser: Browser, key: str, place: int) -> None:
    fake = reviewed()
    async with visit(browser, fake, f"/review?asset={fake.pieces[12].asset_id}") as page:
        await page.keyboard.press(key)
        await expect(page.locator(".frame[aria-current]")).to_have_id(f"f-{fake.pieces[place].asset_id}")
        assert str(fake.pieces[place].asset_id) in page.url
        await page.go_back()
        await expect(page.locator(".frame[aria-current]")).to_have_id(f"f-{fake.pieces[12].asset_id}")


async def test_a_set_is_decided_by_keys_alone(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake) as page:
        await page.keyboard.press("2")
        await expect(page.locator(".rubric :checked")).to_have_value("label_legible")
        await page.keyboard.press("Enter")
        await expect(page.locator(".toast .what")).to_have_text("Salt Marsh, product tile")
        assert (fake.pieces[9].state, fake.pieces[9].met) == (Mark.APPROVED, frozenset({"label_legible"}))
        await expect(page.locator(".rubric :checked")).to_have_count(0)

        await page.keyboard.press("x")
        await expect(page.locator(".codes")).to_be_visible()
        await page.keyboard.press("3")
        await expect(page.locator(".toast .what")).to_contain_text("label wrong")
        decision = fake.pieces[10].decision
        assert decision and decision.code == "label_wrong"
        await expect(page.locator(".codes")).to_be_hidden()

        await page.keyboard.press("z")
        await expect(page.locator(f"#judge-{fake.pieces[10].asset_id}")).to_be_visible()
        assert fake.pieces[10].state is Mark.COMPLETED
        await expect(page.locator(".frame.approved")).to_have_count(9)


async def test_approve_reject_and_undo_by_click(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake) as page:
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator(".toast:not([hidden])")).to_contain_text("Approved")
        await page.get_by_role("button", name="Reject").click()
        await page.get_by_label("In your words").fill("the wick leans")
        await page.keyboard.press("Enter")  # in the text: decides nothing
        await page.get_by_role("button", name="artefact").click()
        await expect(page.locator(".toast .what")).to_contain_text("artefact")
        decision = fake.pieces[10].decision
        assert decision and decision.reason == "the wick leans"
        await page.get_by_role("button", name="Undo").click()
        await expect(page.locator(f"#judge-{fake.pieces[10].asset_id}")).to_be_visible()
        assert [piece.state for piece in fake.pieces[9:11]] == [Mark.APPROVED, Mark.COMPLETED]


async def press_each(page: Page, presses: dict[str, Callable[[], Awaitable[object]]]) -> None:
    for key, seen in presses.items():
        await page.keyboard.press(key)
        await seen()


async def test_every_printed_key_works_and_no_other_is_printed(browser: Browser) -> None:
    fake = reviewed()
    fake.undo_seconds = 600
    async with visit(browser, fake, f"/review?asset={fake.pieces[12].asset_id}") as page:

        def at(place: int) -> Callable[[], Awaitable[object]]:
            frame = page.locator(".frame[aria-current]")
            return lambda: expect(frame).to_have_id(f"f-{fake.pieces[place].asset_id}")

        def is_there(selector: str, count: int = 1) -> Callable[[], Awaitable[object]]:
            return lambda: expect(page.locator(selector)).to_have_count(count)

        async def space() -> None:
            await page.keyboard.down("Space")
            await expect(page.locator(".loupe.held img")).to_be_visible()
            await page.keyboard.up("Space")
            await expect(page.locator(".loupe")).to_have_count(0)

        tried: dict[str, dict[str, Callable[[], Awaitable[object]]]] = {
            "→": {"ArrowRight": at(13)},
            "←": {"ArrowLeft": at(12)},
            "↓": {"ArrowDown": at(15)},
            "↑": {"ArrowUp": at(12)},
            "l": {"l": at(13)},
            "h": {"h": at(12)},
            "j": {"j": at(15)},
            "k": {"k": at(12)},
            "digit": {"4": is_there(".rubric :checked")},
            "↵": {"Enter": is_there(".frame.approved", 9)},
            "X": {"x": is_there(".codes:popover-open"), "1": is_there(".frame.rejected", 2)},
            "Z": {"z": is_there(".frame.rejected", 1)},
            "B": {"b": is_there(".review.on-black")},
            "I": {"i": is_there(".review.plain")},
            "?": {"?": is_there("#keys:popover-open")},
            "Esc": {"Escape": is_there("#keys:popover-open", 0)},
        }
        for presses in tried.values():
            await press_each(page, presses)
        await space()

        printed = {
            key
            for heading, lines in KEYS
            if heading in {"In Review", "Everywhere"}
            for keys, _ in lines
            for key in keys
        }
        assert printed == {*tried, "Space"}
        answering = set(
            " ".join(await page.locator("[data-key]").evaluate_all("all => all.map(e => e.dataset.key)")).split()
        )
        named = {"Arrow": "←→↑↓", "Enter": "↵", "Escape": "Esc"}
        spoken = {re.sub(r"^Arrow\w+", "arrow", key) for key in answering}
        assert {key for key in spoken if key not in {"arrow", *named} and not key.isdigit()} <= {
            key.lower() if len(key) == 1 else key for key in printed
        }


async def test_a_held_key_does_not_decide_again(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake) as page:
        await page.keyboard.down("Enter")
        await expect(page.locator(".toast .what")).to_be_visible()
        for _ in range(5):
            await page.keyboard.down("Enter")  # a repeat, until it is up
        await page.keyboard.up("Enter")
        await page.keyboard.press("ArrowRight")
        await expect(page.locator(".frame[aria-current]")).to_have_id(f"f-{fake.pieces[11].asset_id}")
    assert [piece.state for piece in fake.pieces[9:12]] == [Mark.APPROVED, Mark.COMPLETED, Mark.COMPLETED]


async def test_no_picture_is_approved_before_it_was_seen(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake) as page:
        arrive = asyncio.Event()

        async def late(route: Route) -> None:
            await arrive.wait()
            await route.continue_()

        await page.route(re.compile(r"/pictures/7/"), late)
        await page.locator(f"#f-{fake.pieces[21].asset_id}").click()
        await expect(page.locator("#picture")).to_have_attribute("src", re.compile("/7/1/"))
        await page.keyboard.press("Enter")
        await page.keyboard.press("b")
        await expect(page.locator(".review.on-black")).to_have_count(1)
        assert fake.pieces[21].state is Mark.COMPLETED
        arrive.set()
        await page.wait_for_function("() => document.getElementById('picture').complete")
        await page.keyboard.press("Enter")
        await expect(page.locator(".toast .what")).to_be_visible()
        assert fake.pieces[21].decision


# Others, and the stream ---------------------------------------------------------------------------------------------


async def test_what_another_decides_appears_by_name_without_a_dialog(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake) as page:
        fake.rule(fake.pieces[11], Mark.APPROVED, by="Mara Lind")
        await expect(page.locator(f"#f-{fake.pieces[11].asset_id} .verdict")).to_have_text("approved")
        await expect(page.locator("#rail [aria-current] b")).to_have_text("26")
        fake.rule(fake.pieces[9], Mark.REJECTED, by="Mara Lind", code="artefact")
        await expect(page.locator(".stands")).to_contain_text("Mara Lind rejected at")
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        await page.screenshot(path=shot("review_conflict"))


async def test_a_page_waits_with_what_is_new_until_the_open_sheet_is_closed(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake) as page:
        await page.keyboard.press("x")
        await expect(page.locator(".codes")).to_be_visible()
        fake.rule(fake.pieces[9], Mark.REJECTED, by="Mara Lind", code="artefact")
        await expect(page.locator(f"#f-{fake.pieces[9].asset_id} .verdict")).to_have_text("rejected")
        await expect(page.locator(".codes")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator(".stands")).to_contain_text("Mara Lind rejected at")


async def test_arrivals_are_counted_and_shown_only_when_asked_for(browser: Browser) -> None:
    fake = reviewed()
    new = fake.pieces.pop()
    async with visit(browser, fake) as page:
        frames = await page.locator(".frame").count()
        fake.pieces.append(new)
        fake.tell("asset", asset_id=str(new.asset_id), status="completed")
        await expect(page.locator("#news")).to_have_text("1 new, show")
        assert await page.locator(".frame").count() == frames
        await page.locator("#news").click()
        await expect(page.locator(".frame")).to_have_count(frames + 1)
        await expect(page.locator("#news")).to_be_hidden()


async def test_a_lost_stream_shows_a_hollow_dot_with_its_age_and_comes_back(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, forgiven="503") as page:
        fake.hang_up()
        await expect(page.locator("#live.lost")).to_have_text(re.compile(r"\d+ s behind"))
        fake.silent = False
        await expect(page.locator("#live.on")).to_have_text("live")


async def test_a_decision_that_found_no_house_says_that_nothing_was_recorded(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, forgiven="ERR_FAILED|htmx:error") as page:
        await page.route("**/review/decisions", lambda route: route.abort())
        await page.keyboard.press("Enter")
        await expect(page.locator("#unsent")).to_have_text("No answer, so nothing was recorded. Try again.")
        await page.unroute("**/review/decisions")
        await page.keyboard.press("Enter")
        await expect(page.locator(".toast .what")).to_be_visible()
    assert fake.pieces[9].state is Mark.APPROVED


# Jobs ---------------------------------------------------------------------------------------------------------------


async def test_the_squares_are_walked_and_opened(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, "/jobs?show=all") as page:
        await page.locator(".squares").focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
            await page.keyboard.press(key)
        await expect(page.locator("output")).to_have_text("job 35, completed")
        await page.keyboard.press("ArrowUp")
        await expect(page.locator("output")).to_have_text("job 1, approved")
        await page.keyboard.press("Enter")
        await expect(page.locator(".drawer h2")).to_have_text("Body Oil, product tile · 1 of 3")
        assert f"show=all&job={fake.pieces[0].job_id}" in page.url
        await page.screenshot(path=shot("jobs_drawer"))
        await page.keyboard.press("Escape")
        await expect(page.locator(".drawer")).to_have_count(0)
        assert page.url.endswith("/jobs?show=all")


async def test_a_square_has_the_colour_of_its_state(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, "/jobs", forgiven="willReadFrequently") as page:
        read = """([x, y]) => { const c = document.querySelector('canvas');
            return [...c.getContext('2d').getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data] }"""
        assert await page.evaluate(read, [4, 4]) == [0x2F, 0x7A, 0x4A, 255]  # approved
        assert await page.evaluate(read, [8 * 9 + 4, 4]) == [0xD0, 0x8F, 0x82, 255]  # rejected
        fake.rule(fake.pieces[9], Mark.APPROVED, by="Mara Lind")
        await page.wait_for_function(f"() => JSON.stringify(({read})([85, 4])) === '[47,122,74,255]'")


async def test_a_click_on_a_square_opens_it(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, "/jobs") as page:
        await page.locator("canvas").click(position={"x": 9 * 12 + 4, "y": 4})
        await expect(page.locator(".drawer .id")).to_have_text(f"job {fake.pieces[12].job_id}")


# Without script, on a phone -----------------------------------------------------------------------------------------


async def test_without_script_everything_but_keys_squares_and_news_is_there(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, script=False) as page:
        await expect(page.locator("kbd:visible")).to_have_count(0)
        await expect(page.locator("#live")).to_be_hidden()
        await page.locator(".rubric label").first.click()
        await page.get_by_role("button", name="Reject").click()
        await page.get_by_role("button", name="off palette").click()
        await page.get_by_role("button", name="Undo").click()
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator(".toast .what")).to_have_text("Salt Marsh, product tile")
        assert (fake.pieces[9].state, fake.pieces[9].met) == (Mark.APPROVED, frozenset({"product_matches"}))
        await page.goto("/jobs")
        await expect(page.locator(".squares")).to_be_hidden()
        await expect(page.locator(".sheet td")).to_have_text(["26", "9", "1"])


WIDER = """[...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.closest(".strip, svg, caption, thead, .loupe"))
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.outerHTML.slice(0, 80))"""
PAGES = {
    "review": "/review",
    "review_empty": "/review?queue=rejected&campaign=Gift+sets",
    "jobs": "/jobs",
    "jobs_drawer": "/jobs?job={job}",
    "asset": "/assets/{asset}",
    "recipe": "/recipes/web?from=1&to=2&asset={asset}",
}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1440", "390"])
@pytest.mark.parametrize("name", PAGES)
async def test_no_page_is_wider_than_its_window(browser: Browser, name: str, size: dict[str, int]) -> None:
    fake = reviewed()
    if name == "jobs":
        fake.batch = big_batch()
    piece = fake.pieces[7]
    path = PAGES[name].format(job=piece.job_id, asset=piece.asset_id)
    async with visit(browser, fake, path, size=size) as page:
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await page.evaluate(WIDER) == []
        await page.screenshot(path=shot(f"{name}_{size['width']}"))


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1440", "390"])
async def test_a_picture_is_made_again_by_a_button_and_what_came_of_it_is_told(
    browser: Browser, size: dict[str, int]
) -> None:
    fake = reviewed()
    asset = fake.pieces[7].asset_id
    async with visit(browser, fake, f"/assets/{asset}", size=size) as page:
        await page.get_by_role("button", name="Make it again, and compare").click()
        await expect(page.locator("#replays .running")).to_have_text("running, step 12 of 30")
        fake.replays[asset] = [replay.model_copy(update=DRIFTED) for replay in fake.replays[asset]]
        await expect(page.locator("#replays .failed")).to_have_text("drifted")  # it looks again by itself
        told = page.locator("#replays")
        await expect(told).to_contain_text("93.12 % of the pixels differ, by 203 of 255 at most, 21.4 dB")
        await expect(told).to_contain_text(
            "model.files.unet/diffusion_pytorch_model.safetensors: 5a5a5a5a5a5a… → b7b7b7b7b7b7…"
        )
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await page.evaluate(WIDER) == []
        await page.screenshot(path=shot(f"again_{size['width']}"), full_page=True)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1440", "390"])
async def test_a_replay_that_waits_says_for_what_and_is_cancelled_by_a_button(
    browser: Browser, size: dict[str, int]
) -> None:
    fake = reviewed()
    asset = fake.pieces[7].asset_id
    held = "In the queue it waits on cap: the spend cap of 4.00 EUR a day: 3.98 is spent, and this takes 0.04."
    fake.replays[asset] = [REPLAY.model_copy(update={"state": "pending", "steps": None, "waits": held})]
    async with visit(browser, fake, f"/assets/{asset}", size=size) as page:
        told = page.locator("#replays")
        await expect(told).to_contain_text(held)
        cancel = page.get_by_role("button", name="Cancel")
        await cancel.focus()
        async with page.expect_response(lambda response: "/v1/replays/of/" in response.url):
            pass  # the list is shown anew
        await expect(cancel).to_be_focused()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await page.evaluate(WIDER) == []
        await page.screenshot(path=shot(f"again_held_{size['width']}"), full_page=True)
        await cancel.click()
        await expect(page.locator("#replays .failed")).to_have_text("cancelled")
        await expect(told).to_contain_text("cancelled by Mara Lind")
        await expect(cancel).to_have_count(0)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1440", "390"])
async def test_two_versions_of_a_recipe_stand_beside_each_other_and_in_one_place(
    browser: Browser, size: dict[str, int]
) -> None:
    fake = reviewed()
    asset = fake.pieces[7].asset_id
    async with visit(browser, fake, f"/assets/{asset}", size=size) as page:
        await page.get_by_role("link", name="web@1").click()
        await expect(page.locator("h1")).to_have_text("web@1 beside web@2")
        await expect(page.locator(".sides img")).to_have_count(6)  # of eight: two files are one version's only
        await expect(page.locator(".sides .not").nth(1)).to_contain_text("640 × 640 WEBP, quality 74, 47 kB")
        await expect(page.locator("ins").first).to_have_text("640 × 640 webp, quality 74, at most 60,000 bytes")
        await expect(page.locator("del").first).to_have_text("640 × 640 webp, quality 80")
        await expect(page.get_by_text("web@2 has no such file, web@1 has")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await page.evaluate(WIDER) == []
        await page.screenshot(path=shot(f"recipe_{size['width']}"), full_page=True)
        both = await page.locator(".sides img").first.bounding_box()
        for where in ("first", "second", "first"):
            await page.keyboard.press("\\")
            await expect(page.locator(f"figure[id^={where}]:visible")).to_have_count(4)
            await expect(page.locator("figure:visible")).to_have_count(4)
            assert f"only={where}" in page.url
        alone = await page.locator(".sides img").first.bounding_box()
        assert both and alone and (alone["x"], alone["y"]) == (both["x"], both["y"]), "in place"
        await page.screenshot(path=shot(f"recipe_flipped_{size['width']}"))
        await expect(page.locator(".sides .not:visible").first).to_contain_text("47 kB")  # not asked for again
        await page.get_by_role("link", name="both").click()
        await expect(page.locator("figure:visible")).to_have_count(8)


async def test_the_files_are_made_again_by_a_button_and_what_came_of_it_is_told(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, f"/assets/{fake.pieces[7].asset_id}") as page:
        await page.get_by_role("button", name="Make the files again, and compare").click()
        await expect(page.locator("#derived .approved")).to_have_text("exact")
        await expect(page.locator("#derived")).to_contain_text("webp was 1.5.0 and is 1.6.0")


async def test_on_a_phone_the_buttons_are_large_and_the_codes_come_as_a_sheet(browser: Browser) -> None:
    fake = reviewed()
    async with visit(browser, fake, size=PHONE) as page:
        picture = await page.locator("#picture").bounding_box()
        approve = await page.get_by_role("button", name="Approve").bounding_box()
        assert picture and approve
        assert (picture["x"], picture["width"]) == (0, 390)
        assert approve["height"] == 52 and approve["width"] >= 150
        await page.get_by_role("button", name="Reject").click()
        sheet = await page.locator(".codes").bounding_box()
        assert sheet and (sheet["x"], sheet["width"], sheet["y"] + sheet["height"]) == (0, 390, 844)
        await page.screenshot(path=shot("review_codes_390"))
        await page.get_by_role("button", name="off palette").click()
        await expect(page.locator(".toast .what")).to_be_visible()
    assert fake.pieces[9].state is Mark.REJECTED
