"""What a run left behind, as the invariants look at it. Everything is text, numbers and plain containers."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Row = Mapping[str, Any]
Kind = Literal["lost", "doubled", "wrong"]
Run = tuple[str, int]
"""A job and the number of its run."""

# What ends a job's run, by the rank of the status that it gives.
ENDS = {"JobCancelled": 3, "JobFailed": 4, "AssetRejected": 5, "AssetApproved": 6}
STATUSES = ("pending", "running", "completed", "cancelled", "failed", "rejected", "approved")
ENDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that may not be. `subject` is an id to look for, `evidence` what says so."""

    invariant: str
    subject: str
    what: str
    kind: Kind = "wrong"
    evidence: Any = None


@dataclass(slots=True, kw_only=True)
class Event:
    """One fact as it stands on Kafka; `body` holds only what some invariant reads."""

    id: str
    type: str
    workspace: str
    cause: str
    subject: str
    digest: str
    topic: str = ""
    request: str | None = None
    job: str | None = None
    run: int = 1
    trace: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Kept:
    """One fact as it stands in the catalog's ledger; `at` is when it was written there."""

    id: str
    type: str
    about: str
    workspace: str
    digest: str
    at: float = 0.0
    run: int = 1
    trace: str | None = None


@dataclass(slots=True, kw_only=True)
class Letter:
    """One record of a dead-letter topic."""

    origin: str
    group: str
    reason: str
    detail: str = ""
    event: str | None = None
    """The id that the record calls itself by."""


@dataclass(slots=True, kw_only=True)
class Set:
    """One folder of the folder target: its files by name, each with size and hash, and what its sidecar says."""

    place: str
    workspace: str
    files: dict[str, tuple[int, str]]
    sidecar: dict[str, Any] | None


@dataclass(slots=True, kw_only=True)
class Leak:
    """A text that stands where it may not stand; never the text itself."""

    what: str
    where: str


@dataclass(slots=True, kw_only=True)
class Reached:
    """What somebody of another workspace was answered."""

    path: str
    status: int
    shown: bool = False
    """Whether a list of theirs shows what is not theirs."""


@dataclass(kw_only=True)
class Evidence:
    """Tables are named `schema.table`; ledgers of the counting servers and of the load as they were written."""

    prefix: str = ""
    events: dict[str, Event] = field(default_factory=dict)
    differing: dict[str, set[str]] = field(default_factory=dict)
    """Event id → the hashes of the bodies it was told with, where that is more than one."""
    misnamed: dict[str, str] = field(default_factory=dict)
    """Event id → what its headers say that its body does not."""
    kept: list[Kept] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    blobs: dict[str, tuple[int, str] | None] = field(default_factory=dict)
    """Every key that some fact names → size and hash of what is stored there."""
    sets: list[Set] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    reached: list[Reached] = field(default_factory=list)
    spans: list[Row] = field(default_factory=list)
    is_traced: bool = False
    """Whether somebody received this world's spans."""
    unfinished: dict[str, int] = field(default_factory=dict)
    accepted: list[Row] = field(default_factory=list)
    replays: list[Row] = field(default_factory=list)
    """Images that are to be made again, as that was answered."""
    reruns: list[Row] = field(default_factory=list)
    """What was answered of each asset over which a recipe was to be run again."""
    cancels: list[Row] = field(default_factory=list)
    batch_cancels: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    complaints: list[Row] = field(default_factory=list)
    poison: list[Row] = field(default_factory=list)
    charges: list[Row] = field(default_factory=list)
    calls: list[Row] = field(default_factory=list)
    """Of all providers, each line with who was called (`by`) and where that is (`visibility`)."""
    deliveries: list[Row] = field(default_factory=list)

    def table(self, name: str) -> list[Row]:
        return self.tables.get(name, [])

    def by(self, table: str, column: str) -> dict[Any, Row]:
        return {row[column]: row for row in self.table(table)}

    # -- what several invariants ask

    @cached_property
    def of_type(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.events.values():
            found[event.type].append(event)
        return found

    def all_of(self, *types: str) -> Iterator[Event]:
        for name in types:
            yield from self.of_type.get(name, ())

    @cached_property
    def ends(self) -> dict[Run, list[Event]]:
        """What was told of the end of each run of each job; what becomes of later versions ends nothing."""
        return by_run(event for event in self.all_of(*ENDS) if not is_anew(event))

    @cached_property
    def requests(self) -> dict[str, Row]:
        """What intake has accepted."""
        return {row["request_id"]: row for row in self.table("intake.requests") if row["state"] == "accepted"}

    @cached_property
    def last_run(self) -> dict[str, int]:
        """Job → its newest run, as any fact knows it."""
        found: dict[str, int] = {}
        for event in self.events.values():
            if event.job is not None and event.run > found.get(event.job, 0):
                found[event.job] = event.run
        return found


def is_anew(event: Event) -> bool:
    """Whether it speaks of a version that was to take an approved one's place."""
    return event.body.get("supersedes") is not None


def is_by_check(event: Event) -> bool:
    """Whether a check decided and nobody else."""
    return str((event.body.get("by") or {}).get("principal", "")).startswith("check:")


def by_run(events: Iterable[Event]) -> dict[Run, list[Event]]:
    found: dict[Run, list[Event]] = defaultdict(list)
    for event in events:
        if event.job is not None:
            found[event.job, event.run].append(event)
    return found
