"""Events of stage 6, publisher. All public."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.catalog import PublicFile
from shared.events.envelope import Body, Event
from shared.events.words import Arrived, Confidentiality, Verified


class Receipt(Body):
    """What a target keeps: where each file stands and the hash of what was read back.

    A target that only acknowledges has one receipt: the message that it took, its hash, and the id it knows it by.
    Where it says where it put the files, each has one too: `arrived` is how it stands there, `said` what is left of it;
    the hash is empty of one that could not be read.
    """

    location: str
    sha256: str
    bytes: int
    name: str
    remote_id: str | None = None
    arrived: Arrived | None = None
    said: str | None = None


class Publication(Event):
    SUBJECT: ClassVar[str] = "publication_id"
    SOURCE: ClassVar[str] = "/calotype/publisher"

    publication_id: UUID
    request_id: UUID
    job_id: UUID
    asset_id: UUID
    asset_version_id: UUID
    target: str
    confidentiality: Confidentiality


class AssetPublished(Publication):
    """Every file stands at the target and was read back equal; or, as `verified` says, the target took it."""

    location: str
    receipts: list[Receipt]
    verified: Verified = Verified.READ_BACK
    files: list[PublicFile] = Field(default_factory=list)
    delivered_at: datetime


class PublicationFailed(Publication):
    code: str
    detail: str
    remedy: str | None = None
    uncertain: bool = False


class PublicationWithdrawn(Publication):
    reason: str
    unreachable: list[str] = Field(default_factory=list)


class AssetSuperseded(Publication):
    """A version that was approved later stands at the target; `superseded_by` is that asset version.

    What stands of the old one is left there: `AssetPublished` of both says where.
    """

    superseded_by: UUID
