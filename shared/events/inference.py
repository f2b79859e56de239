"""Events of stage 3, inference."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Body, Event
from shared.events.words import Attempt, Brief, Confidentiality, File, Lane, Pin, Run, SourceType


class Route(Body):
    """Which backend was chosen and why, and why not each other one."""

    backend: str
    lane: Lane
    rule: str
    reason: str
    refused: dict[str, str] = Field(default_factory=dict)
    table: Pin | None = None
    canary: bool = Field(default=False, description="The job is of the share that goes to another backend first")
    version: str | None = Field(default=None, description="What the provider calls this version of the model")


class ImageGenerated(Event):
    """The original image of a job's run, with the manifest it can be made again from."""

    SOURCE: ClassVar[str] = "/calotype/inference"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    asset_id: UUID
    brief: Brief
    original: File
    manifest: File
    mask: File | None = None
    route: Route
    model: str
    seed: int
    attempts: list[Attempt]
    focal: tuple[float, float] | None = Field(default=None, description="x, y from the top left, 0..1")
    live_area: tuple[float, float, float, float] | None = Field(
        default=None, description="left, top, right, bottom, 0..1"
    )
    source_type: SourceType = SourceType.TRAINED
    template: Pin
    brand: Pin | None = None
    rubric: Pin
    recipes: dict[str, Pin] = Field(default_factory=dict)
    alt_text: str | None = None
    caption: str | None = None
    confidentiality: Confidentiality
    deadline: datetime | None = None


class AttemptSettled(Event):
    """A charge that became known only after its job had ended."""

    SOURCE: ClassVar[str] = "/calotype/inference"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    attempt: Attempt
