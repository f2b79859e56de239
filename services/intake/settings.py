"""Intake's environment."""

from pydantic import Field

from shared.settings import Settings


class IntakeSettings(Settings):
    expand_concurrency: int = Field(default=2, ge=1, le=64, description="Batch files read at once")
    decode_seconds: float = Field(
        default=5.0, gt=0, description="Processor time that decoding one picture may take; the picture is refused then"
    )
