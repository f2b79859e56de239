"""The pages as a browser without script meets them: addresses, forms, refusals, states."""

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request

from services.catalog.web import view
from services.catalog.web.pages import pages
from services.catalog.web.view import Mark, Viewer
from shared.errors import Rejected, Unavailable
from tests.catalog.campaign import BATCH, VIEWER, big_batch
from tests.catalog.fake_pages import FakePages, reviewed


def browse(fake: FakePages, viewer: Viewer | None = VIEWER, *, image_origins: Sequence[str] = ()) -> httpx.AsyncClient:
    async def who(_: Request) -> Viewer | None:
        return viewer

    app = FastAPI()
    app.include_router(pages(fake, who=who, image_origins=image_origins))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://house")


def fields(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    form = re.search(rf'<form[^>]*action="{action}".*?</form>', page, re.DOTALL)
    assert form, f"no form to {action}"
    return {
        name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0])
    }


def shown(page: str) -> str:
    """What a person reads: no markup, single spaces."""
    body = re.sub(r"<svg hidden>.*?</svg>|<time [^>]*>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(body))


def asset_on(page: str) -> UUID:
    return UUID(fields(page, "/review/decisions")["asset_id"])


# Who is there -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/review", "/jobs", f"/assets/{UUID(int=7)}", f"/jobs/{BATCH}/0"])
async def test_a_visitor_without_a_session_is_told_how_to_get_a_link(address: str) -> None:
    async with browse(reviewed(), None) as browser:
        answer = await browser.get(address)
    assert answer.status_code == 401
    assert "calotype link" in answer.text


async def test_a_form_without_the_token_of_its_session_does_nothing() -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        sent = fields((await browser.get("/review")).text, "/review/decisions") | {"decision": "approve"}
        for token in ("", "another"):
            answer = await browser.post("/review/decisions", data=sent | {"csrf": token})
            assert answer.status_code == 403
            assert "nothing was done" in answer.text
    assert fake.pieces[9].decision is None


async def test_who_may_not_decide_is_told_who_may() -> None:
    async with browse(reviewed(), replace(VIEWER, may_review=False, reviewers="Mara Lind and 2 more")) as browser:
        page = (await browser.get("/review")).text
    assert "/review/decisions" not in page
    assert "Mara lind and 2 more can" in shown(page) or "Mara Lind and 2 more can" in shown(page)


# Deciding -----------------------------------------------------------------------------------------------------------


async def test_approving_leads_to_the_next_open_asset_with_an_undo() -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        page = (await browser.get("/review")).text
        sent = fields(page, "/review/decisions") | {"decision": "approve", "rubric": "brand_light"}
        answer = await browser.post("/review/decisions", data=sent)
        assert answer.status_code == 303
        then = (await browser.get(answer.headers["location"])).text
        piece = fake.pieces[9]
        assert (piece.state, piece.met) == (Mark.APPROVED, frozenset({"brand_light"}))
        assert asset_on(then) == fake.pieces[10].asset_id
        assert "Approved Salt Marsh, product tile Undo" in shown(then)

        back = await browser.post("/review/undo", data=fields(then, "/review/undo"))
        assert asset_on((await browser.get(back.headers["location"])).text) == piece.asset_id
        assert piece.state is Mark.COMPLETED


async def test_rejecting_carries_the_code_and_the_words() -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        sent = fields((await browser.get("/review")).text, "/review/decisions")
        await browser.post("/review/decisions", data=sent | {"code": "artefact", "reason": " a third hand "})
    decision = fake.pieces[9].decision
    assert decision and (decision.state, decision.code, decision.reason) == (Mark.REJECTED, "artefact", "a third hand")


async def test_a_decision_keeps_the_state_of_the_page() -> None:
    async with browse(reviewed()) as browser:
        page = (await browser.get("/review?campaign=Gift+sets&surround=black&inspector=off")).text
        answer = await browser.post(
            "/review/decisions", data=fields(page, "/review/decisions") | {"decision": "approve"}
        )
    state = parse_qs(urlsplit(answer.headers["location"]).query)
    assert (state["campaign"], state["surround"], state["inspector"]) == (["Gift sets"], ["black"], ["off"])


async def test_the_second_of_two_decisions_is_told_whose_stands() -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        sent = fields((await browser.get("/review")).text, "/review/decisions") | {"decision": "approve"}
        fake.rule(fake.pieces[9], Mark.REJECTED, by="Mara Lind", code="artefact")
        answer = await browser.post("/review/decisions", data=sent)
        then = (await browser.get(answer.headers["location"])).text
    at = fake.pieces[9].decision
    assert at and f"Mara Lind rejected at {at.at:%H:%M} UTC · artefact yours was not recorded" in shown(then)
    assert "/review/decisions" not in then


async def test_what_a_check_rejected_says_why_and_a_person_may_approve_it() -> None:
    fake = reviewed()
    piece = fake.pieces[9]
    piece.state, piece.version = Mark.REJECTED, 1
    piece.decision = view.Decision(
        decision_id=UUID(int=1),
        asset_id=piece.asset_id,
        asset_name="a tile",
        state=Mark.REJECTED,
        by="the entropy check",
        at=datetime.now(UTC),
        mine=False,
        code="artefact",
        reason="It is blank",
        by_check=True,
    )
    async with browse(fake) as browser:
        page = (await browser.get(f"/review?queue=rejected&asset={piece.asset_id}")).text
    assert "by the entropy check at" in page and "“It is blank”" in page and "Approve anyway" in page
    assert fields(page, "/review/decisions")["review_version"] == "1"
    async with browse(fake, replace(VIEWER, may_review=False)) as browser:
        assert "Approve anyway" not in (await browser.get(f"/review?queue=rejected&asset={piece.asset_id}")).text


async def test_outliers_first_stays_in_the_address_and_the_page_says_what_is_apart() -> None:
    fake = reviewed()
    fake.pieces[9].apart = ("darker than the rest of the set: 0.31, median 0.52",)
    async with browse(fake) as browser:
        plain = (await browser.get("/review")).text
        page = (await browser.get(f"/review?order=outliers&asset={fake.pieces[9].asset_id}")).text
    assert "/review?order=outliers" in plain
    assert "darker than the rest of the set: 0.31, median 0.52" in shown(page)
    assert "order=outliers" in fields(page, "/review/decisions")["next"]


async def test_an_undo_after_its_window_says_so_and_the_decision_stands() -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        sent = fields((await browser.get("/review")).text, "/review/decisions") | {"decision": "approve"}
        then = (await browser.get((await browser.post("/review/decisions", data=sent)).headers["location"])).text
        decision = fake.pieces[9].decision
        assert decision
        fake.pieces[9].decision = replace(decision, undo_until=decision.at)
        answer = await browser.post("/review/undo", data=fields(then, "/review/undo"))
        page = (await browser.get(answer.headers["location"])).text
    assert "too late to undo" in shown(page)
    assert fake.pieces[9].state is Mark.APPROVED


@pytest.mark.parametrize("next_", ["https://elsewhere.example/review", "//elsewhere.example", "/reviewer", "/jobs", ""])
async def test_a_form_leads_nowhere_but_to_review(next_: str) -> None:
    async with browse(reviewed()) as browser:
        sent = fields((await browser.get("/review")).text, "/review/decisions")
        answer = await browser.post("/review/decisions", data=sent | {"decision": "approve", "next": next_})
    assert answer.headers["location"].startswith("/review?last=")


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"decision": "maybe"}, "decision"),
        ({"asset_id": "7"}, "asset_id"),
        ({"asset_version": ""}, "asset_version"),
        ({"review_version": "-1"}, "review_version"),
        ({"code": "artefact", "reason": "x" * 501}, "reason"),
        ({"code": "artefact", "reason": "a\0b"}, "reason"),
    ],
)
async def test_a_mangled_form_decides_nothing_and_names_the_place(changed: dict[str, str], place: str) -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        sent = fields((await browser.get("/review")).text, "/review/decisions") | {"decision": "approve"}
        answer = await browser.post("/review/decisions", data=sent | changed)
    assert answer.status_code == 400
    assert f"({place})" in shown(answer.text)
    assert fake.pieces[9].decision is None


# What stands there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/review?queue=mine", 400),
        ("/review?asset=not-an-id", 400),
        ("/review?surround=pink", 400),
        ("/review?campaign=%00", 400),
        ("/jobs?show=everything", 400),
        ("/jobs?state=done", 400),
        ("/jobs?first=-3", 400),
        ("/jobs?first=99999999999999999999", 400),
        ("/jobs/nonsense/0", 400),
        (f"/jobs/{BATCH}/36", 404),
        ("/assets/nonsense", 400),
        (f"/assets/{UUID(int=7)}", 404),
        ("/static/0/nothing.css", 404),
        ("/static/0/%2e%2e/pages.py", 404),
    ],
)
async def test_an_odd_address_gets_a_page_with_a_remedy(address: str, status: int) -> None:
    async with browse(reviewed()) as browser:
        answer = await browser.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "Traceback" not in answer.text


async def test_words_from_outside_are_text_and_never_markup() -> None:
    fake = reviewed()
    attack = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    fake.rule(fake.pieces[9], Mark.REJECTED, by=attack, code=attack, reason=attack)
    fake.pieces[10].missing = attack
    async with browse(fake) as browser:
        for address in (
            f"/review?asset={fake.pieces[9].asset_id}",
            f"/review?asset={fake.pieces[10].asset_id}",
            f"/assets/{fake.pieces[9].asset_id}",
        ):
            page = (await browser.get(address)).text
            assert attack in html.unescape(page)
            assert "<script>" not in page and "<img src=x" not in page


async def test_missing_bytes_leave_a_frame_with_id_reason_and_the_way_to_the_trace() -> None:
    fake = reviewed()
    piece = fake.pieces[9]
    piece.missing = "deleted on 3 May at the owner's request"
    async with browse(fake) as browser:
        page = (await browser.get("/review")).text
    assert "picture missing deleted on 3 May at the owner's request" in shown(page)
    assert str(piece.asset_id) in shown(page)
    assert f'href="/assets/{piece.asset_id}"' in page


async def test_when_nothing_waits_the_page_says_what_was_done_and_what_comes() -> None:
    fake = reviewed()
    for piece in fake.pieces[9:]:
        fake.rule(piece, Mark.APPROVED, by="Mara Lind")
    async with browse(fake) as browser:
        said = shown((await browser.get("/review")).text)
    assert "Nothing waits. 36 decided today: 35 approved , 1 rejected 3 jobs are running" in said


async def test_an_empty_house_shows_how_to_begin() -> None:
    fake = FakePages(pieces=[])
    async with browse(fake) as browser:
        assert "calotype submit campaign.csv" in (await browser.get("/review")).text
        jobs = (await browser.get("/jobs")).text
    assert all(command in jobs for command in ("make demo", "calotype submit", "calotype batch preview"))


async def test_a_dependency_away_is_named_over_the_last_numbers() -> None:
    fake = reviewed()
    fake.away = "Kafka does not answer since 14:02 UTC"
    async with browse(fake) as browser:
        page = (await browser.get("/jobs")).text
    assert "Kafka does not answer since 14:02 UTC" in shown(page)
    assert "stages stale" in page


async def test_a_sheet_longer_than_a_page_is_turned() -> None:
    batch = big_batch()
    fake = reviewed()
    fake.batch = replace(batch, squares=batch.squares * 3, total=4500)
    async with browse(fake) as browser:
        first = (await browser.get("/jobs")).text
        assert "jobs 1–3,000" in shown(first)
        second = (await browser.get(f"/jobs?batch={BATCH}&first=3000")).text
    assert "jobs 3,001–4,500" in shown(second)
    letters = re.search(r'data-squares="(\w+)" data-first="3000"', second)
    assert letters and len(letters[1]) == 1500


async def test_a_square_opens_its_job_and_keeps_what_the_list_shows() -> None:
    fake = reviewed()
    async with browse(fake) as browser:
        answer = await browser.get(f"/jobs/{BATCH}/20?show=all")
        assert answer.headers["location"] == f"/jobs?show=all&job={fake.pieces[20].job_id}"
        drawer = shown((await browser.get(answer.headers["location"])).text)
    assert "Waits for a person since 14:02 UTC" in drawer
    assert "calotype why" in drawer
    assert "proof: public work of normal priority → private backend proof (routes@1)" in drawer
    assert "cloud-images" in drawer and "it is switched off" in drawer


async def test_a_drawer_shows_what_is_being_made_as_far_as_it_is() -> None:
    fake = reviewed()
    fake.preview = "/v1/previews/1?step=6"
    async with browse(fake) as browser:
        drawer = (await browser.get(f"/jobs?job={fake.pieces[20].job_id}")).text
        fake.preview = None
        assert "/v1/previews" not in (await browser.get(f"/jobs?job={fake.pieces[20].job_id}")).text
    assert '<img src="/v1/previews/1?step=6"' in drawer


async def test_the_life_of_an_asset_is_told_from_the_request_to_the_publication() -> None:
    fake = reviewed()
    piece = fake.pieces[0]
    async with browse(fake) as browser:
        said = shown((await browser.get(f"/assets/{piece.asset_id}")).text)
    parts = ["row 1 of winter-home.csv", "Worded", "Made", "seed 4211", "out of memory", "the call 0.5 s"]
    parts += ["by routes@3", "The provider calls attempt 2 req_7", "Cut and checked"]
    parts += [
        "94 kB",
        "Versions",
        "failed a new version by web@2, asked for by otto",
        "'crpo' → publish",
        "Decided",
        "approved by Mara Lind",
        "Published",
        "delivered demo-folder",
        "Every fact",
    ]
    places = [said.find(part) for part in parts]
    assert -1 not in places and places == sorted(places)
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in said


# Every page ---------------------------------------------------------------------------------------------------------


def addresses(page: str) -> set[str]:
    return {html.unescape(found) for found in re.findall(r'(?:href|src)="(/[^"]*)"', page)}


def traits(address: str) -> set[str]:
    """What an address has that others may lack: each field with its value, and which fields stand together."""
    parts = urlsplit(re.sub(r"[0-9a-f-]{36}", "ID", address))
    asked = parse_qs(parts.query)
    pairs = {f"{parts.path} {name}={value}" for name, values in asked.items() for value in values}
    return {f"{parts.path}?{sorted(asked)}", *pairs}


async def test_no_link_is_dead_and_no_page_breaks_its_own_policy() -> None:
    """Links choose anything together with anything, thousands in all: one is followed for what no other before had."""
    fake = reviewed()
    fake.batch = big_batch()
    seen: set[str] = set()
    followed = 0
    todo = ["/", "/review", "/jobs", "/jobs?show=all"]
    async with browse(fake) as browser:
        while todo:
            address = todo.pop()
            if address.startswith(("/v1/files/", "/v1/derivatives/", "/pictures/")) or traits(address) <= seen:
                continue
            seen |= traits(address)
            followed += 1
            answer = await browser.get(address, follow_redirects=True)
            assert answer.status_code == 200, address
            if not answer.headers["content-type"].startswith("text/html"):
                continue
            assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self';")
            assert not re.search(r"<[^>]*\s(style|on\w+)=", answer.text), address
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|javascript:", answer.text), address
            todo += addresses(answer.text)
    assert followed > 60


async def test_pictures_may_come_from_the_object_store_and_nothing_else_may() -> None:
    async with browse(reviewed(), image_origins=["https://store.example"]) as browser:
        policy = (await browser.get("/review")).headers["content-security-policy"]
    assert "img-src 'self' https://store.example;" in policy
    assert policy.count("store.example") == 1


async def test_static_files_are_kept_for_a_year_under_the_digest_they_were_asked_by() -> None:
    async with browse(reviewed()) as browser:
        page = (await browser.get("/review")).text
        current = re.search(r'href="(/static/\w+/calotype.css)"', page)
        assert current
        answer = await browser.get(current[1])
        older = await browser.get("/static/000000000000/calotype.css")
        font = await browser.get(current[1].replace("calotype.css", "fonts/instrument-sans.woff2"))
    assert "immutable" in answer.headers["cache-control"] and answer.headers["content-type"].startswith("text/css")
    assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")
    assert font.headers["content-type"] == "font/woff2"


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Unavailable("Postgres", "refused"), 503, "Postgres does not answer. Nothing is lost."),
        (Rejected("forbidden", "the workspace is suspended", "", "Ask its admin."), 403, "suspended Ask its admin."),
        (ZeroDivisionError("secret"), 500, "The fault is ours, and it was logged."),
    ],
)
async def test_whatever_goes_wrong_is_a_page(failure: Exception, status: int, words: str) -> None:
    class Broken(FakePages):
        async def review(self, viewer: Viewer, query: view.ReviewQuery) -> view.Review:
            raise failure

    async with browse(Broken()) as browser:
        answer = await browser.get("/review")
    assert answer.status_code == status
    assert words in shown(answer.text)
    assert "secret" not in answer.text
