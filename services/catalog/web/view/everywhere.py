"""What several pages show: a state, a price, a picture, a decision, and who looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class Mark(StrEnum):
    """A state as a person sees it: a job's status, or `waiting` for a pending job that waits for something named."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    APPROVED = "approved"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


SQUARES: Mapping[Mark, str] = {
    Mark.PENDING: "p",
    Mark.WAITING: "w",
    Mark.RUNNING: "r",
    Mark.COMPLETED: "c",
    Mark.APPROVED: "a",
    Mark.REJECTED: "x",
    Mark.FAILED: "f",
    Mark.CANCELLED: "n",
}
"""One letter a job in `Batch.squares`: a sheet of 1,500 jobs is 1.5 kB of page."""

SQUARES_A_SHEET = 3000
"""Longer batches are paged: `JobsQuery.first` says where the sheet begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who is looking. `csrf` goes into every form and is compared when it comes back."""

    name: str
    workspace_id: UUID
    workspace: str
    csrf: str
    may_review: bool = True
    may_submit: bool = True
    reviewers: str = "a person with the role reviewer"
    """Who may decide, in words, shown where the buttons would be when `may_review` is false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    amount: Decimal | None
    currency: str = "USD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The review proxies of an asset version: `thumb` 320, `url` 1024, `large` 2048 px on the longest side.

    `width` and `height` are the original's, so the page keeps the right shape before a byte has arrived.
    """

    url: str
    thumb: str
    large: str
    width: int
    height: int
    alt: str
    focal: tuple[float, float] = (0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person's decision, or a check's. Until `undo_until` it can be taken back; None once it has become a fact."""

    decision_id: UUID
    asset_id: UUID
    asset_name: str
    state: Mark
    by: str
    at: datetime
    mine: bool
    code: str | None = None
    reason: str | None = None
    undo_until: datetime | None = None
    by_check: bool = False
    """`by` is then "the blank check", and a person may approve all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of the rail: `key` goes into the URL."""

    key: str
    words: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A page that could not be shown: a problem+json for people."""

    status: int
    title: str
    what: str
    remedy: str
    where: str | None = None
    trace_id: str | None = None
