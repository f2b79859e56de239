"""`PageData` over the catalog's own tables: a page is one transaction in which only the viewer's workspace exists."""

from contextlib import AbstractAsyncContextManager
from uuid import UUID

from fastapi import Request
from opentelemetry import trace
from pydantic import ValidationError

from services.catalog.feed import Feed
from services.catalog.review.desk import Desk, Person, Refused
from services.catalog.review.rules import AssetVerdict
from services.catalog.routes.decisions import reviewers
from services.catalog.routes.frame import Reading
from services.catalog.views import jobs as jobs_view
from services.catalog.views import life as life_view
from services.catalog.views import recipes as recipes_view
from services.catalog.views import review as review_view
from services.catalog.views.rubrics import Rubrics
from services.catalog.views.sets import Sets
from services.catalog.web.view import (
    AssetLife,
    Conflict,
    Decided,
    Jobs,
    JobsQuery,
    RecipePair,
    RecipeQuery,
    Review,
    ReviewQuery,
    Ruling,
    Undone,
    Viewer,
)
from shared import identity
from shared.blobs import Blobs
from shared.errors import Rejected
from shared.http import HttpProblem
from shared.identity import May
from shared.library.pinned import Library
from shared.postgres import Connection


class CatalogPages:
    """What the pages show and do, for whoever looks."""

    def __init__(self, reading: Reading, desk: Desk, feed: Feed, blobs: Blobs) -> None:
        self._reading = reading
        self._desk = desk
        self._feed = feed
        self._blobs = blobs
        self._rubrics = Rubrics(blobs)
        self._statistics = Sets()
        self._library = Library(blobs)

    async def viewer(self, request: Request) -> Viewer | None:
        """Who looks: a signed-in browser. A key alone has no session that a form could be bound to."""
        caller = await self._reading.gate.caller(request)
        if caller is None or caller.session is None:
            return None
        may_review = caller.may(May.DECIDE)
        names = [] if may_review else await reviewers(self._reading, caller)
        return Viewer(
            name=caller.principal,
            workspace_id=caller.workspace,
            workspace=caller.workspace_name,
            csrf=identity.csrf_token(caller.session, secret=self._reading.gate.secret),
            may_review=may_review,
            may_submit=caller.may(May.SUBMIT),
            reviewers=", ".join(names) or "a person with the role reviewer",
        )

    async def review(self, viewer: Viewer, query: ReviewQuery) -> Review:
        cursor = await self._feed.newest()  # before the rest is read: what comes later is told by the stream
        async with self._of(viewer) as connection:
            return await review_view.review(
                connection,
                viewer,
                query,
                cursor=cursor,
                blobs=self._blobs,
                rubrics=self._rubrics,
                statistics=self._statistics,
            )

    async def decide(self, viewer: Viewer, ruling: Ruling) -> Decided | Conflict:
        if not viewer.may_review:
            raise HttpProblem("forbidden", f"{viewer.name} may not {May.DECIDE}", remedy=f"{viewer.reviewers} may")
        (outcome,) = await self._desk.decide(_person(viewer), [_verdict(ruling)])
        if isinstance(outcome, Refused):
            if outcome.code == "not_found":
                raise outcome.problem()
            return Conflict(what=outcome.what)
        return Decided(decision_id=outcome.decision_id)

    async def undo(self, viewer: Viewer, decision_id: UUID) -> Undone | Conflict:
        if not viewer.may_review:
            raise HttpProblem("forbidden", f"{viewer.name} may not {May.DECIDE}", remedy=f"{viewer.reviewers} may")
        try:
            undone = await self._desk.undo(_person(viewer), decision_id)
        except HttpProblem as error:
            if error.code != "conflict":
                raise
            return Conflict(what=error.what)
        return Undone(asset_id=undone.asset_id)

    async def jobs(self, viewer: Viewer, query: JobsQuery) -> Jobs:
        cursor = await self._feed.newest()
        async with self._of(viewer) as connection:
            return await jobs_view.jobs(connection, viewer, query, cursor=cursor, public_url=self._reading.public_url)

    async def job_at(self, viewer: Viewer, batch_id: UUID, place: int) -> UUID | None:
        async with self._of(viewer) as connection:
            return await jobs_view.job_at(connection, viewer, batch_id, place)

    async def asset(self, viewer: Viewer, asset_id: UUID) -> AssetLife | None:
        async with self._of(viewer) as connection:
            return await life_view.asset_life(
                connection,
                asset_id,
                viewer,
                blobs=self._blobs,
                rubrics=self._rubrics,
                statistics=self._statistics,
            )

    async def recipe(self, viewer: Viewer, query: RecipeQuery) -> RecipePair | None:
        async with self._of(viewer) as connection:
            return await recipes_view.recipe_pair(
                connection, query, workspace=viewer.workspace_id, library=self._library
            )

    def _of(self, viewer: Viewer) -> AbstractAsyncContextManager[Connection]:
        return self._reading.within(viewer.workspace_id)


def _person(viewer: Viewer) -> Person:
    context = trace.get_current_span().get_span_context()
    return Person(principal=viewer.name, workspace=viewer.workspace_id, context=context if context.is_valid else None)


def _verdict(ruling: Ruling) -> AssetVerdict:
    try:
        return AssetVerdict(
            asset_id=ruling.asset_id,
            asset_version=ruling.asset_version_id,
            review_version=ruling.review_version,
            decision=ruling.decision,
            code=ruling.code,
            rubric=list(ruling.rubric),
            reason=ruling.reason,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "decision"
        raise Rejected("bad_form", str(first["msg"]), place, "Decide again from a fresh page.") from error
