"""The publisher's environment."""

from pathlib import Path

from pydantic import Field

from shared.settings import Settings


class PublisherSettings(Settings):
    publish_folder: Path = Field(
        default=Path("published"),
        description="Where targets of type folder begin; made at start: one that is missing later is not mounted",
    )
    publish_concurrency: int = Field(default=16, ge=1, le=256, description="Publications under way at once")
