"""Stage 4's environment, beside what every stage reads."""

import os

from pydantic import Field

from shared.settings import Settings


class PostprocessSettings(Settings):
    children: int = Field(
        default=os.cpu_count() or 2, ge=1, le=128, description="Processes that decode and encode, one picture each"
    )
    child_seconds: float = Field(
        default=60.0, gt=0, description="After this a child is ended, and its work tried again"
    )
    child_memory_mb: int = Field(default=1024, ge=512, description="Address space of one child")
    review_proxies: tuple[int, ...] = Field(
        default=(320, 1024, 2048), description="Longest sides of the pictures the review page shows; [] makes none"
    )
