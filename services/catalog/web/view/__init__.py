"""What each page is rendered from, and the one interface through which pages get it.

Frozen values only: a template decides nothing but layout, so a page can be drawn (and tested) without a database.
Times are aware UTC datetimes; durations are seconds; a cost that is not known is None, never 0.
"""

from typing import Protocol
from uuid import UUID

from services.catalog.web.view.asset import AssetLife, AttemptLine, Child, Fact, RerunLine, VersionLine
from services.catalog.web.view.everywhere import (
    SQUARES,
    SQUARES_A_SHEET,
    Choice,
    Decision,
    Mark,
    Money,
    Picture,
    Trouble,
    Viewer,
)
from services.catalog.web.view.jobs import (
    Batch,
    Cause,
    Entry,
    FileLine,
    JobDetail,
    Jobs,
    JobsQuery,
    PublicationLine,
    Routing,
    Span,
    StageKey,
    StageNow,
)
from services.catalog.web.view.recipes import Line, RecipePair, RecipeQuery, RenditionPair, Side
from services.catalog.web.view.review import (
    Check,
    Conflict,
    Decided,
    Frame,
    FrameSet,
    MadeBy,
    Pace,
    RejectionCode,
    Review,
    ReviewQuery,
    RubricLine,
    Ruling,
    Shown,
    Undone,
)

__all__ = [
    "SQUARES",
    "SQUARES_A_SHEET",
    "AssetLife",
    "AttemptLine",
    "Batch",
    "Cause",
    "Check",
    "Child",
    "Choice",
    "Conflict",
    "Decided",
    "Decision",
    "Entry",
    "Fact",
    "FileLine",
    "Frame",
    "FrameSet",
    "JobDetail",
    "Jobs",
    "JobsQuery",
    "Line",
    "MadeBy",
    "Mark",
    "Money",
    "Pace",
    "PageData",
    "Picture",
    "PublicationLine",
    "RecipePair",
    "RecipeQuery",
    "RejectionCode",
    "RenditionPair",
    "RerunLine",
    "Review",
    "ReviewQuery",
    "Routing",
    "RubricLine",
    "Ruling",
    "Shown",
    "Side",
    "Span",
    "StageKey",
    "StageNow",
    "Trouble",
    "Undone",
    "VersionLine",
    "Viewer",
]


class PageData(Protocol):
    """Where pages get what they show. Every call is within the viewer's workspace.

    Raises `Rejected` (unknown id, malformed filter, no right) and `Unavailable`; both become a page with a remedy.
    """

    async def review(self, viewer: Viewer, query: ReviewQuery) -> Review: ...

    async def decide(self, viewer: Viewer, ruling: Ruling) -> Decided | Conflict: ...

    async def undo(self, viewer: Viewer, decision_id: UUID) -> Undone | Conflict: ...

    async def jobs(self, viewer: Viewer, query: JobsQuery) -> Jobs: ...

    async def job_at(self, viewer: Viewer, batch_id: UUID, place: int) -> UUID | None:
        """The job of square `place` (from 0) of a batch."""

    async def asset(self, viewer: Viewer, asset_id: UUID) -> AssetLife | None: ...

    async def recipe(self, viewer: Viewer, query: RecipeQuery) -> RecipePair | None: ...
