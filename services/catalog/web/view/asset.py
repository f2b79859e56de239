"""One asset's page: its whole life."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.catalog.web.view.everywhere import Decision, Mark, Money, Picture
from services.catalog.web.view.jobs import FileLine, PublicationLine, Span
from services.catalog.web.view.review import Check, MadeBy, RubricLine


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
class RerunLine:
    """An ask for a new version by these recipes, of which none has come: it is being made, or it failed, and why."""

    at: datetime
    by: str
    recipes: tuple[str, ...]
    state: Mark
    why: str | None = None
    remedy: str | None = None


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
    reruns: tuple[RerunLine, ...] = ()
