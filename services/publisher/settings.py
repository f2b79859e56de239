"""The publisher's environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.publisher.targets.outside import SECRET_NAME, read_secret
from shared.settings import Settings


class PublisherSettings(Settings):
    # A secret that is wrong is named, never shown.
    model_config = SettingsConfigDict(env_prefix="CALOTYPE_", env_nested_delimiter="__", hide_input_in_errors=True)

    publish_folder: Path = Field(
        default=Path("published"),
        description="Where targets of type folder begin; made at start: one that is missing later is not mounted",
    )
    publish_concurrency: int = Field(
        default=64, ge=1, le=256, description="Publications under way at once, a quarter of them at most to one target"
    )
    publish_retry_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Until what a target did not take is tried again; each wait is twice the last",
    )
    publish_retry_ceiling_seconds: float = Field(default=300.0, gt=0, le=3600, description="And never longer than this")
    trust_anchors: Path | None = Field(
        default=None,
        description="PEM of the authorities whose signatures on files are trusted; without it whole ones are enough",
    )
    verify_children: int = Field(
        default=2, ge=1, le=64, description="Processes that verify signed files; none runs while there is none"
    )
    target_secrets: dict[str, SecretStr] = Field(
        default={},
        description="Name → whsec_…, one a variable: CALOTYPE_TARGET_SECRETS__DAM_2026. As JSON, a name may be"
        " `<workspace>/<name>`, which is that workspace's alone",
    )
    target_networks: list[IPvAnyNetwork] = Field(
        default=[],
        description='Private networks that targets may be in, as JSON; without TLS only loopback: ["127.0.0.0/8"]',
    )

    @model_validator(mode="after")
    def _secrets_are_secrets(self) -> Self:
        for name, secret in self.target_secrets.items():
            if not SECRET_NAME.fullmatch(name.rpartition("/")[2]):
                raise ValueError(f"target_secrets: {name!r} is no name of lower-case letters, digits and _")
            try:
                read_secret(secret.get_secret_value())
            except ValueError as error:
                raise ValueError(f"target_secrets: {name}: {error}") from None
        return self

    @property
    def webhook_keys(self) -> dict[str, bytes]:
        return {name: read_secret(secret.get_secret_value()) for name, secret in self.target_secrets.items()}
