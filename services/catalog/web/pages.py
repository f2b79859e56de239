"""The addresses of the pages: all state is in the URL, every form works without script and answers with a redirect."""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, QueryParams

from services.catalog.web import asked as ask
from services.catalog.web.render import static_files
from services.catalog.web.responses import PageRoute, html
from services.catalog.web.view import (
    SQUARES_A_SHEET,
    Conflict,
    JobsQuery,
    Mark,
    PageData,
    RecipeQuery,
    Review,
    ReviewQuery,
    Ruling,
    Viewer,
)
from shared.errors import Rejected

Who = Callable[[Request], Awaitable[Viewer | None]]

QUEUES = ("to_review", "approved", "rejected")
SHOWS = ("needs", "waiting", "running", "failed", "all")
SURROUNDS = ("grey", "black", "white")
ORDERS = ("arrival", "outliers")
REVIEW_STATE = ("queue", "campaign", "order", "asset", "zoom", "surround", "inspector", "last")
JOBS_STATE = ("show", "stage", "waiting", "batch", "state", "first", "after", "job")
RECIPE_STATE = ("from", "to", "asset", "only")
NOTICES = {"conflict": "yours was not recorded", "late": "too late to undo"}


def pages(data: PageData, *, who: Who, image_origins: Sequence[str] = ()) -> APIRouter:
    """The pages over `data`; `who` says who asks, None for a visitor without a session.

    `image_origins` are the origins that `GET /v1/files/<id>` redirects to, where they are not this one.
    """
    shown = Pages(data, who, image_origins)
    router = APIRouter(route_class=PageRoute, include_in_schema=False)
    router.add_api_route("/", shown.home)
    router.add_api_route("/review", shown.review)
    router.add_api_route("/review/decisions", shown.decide, methods=["POST"])
    router.add_api_route("/review/undo", shown.undo, methods=["POST"])
    router.add_api_route("/jobs", shown.jobs)
    router.add_api_route("/jobs/{batch}/{place}", shown.open_square)
    router.add_api_route("/assets/{asset}", shown.asset)
    router.add_api_route("/recipes/{name}", shown.recipe)
    router.add_api_route("/static/{digest}/{name:path}", send_static)
    return router


class Pages:
    def __init__(self, data: PageData, who: Who, image_origins: Sequence[str]) -> None:
        self._data = data
        self._who = who
        self._image_origins = image_origins

    async def home(self) -> Response:
        return RedirectResponse("/review", status_code=303)

    async def review(self, request: Request) -> Response:
        viewer = await self._viewer(request)
        asked = request.query_params
        surround = ask.one_of(asked, "surround", SURROUNDS)
        query = ReviewQuery(
            queue=ask.one_of(asked, "queue", QUEUES),
            campaign=ask.as_text(asked, "campaign", 120),
            asset=ask.as_id(asked, "asset"),
            last=ask.as_id(asked, "last"),
            by_outliers=ask.one_of(asked, "order", ORDERS) == "outliers",
        )
        review = await self._data.review(viewer, query)
        state = {name: value for name, value in asked.items() if name != "last" or review.last}
        return html(
            "review.html",
            image_origins=self._image_origins,
            viewer=viewer,
            room="darkroom",
            area="review",
            review=review,
            link=ask.linker("/review", REVIEW_STATE, state),
            keys_of=keys_of(review),
            zoom=asked.get("zoom") == "1",
            inspector=asked.get("inspector") != "off",
            surround=surround,
            next_surround=SURROUNDS[(SURROUNDS.index(surround) + 1) % len(SURROUNDS)],
            notice=NOTICES.get(asked.get("notice", "")),
        )

    async def decide(self, request: Request) -> Response:
        viewer, form = await self._posted(request)
        code = ask.as_text(form, "code", 80)
        if not code and form.get("decision") != "approve":
            raise Rejected(
                "bad_form", "it neither approves nor names a code to reject with", "decision", "Press a button."
            )
        ruling = Ruling(
            asset_id=ask.required_id(form, "asset_id"),
            asset_version_id=ask.required_id(form, "asset_version"),
            review_version=ask.as_count(form, "review_version"),
            decision="reject" if code else "approve",
            code=code,
            reason=ask.as_text(form, "reason", 500),
            rubric=tuple(str(line) for line in form.getlist("rubric")),
        )
        answer = await self._data.decide(viewer, ruling)
        if isinstance(answer, Conflict):
            return see(ask.with_query(ask.own_address(form, "back"), notice="conflict"))
        return see(ask.with_query(ask.own_address(form, "next"), last=answer.decision_id))

    async def undo(self, request: Request) -> Response:
        viewer, form = await self._posted(request)
        asset = ask.required_id(form, "asset_id")
        answer = await self._data.undo(viewer, ask.required_id(form, "decision_id"))
        back = QueryParams(ask.own_address(form, "back").partition("?")[2])
        address = ask.linker("/review", REVIEW_STATE, back)(asset=asset, last=None)
        return see(ask.with_query(address, notice="late") if isinstance(answer, Conflict) else address)

    async def jobs(self, request: Request) -> Response:
        viewer = await self._viewer(request)
        asked = request.query_params
        state = ask.one_of(asked, "state", ("", *Mark))
        query = JobsQuery(
            show=ask.one_of(asked, "show", SHOWS),
            stage=ask.as_text(asked, "stage", 40),
            waiting=ask.as_text(asked, "waiting", 40),
            batch=ask.as_id(asked, "batch"),
            state=Mark(state) if state else None,
            first=ask.as_count(asked, "first"),
            after=ask.as_text(asked, "after", 200),
            job=ask.as_id(asked, "job"),
        )
        jobs = await self._data.jobs(viewer, query)
        link = ask.linker("/jobs", JOBS_STATE, asked)
        names = {"stage": query.stage, "waiting": query.waiting, "state": query.state, "batch": None}
        if query.batch:
            names["batch"] = next((batch.name for batch in jobs.batches if batch.batch_id == query.batch), "one batch")
        return html(
            "jobs.html",
            image_origins=self._image_origins,
            viewer=viewer,
            room="paper",
            area="jobs",
            jobs=jobs,
            query=query,
            link=link,
            narrowed=[(words, link(**{name: None, "after": None})) for name, words in names.items() if words],
            SHEET=SQUARES_A_SHEET,
        )

    async def open_square(self, request: Request, batch: str, place: str) -> Response:
        viewer = await self._viewer(request)
        path = {"batch": batch, "place": place}
        job = await self._data.job_at(viewer, ask.required_id(path, "batch"), ask.as_count(path, "place"))
        if job is None:
            raise Rejected("not_found", "This batch has no such job.", place, "Go back to the sheet and pick a square.")
        return see(ask.linker("/jobs", JOBS_STATE, request.query_params)(job=job))

    async def asset(self, request: Request, asset: str) -> Response:
        viewer = await self._viewer(request)
        life = await self._data.asset(viewer, ask.required_id({"asset": asset}, "asset"))
        if life is None:
            raise Rejected(
                "not_found", "This workspace has no such asset.", asset, "Ask calotype trace with any id you have."
            )
        return html(
            "asset.html",
            image_origins=self._image_origins,
            viewer=viewer,
            room="paper",
            area="asset",
            asset=life,
            page_id=secrets.token_hex(8),
        )

    async def recipe(self, request: Request, name: str) -> Response:
        viewer = await self._viewer(request)
        asked = request.query_params
        query = RecipeQuery(
            name=ask.as_text({"name": name}, "name", 80) or "",
            first=ask.as_count(asked, "from") or None,
            second=ask.as_count(asked, "to") or None,
            asset=ask.as_id(asked, "asset"),
        )
        pair = await self._data.recipe(viewer, query)
        if pair is None:
            raise Rejected(
                "not_found", "This workspace has no such recipe.", name, "calotype library list recipe has them."
            )
        return html(
            "recipe.html",
            image_origins=self._image_origins,
            viewer=viewer,
            room="paper",
            area="recipe",
            pair=pair,
            only=ask.one_of(asked, "only", ("", "first", "second")),
            link=ask.linker(f"/recipes/{pair.name}", RECIPE_STATE, asked),
        )

    async def _viewer(self, request: Request) -> Viewer:
        viewer = await self._who(request)
        if viewer is None:
            raise Rejected("unauthenticated", "nobody is signed in", remedy="open the link that `calotype link` prints")
        return viewer

    async def _posted(self, request: Request) -> tuple[Viewer, FormData]:
        """Who posted what, once the form has shown that it comes from a page of this very session."""
        viewer = await self._viewer(request)
        form = await request.form()
        token = str(form.get("csrf") or request.headers.get("x-csrf-token") or "")
        if not hmac.compare_digest(token.encode(), viewer.csrf.encode()):
            raise Rejected(
                "forbidden", "The form belongs to another session; nothing was done.", "", "Reload the page."
            )
        return viewer, form


def see(address: str) -> RedirectResponse:
    return RedirectResponse(address, status_code=303)


async def send_static(digest: str, name: str) -> Response:
    current, files = static_files()
    if name not in files:
        raise Rejected("not_found", "There is no such file.", name, "Reload the page that asked for it.")
    # A page drawn by an older release asks under the older digest: it gets today's file, and must not keep it.
    kept = "public, max-age=31536000, immutable" if digest == current else "no-cache"
    file = files[name]
    return Response(
        file.body, media_type=file.media_type, headers={"Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
    )


def keys_of(review: Review) -> Callable[[UUID], str]:
    """Which keys lead to which frame: the next and previous picture, the next and previous set."""
    sets = [[frame.asset_id for frame in group.frames] for group in review.sets]
    flat = [asset for group in sets for asset in group]
    here = review.shown.asset_id if review.shown else None
    if here in flat:
        at, group = flat.index(here), next(i for i, assets in enumerate(sets) if here in assets)
    else:
        at, group = -1, -1  # the shown asset is outside this queue: forwards leads into it
    leads = {
        "ArrowRight l": flat[at + 1] if at + 1 < len(flat) else review.later,
        "ArrowLeft h": flat[at - 1] if at > 0 else review.earlier,
        "ArrowDown j": sets[group + 1][0] if group + 1 < len(sets) else review.later,
        "ArrowUp k": sets[group - 1][0] if group > 0 else review.earlier,
    }
    return lambda asset: " ".join(pressed for pressed, to in leads.items() if to == asset)
