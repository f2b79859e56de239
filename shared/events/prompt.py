"""The event of stage 2, prompt: one job with everything a model needs."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import Body, Event
from shared.events.words import Brief, Confidentiality, Pin, Priority, Reproducible, Run, SourceUse


class LoraUse(Body):
    """An addition to the model's weights, by the name that the backend knows it by."""

    name: str
    weight: float = 1.0


class Parameters(Body):
    """What a backend is told besides the prompt; width and height in pixels."""

    width: int = 1024
    height: int = 1024
    steps: int = 20
    guidance: float = 7.0
    scheduler: str = "default"
    model: str | None = None
    loras: list[LoraUse] = Field(default_factory=list)

    @property
    def weighted(self) -> frozenset[str]:
        """The names of those LoRAs that change anything."""
        return frozenset(lora.name for lora in self.loras if lora.weight)


class PromptAssembled(Event):
    """One job: rendered prompts, parameters, seed, and the scene for the renderer that needs no model."""

    SOURCE: ClassVar[str] = "/calotype/prompt"

    request_id: UUID
    job_id: UUID
    run: Run = 1
    brief: Brief
    prompt: str
    negative_prompt: str = ""
    parameters: Parameters
    seed: int
    scene: dict[str, Any] = Field(default_factory=dict)
    template: Pin
    brand: Pin | None = Field(default=None, description="Its colours, marks and approved photos; null before 0.2")
    rubric: Pin
    recipes: dict[str, Pin] = Field(default_factory=dict)
    alt_text: str | None = None
    caption: str | None = None
    priority: Priority = Priority.NORMAL
    confidentiality: Confidentiality
    deadline: datetime | None = None
    after_job_id: UUID | None = None
    after_state: str | None = None
    references: list[str] = Field(default_factory=list)
    sources: list[SourceUse] = Field(default_factory=list)
    strength: float | None = Field(
        default=None, description="How far the picture may leave its reference, up to 1; null leaves it to the backend"
    )
    reproducible: Reproducible = Reproducible.SHAPE
