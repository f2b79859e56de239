"""Stage 4's environment, beside what every stage reads."""

import os

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from shared.mark_keys import mark_key
from shared.settings import Settings


class PostprocessSettings(Settings):
    model_config = SettingsConfigDict(hide_input_in_errors=True)  # a key that is refused is not repeated

    children: int = Field(
        default=os.cpu_count() or 2, ge=1, le=128, description="Processes that decode and encode, one picture each"
    )
    child_seconds: float = Field(
        default=60.0, gt=0, description="After this a child is ended, and its work tried again"
    )
    child_memory_mb: int = Field(default=1024, ge=512, description="Address space of one child")
    mark_key: SecretStr = Field(
        default=SecretStr(""),
        description="32 bytes in hexadecimal, by which the invisible mark is written and read; without it none is",
    )
    review_proxies: tuple[int, ...] = Field(
        default=(320, 1024, 2048), description="Longest sides of the pictures the review page shows; [] makes none"
    )

    @field_validator("mark_key")
    @classmethod
    def _is_a_key(cls, given: SecretStr) -> SecretStr:
        if text := given.get_secret_value():
            mark_key(text)
        return given

    def mark(self) -> bytes | None:
        """The key of the invisible mark."""
        text = self.mark_key.get_secret_value()
        return mark_key(text) if text else None
