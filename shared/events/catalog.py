"""Events of stage 5, catalog: decisions become facts here.

All but the two review events and the ask for files are public.
"""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Body, Event
from shared.events.inference import ImageGenerated
from shared.events.words import Brief, Confidentiality, Pin, Run, SourceType


class PublicFile(Body):
    """One file for people outside: `url` is an address of ours that checks the caller's key and redirects."""

    name: str
    media_type: str
    bytes: int
    sha256: str
    url: str
    width: int | None = None
    height: int | None = None
    recipe: str | None = None
    rendition: str | None = None
    unsigned_sha256: str | None = Field(
        default=None,
        description="SHA-256 before it was signed: the file carries Content Credentials. Absent: it does not",
    )


class Approver(Body):
    principal: str
    at: datetime


class RequestCompleted(Event):
    """Every job of the request is approved, rejected, failed or cancelled."""

    SUBJECT: ClassVar[str] = "request_id"
    KEY: ClassVar[str] = "request_id"
    SOURCE: ClassVar[str] = "/calotype/catalog"

    request_id: UUID
    jobs: dict[str, int] = Field(description="Count per job status")
    cost: Decimal | None = None
    currency: str = "USD"


class DerivativesRequested(Event):
    """Somebody asked for the files of an approved version by other recipes: a new version of it, which is reviewed.

    Nothing is generated again: `image` is what was generated then, with the recipes that are to be run now.
    """

    SUBJECT: ClassVar[str] = "supersedes"
    SOURCE: ClassVar[str] = "/calotype/catalog"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    asset_id: UUID
    supersedes: UUID = Field(description="The approved version whose place the new one takes")
    by: str
    image: ImageGenerated
    confidentiality: Confidentiality


class ReviewNeeded(Event):
    SUBJECT: ClassVar[str] = "asset_version_id"
    SOURCE: ClassVar[str] = "/calotype/catalog"

    request_id: UUID
    job_id: UUID
    asset_id: UUID
    asset_version_id: UUID
    confidentiality: Confidentiality


class ReviewRecorded(Event):
    """One person's decision, when it was made; it becomes a fact after the undo window."""

    SUBJECT: ClassVar[str] = "asset_version_id"
    SOURCE: ClassVar[str] = "/calotype/catalog"

    request_id: UUID
    job_id: UUID
    asset_id: UUID
    asset_version_id: UUID
    decision: str
    by: str
    code: str | None = None
    reason: str | None = None
    rubric: list[str] = Field(default_factory=list)


class PublicAsset(Event):
    """What every public fact of an asset says."""

    SUBJECT: ClassVar[str] = "asset_version_id"
    SOURCE: ClassVar[str] = "/calotype/catalog"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    asset_id: UUID
    asset_version_id: UUID
    confidentiality: Confidentiality


class AssetApproved(PublicAsset):
    """An asset version a person let out, complete in itself."""

    files: list[PublicFile] = Field(description="The original (rendition `original`) and every derivative")
    alt_text: str | None = None
    caption: str | None = None
    brief: Brief
    approvers: list[Approver]
    rubric: Pin
    source_type: SourceType = SourceType.TRAINED
    supersedes: UUID | None = Field(default=None, description="The approved version whose place this one takes")


class AssetRejected(PublicAsset):
    code: str
    reason: str | None = None
    by: Approver
    rubric: Pin
    supersedes: UUID | None = Field(
        default=None, description="The approved version whose place this one would have taken: it stays approved"
    )


class AssetRecalled(PublicAsset):
    reason: str
    by: str


class AssetExpired(PublicAsset):
    expired_at: datetime
