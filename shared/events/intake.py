"""Events of stage 1, intake, and the one foreign event, `ImageRequested`."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.events.envelope import Body, Event
from shared.events.words import Brief, Confidentiality, Pin, Priority, Reproducible, SourceUse


class SourceAsked(BaseModel):
    """A picture to start from, by the id that adding it gave."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: UUID
    role: Literal["reference", "mask"] = Field(
        default="reference",
        description="A mask is as large as the reference: white where the picture is made anew, black where it stays",
    )


class ImageRequested(BaseModel):
    """One structured ask from outside: unknown fields are refused, on Kafka, over HTTP and in a file alike."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    asset_type: str | None = Field(default=None, max_length=80, description="Chooses the template through the campaign")
    template: str | None = Field(default=None, max_length=120, description="`name` or `name@version`")
    campaign: str | None = Field(default=None, max_length=120)
    skus: list[str] = Field(default_factory=list, max_length=8)
    variables: dict[str, str | int | float | bool] = Field(default_factory=dict, max_length=64)
    channels: list[str] = Field(default_factory=list, max_length=16)
    variants: int = Field(default=1, ge=1, le=100)
    locale: str = Field(default="en", max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    audience: str | None = Field(default=None, max_length=120)
    aspect: str | None = Field(default=None, pattern=r"^\d{1,2}:\d{1,2}$")
    intended_use: str | None = Field(default=None, max_length=200)
    priority: Priority = Priority.NORMAL
    confidentiality: Confidentiality = Confidentiality.PUBLIC
    deadline: datetime | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    sources: list[SourceAsked] = Field(default_factory=list, max_length=2)
    strength: float | None = Field(
        default=None, gt=0, le=1, description="How far the picture may leave its reference: 1 is as if there were none"
    )
    reproducible: Literal["shape", "strict"] = Field(
        default="shape", description="strict: no step is shared, so that alone and in a crowd the bytes are the same"
    )
    client_reference: str | None = Field(default=None, max_length=200)
    parent_asset_id: UUID | None = Field(
        default=None, description="The asset that this is to be more like: kept with what is made, as its parent"
    )
    as_variant: int | None = Field(
        default=None, ge=1, le=100, description="Of one job: worded and drawn as this variant of a larger request"
    )
    as_variants: int | None = Field(default=None, ge=1, le=100, description="And how many variants that request had")


class Product(Body):
    """A product as the catalogue had it when the request was accepted."""

    sku: str
    name: str
    form: str = "carton"
    finish: str | None = None
    tint: str | None = None
    label: dict[str, str] = Field(default_factory=dict)
    attributes: dict[str, str] = Field(default_factory=dict)


class RequestAccepted(Event):
    """A request with everything it pins: from here on nothing about it is looked up by name."""

    SUBJECT: ClassVar[str] = "request_id"
    KEY: ClassVar[str] = "request_id"
    SOURCE: ClassVar[str] = "/calotype/intake"

    request_id: UUID
    principal: str
    brief: Brief
    template: Pin
    brand: Pin
    policy: Pin
    rubric: Pin
    campaign: Pin | None = None
    recipes: dict[str, Pin] = Field(default_factory=dict)
    products: list[Product] = Field(default_factory=list)
    variables: dict[str, str | int | float | bool] = Field(default_factory=dict)
    variants: int
    audience: str | None = None
    intended_use: str | None = None
    priority: Priority = Priority.NORMAL
    confidentiality: Confidentiality
    deadline: datetime | None = None
    seed: int | None = None
    sources: list[SourceUse] = Field(default_factory=list)
    strength: float | None = None
    reproducible: Reproducible = Reproducible.SHAPE
    supersedes: UUID | None = None
    as_variant: int | None = None
    as_variants: int | None = None


class Problem(Body):
    """What is wrong, where, and what to do: the same three on HTTP, in a file's report and on Kafka."""

    code: str
    what: str
    where: str | None = None
    remedy: str


class RequestRejected(Event):
    """An ask that could be read and was refused; `request_id` where one could be derived."""

    SUBJECT: ClassVar[str] = "subject"
    KEY: ClassVar[str] = "subject"
    SOURCE: ClassVar[str] = "/calotype/intake"

    subject: str
    request_id: UUID | None = None
    origin: str
    origin_id: str | None = None
    problems: list[Problem]


class CancelRequested(Event):
    """Somebody asked for an end; a request until the stage that holds the job obeys."""

    SUBJECT: ClassVar[str] = "request_id"
    KEY: ClassVar[str] = "request_id"
    SOURCE: ClassVar[str] = "/calotype/intake"

    request_id: UUID
    job_id: UUID | None = None
    by: str
    reason: str | None = None


class LibraryItemChanged(Event):
    """The current state of one document version (compacted)."""

    SUBJECT: ClassVar[str] = "item"
    KEY: ClassVar[str] = "item"
    SOURCE: ClassVar[str] = "/calotype/intake"

    item: str
    kind: str
    name: str
    version: int
    digest: str
    state: str
    owner: str | None = None
    document: dict[str, Any] | None = Field(
        default=None, description="The document itself for kinds that are current, not pinned: routes and targets"
    )
    revision: int = Field(default=0, description="Grows with every change; of one version the highest is what holds")

    @property
    def precedence(self) -> tuple[int, int]:
        """What compaction has to leave of an item: the highest version, as it was changed last."""
        return self.version, self.revision


class ApiKey(Body):
    """A key as every service knows it: never the secret, only its SHA-256."""

    key_id: str
    sha256: str
    principal: str
    roles: list[str]
    active: bool = True


class Limits(Body):
    """What a workspace may use; None is unlimited."""

    jobs_per_day: int | None = None
    spend_per_day: Decimal | None = None
    max_open_jobs: int | None = None
    source_bytes: int | None = Field(default=None, description="What the pictures that requests start from may take")


class WorkspaceChanged(Event):
    """The current state of one workspace (compacted): limits, roles and key hashes, never a secret."""

    SUBJECT: ClassVar[str] = "workspace"
    KEY: ClassVar[str] = "workspace"
    SOURCE: ClassVar[str] = "/calotype/intake"

    name: str
    state: str = "active"
    limits: Limits = Field(default_factory=Limits)
    undo_seconds: float = 10.0
    keys: list[ApiKey] = Field(default_factory=list)
    revision: int = 0

    @property
    def precedence(self) -> tuple[int, int]:
        """What compaction has to leave of a workspace."""
        return 0, self.revision
