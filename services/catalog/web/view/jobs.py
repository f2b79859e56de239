"""The Jobs page: stages, batches as contact sheets, what waits for what, and one job in its drawer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.catalog.web.view.everywhere import Choice, Mark, Money

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
