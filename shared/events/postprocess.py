"""The event of stage 4, postprocess."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Event
from shared.events.words import Brief, Confidentiality, File, Pin, Run, SourceType, Verdict


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
    files: list[File] = Field(description="The derivatives; what is published besides the original")
    proxies: list[File] = Field(description="For the review page: longest side 320, 1024, 2048")
    checks: list[Verdict] = Field(default_factory=list)
    derivatives_manifest: File | None = None
    focal: tuple[float, float] | None = None
    source_type: SourceType = SourceType.TRAINED
    rubric: Pin
    alt_text: str | None = None
    caption: str | None = None
    confidentiality: Confidentiality
