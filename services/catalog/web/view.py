"""What each page is rendered from, and the one interface through which pages get it.

Frozen values only: a template decides nothing but layout, so a page can be drawn (and tested) without a database.
Times are aware UTC datetimes; durations are seconds; a cost that is not known is None, never 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol
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


# Review -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One asset in the filmstrip. `name` as in the inspector; `label` is short ("1 of 3").

    `thumb` and `url` are the 320 and 1024 px proxies (the neighbours' are fetched ahead), None where bytes are missing.
    """

    asset_id: UUID
    name: str
    label: str
    state: Mark
    thumb: str | None
    url: str | None = None
    width: int = 1
    height: int = 1
    by: str | None = None
    apart: str | None = None
    """What is unlike the rest of its set, where the queue is ordered by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """The variants of one request, in variant order."""

    request_id: UUID
    name: str
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of the rail: `key` goes into the URL."""

    key: str
    words: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Today: of `total` assets that came to review, `decided` are decided, and `accepted` of those approved."""

    decided: int
    total: int
    accepted: int
    minutes_left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricLine:
    """`key` is what a decision records; `met` as recorded, where the asset is decided."""

    key: str
    words: str
    met: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionCode:
    key: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An automatic check: the number and its limit in `measure` ("ΔE 3.1 ≤ 6")."""

    name: str
    ok: bool
    measure: str
    blocking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBy:
    """`backend` in words ("proof on this machine"); `why` is the route's reason."""

    backend: str
    model: str
    seed: int
    cost: Money
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The asset on the stage. `picture` is None when its bytes are missing, and `missing` says why."""

    asset_id: UUID
    asset_version_id: UUID
    review_version: int
    job_id: UUID
    name: str
    line: str
    """What the toolbar says: "Salt Marsh candle · lifestyle · variant 2 of 3"."""
    state: Mark
    picture: Picture | None
    position: int
    """1-based place in its request's set, of `of`."""
    of: int
    sku: str
    campaign: str
    asked: tuple[str, ...]
    """The brief in a person's words: headline, setting, season, locale."""
    rubric_label: str
    rubric: tuple[RubricLine, ...]
    checks: tuple[Check, ...]
    made_by: MadeBy
    product: Picture | None = None
    missing: str | None = None
    decision: Decision | None = None
    confidentiality: str = "public"
    apart: tuple[str, ...] = ()
    """In what it is unlike the rest of its set, the worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The Review page. `shown` is None when nothing waits in this queue.

    `sets` is a window of the filmstrip around the shown asset: the sets of the queue, and with `to_review` also sets
    finished a moment ago, so that a set does not vanish under the reviewer's eyes. `earlier` and `later` are assets
    just outside the window.
    `next_open` is where a decision leads: the next asset without one, after the shown asset, from the front at the end.
    `cursor` is the id of the newest event the page already contains: `/v1/events?after=<cursor>` begins there.
    """

    queue: str
    campaign: str | None
    queues: tuple[Choice, ...]
    """In this order: to_review, approved, rejected; counts within the chosen campaign."""
    campaigns: tuple[Choice, ...]
    pace: Pace
    sets: tuple[FrameSet, ...]
    shown: Shown | None
    next_open: UUID | None
    codes: tuple[RejectionCode, ...]
    """At most nine: a digit each."""
    cursor: int
    last: Decision | None = None
    """The viewer's decision named by `ReviewQuery.last`, while it can still be undone."""
    earlier: UUID | None = None
    later: UUID | None = None
    by_outliers: bool = False
    """Ordered by how unlike the rest of their sets pictures are, the most unlike first; else by arrival."""
    coming: str | None = None
    """Where nothing waits: when the next assets land ("3 jobs are running, the next in about 20 s")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewQuery:
    """`asset` None means the first open one. `last` names the decision the toast is about."""

    queue: str = "to_review"
    campaign: str | None = None
    asset: UUID | None = None
    last: UUID | None = None
    by_outliers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A decision as the form sends it: on the version the person saw, building on the review they saw."""

    asset_id: UUID
    asset_version_id: UUID
    review_version: int
    decision: Literal["approve", "reject"]
    code: str | None = None
    reason: str | None = None
    rubric: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    decision_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Somebody else's decision stands, or the asset has changed since the page was drawn."""

    what: str
    """"Mara Lind approved at 14:02 UTC"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """Taken back within the window: the asset waits for a person again."""

    asset_id: UUID


# Jobs ---------------------------------------------------------------------------------------------------------------


StageKey = Literal["intake", "prompt", "inference", "postprocess", "review", "publish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNow:
    """One of the six columns. `per_minute` is what left the stage in each of the last 30 minutes, oldest first."""

    key: StageKey
    waiting: int
    running: int
    failed: int
    per_minute: tuple[int, ...]
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A contact sheet. `squares` has one letter of SQUARES a job, in row and variant order, from job `first` on."""

    batch_id: UUID
    name: str
    total: int
    counts: Mapping[Mark, int]
    squares: str
    first: int = 0
    refused_rows: int = 0
    spent: Money = field(default_factory=lambda: Money(amount=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What jobs wait on: `key` is a `waiting_on` word, `words` says it with who ("a worker in the private pool")."""

    key: str
    words: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the list. `act` is one link: its words and its address within these pages."""

    job_id: UUID
    name: str
    state: Mark
    cause: str
    act: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of the ribbon: work or wait, in words, seconds from the job's beginning. `retry` notches an attempt."""

    kind: Literal["work", "wait"]
    words: str
    begins: float
    seconds: float
    retry: bool = False
    cost: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLine:
    """A file of an asset version; `href` is our own address, which checks the caller and redirects."""

    name: str
    media_type: str
    bytes: int
    href: str
    width: int | None = None
    height: int | None = None
    recipe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationLine:
    """`state` is one of pending, delivered, failed, uncertain, superseded, withdrawn."""

    target: str
    state: str
    words: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Where the job was sent, or that no backend may take it (`chosen` None); `refused`: every other one, and why."""

    chosen: str | None
    why: str
    table: str | None
    refused: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail:
    """The drawer. `why` is the sentence of `calotype why`; `command` the one command that helps, if there is one."""

    job_id: UUID
    name: str
    state: Mark
    why: str
    command: str | None
    spans: tuple[Span, ...]
    prompt: str | None
    negative_prompt: str | None
    manifest: tuple[tuple[str, str], ...]
    """Pairs in order: backend, model, seed, steps, scheduler, size, …"""
    files: tuple[FileLine, ...]
    publications: tuple[PublicationLine, ...]
    asset_id: UUID | None = None
    waits_in: UUID | None = None
    """The request of a job that nobody works on yet: its place in the queue is asked for as it is looked at."""
    thumb: str | None = None
    preview: str | None = None
    """What it looks like so far, while it is made."""
    routing: Routing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The Jobs page. `entries` are what `JobsQuery` asks for; `away` names a dependency that does not answer."""

    in_flight: int
    per_minute: float
    done_at: datetime | None
    stages: tuple[StageNow, ...]
    batches: tuple[Batch, ...]
    waiting_on: tuple[Cause, ...]
    shows: tuple[Choice, ...]
    """The chips over the list: needs, waiting, running, failed, all."""
    entries: tuple[Entry, ...]
    cursor: int
    job: JobDetail | None = None
    next_entry: str | None = None
    """Where the list goes on: the value of `JobsQuery.after` for the next page."""
    away: str | None = None
    """"Kafka does not answer since 14:02 UTC"; the numbers below are then the last known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsQuery:
    """`stage`, `waiting` and `state` narrow the list; `first` is where the sheet of `batch` begins."""

    show: str = "needs"
    stage: str | None = None
    waiting: str | None = None
    batch: UUID | None = None
    state: Mark | None = None
    first: int = 0
    after: str | None = None
    job: UUID | None = None


# One asset's life ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLine:
    """`call` is the provider's id of it, `called_for` the seconds it took; `price_list` is what its cost is from.

    `device_seconds`: of a device of ours.
    """

    number: int
    backend: str
    state: str
    seconds: float | None
    cost: Money
    words: str | None = None
    call: str | None = None
    called_for: float | None = None
    price_list: str | None = None
    device_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact of the ledger, in words ("prompt assembled from lifestyle@2")."""

    at: datetime
    stage: str
    words: str
    event_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A job that was asked to be more like an asset; `asset_id` once it has a picture of its own."""

    job_id: UUID
    asset_id: UUID | None
    state: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One of an asset's versions; `places` say what became of it at each target."""

    version_id: UUID
    at: datetime
    state: Mark
    by: str | None
    recipes: tuple[str, ...]
    places: tuple[str, ...]
    is_shown: bool
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetLife:
    """Everything known about one asset, for a person."""

    asset_id: UUID
    asset_version_id: UUID
    job_id: UUID
    request_id: UUID
    name: str
    state: Mark
    picture: Picture | None
    missing: str | None
    asked_by: str
    asked_at: datetime
    asked_through: str
    """"row 7 of winter-home.csv", "the HTTP API", "Kafka, source //shop.example/erp"."""
    campaign: str | None
    template: str
    confidentiality: str
    variables: tuple[tuple[str, str], ...]
    channels: tuple[str, ...]
    prompt: str
    negative_prompt: str
    parameters: tuple[tuple[str, str], ...]
    made_by: MadeBy
    refused_routes: tuple[tuple[str, str], ...]
    attempts: tuple[AttemptLine, ...]
    cost: Money
    files: tuple[FileLine, ...]
    checks: tuple[Check, ...]
    apart: tuple[str, ...]
    rubric_label: str
    rubric: tuple[RubricLine, ...]
    decisions: tuple[Decision, ...]
    publications: tuple[PublicationLine, ...]
    facts: tuple[Fact, ...]
    spans: tuple[Span, ...]
    trace_id: str | None
    manifest: str | None = None
    """SHA-256 of the manifest that its image can be made again from."""
    derivatives: str | None = None
    """SHA-256 of the manifest that its files can be made again from."""
    signed: tuple[str, ...] = ()
    """Of each signed file its hash before and after, with a colon between."""
    recipes: tuple[str, ...] = ()
    """Labels of those that made its files."""
    more_like: str = ""
    """The request for this very picture, as JSON."""
    parent: UUID | None = None
    children: tuple[Child, ...] = ()
    versions: tuple[VersionLine, ...] = ()
    """Oldest first; more than one where its files were made anew by other recipes."""


# Two versions of a recipe ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeQuery:
    """`first` and `second` None: the version before the newest, and the newest."""

    name: str
    first: int | None = None
    second: int | None = None
    asset: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How it is written, or one operation with its parameters; `same` where the other version has it too."""

    words: str
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One version's file. `src` is the picture as that version makes it of the asset, `said` where its facts are."""

    label: str
    width: int
    height: int
    lines: tuple[Line, ...]
    src: str | None = None
    said: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionPair:
    """A file as both versions make it; None where a version has none of that name."""

    name: str
    first: Side | None
    second: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipePair:
    """Two versions of a recipe; `versions` are all there are, the newest first."""

    name: str
    channel: str
    versions: tuple[int, ...]
    first: int
    second: int
    renditions: tuple[RenditionPair, ...]
    sources: tuple[str, ...]
    asset: UUID | None = None
    asset_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A page that could not be shown: a problem+json for people."""

    status: int
    title: str
    what: str
    remedy: str
    where: str | None = None
    trace_id: str | None = None


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
