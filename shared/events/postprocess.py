"""Events of stage 4, postprocess."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Event
from shared.events.words import Brief, Confidentiality, FailureReason, File, Measures, Pin, Run, SourceType, Verdict


class ImageProcessed(Event):
    """An asset version: the original, every derivative its channels ask for, review proxies and checks."""

    SOURCE: ClassVar[str] = "/calotype/postprocess"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    asset_id: UUID
    asset_version_id: UUID
    brief: Brief
    original: File
    files: list[File] = Field(
        description="The derivatives; one named `original`, of no recipe, is the original as it is published"
    )
    proxies: list[File] = Field(description="For the review page: longest side 320, 1024, 2048")
    checks: list[Verdict] = Field(default_factory=list)
    measures: Measures | None = None
    derivatives_manifest: File | None = None
    focal: tuple[float, float] | None = None
    source_type: SourceType = SourceType.TRAINED
    rubric: Pin
    alt_text: str | None = None
    caption: str | None = None
    confidentiality: Confidentiality
    supersedes: UUID | None = Field(
        default=None, description="The approved version whose place this one takes, once somebody approves it"
    )

    @property
    def published(self) -> list[File]:
        """What leaves the house: the original, cleaned where anything was made of it, then the derivatives."""
        return self.files if any(file.is_original for file in self.files) else [self.original, *self.files]


class DerivativesFailed(Event):
    """An approved version could not be made again: no new version comes of it, and the old one stays as it is."""

    SUBJECT: ClassVar[str] = "supersedes"
    SOURCE: ClassVar[str] = "/calotype/postprocess"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    asset_id: UUID
    supersedes: UUID
    asked: UUID | None = Field(default=None, description="The ask that came to nothing, where that is not the cause")
    reason: FailureReason
    detail: str
    remedy: str | None = None
    confidentiality: Confidentiality
