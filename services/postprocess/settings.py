"""Stage 4's environment, beside what every stage reads."""

import os
from pathlib import Path
from typing import Self

from pydantic import DirectoryPath, Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.postprocess.model_files import ModelFile, model_file
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
    decode_seconds: float = Field(
        default=5.0, gt=0, description="Processor time that decoding one picture may take; the picture is refused then"
    )
    child_memory_mb: int = Field(default=1024, ge=512, description="Address space of one child")
    preview_children: int = Field(
        default=2, ge=1, le=64, description="Processes beside those, for previews and replays that somebody looks at"
    )
    model_cut_out: Path | None = Field(default=None, description="An ONNX model that tells product from ground")
    model_cut_out_sha256: str = Field(default="", description="Which it must have, or the stage does not start")
    model_upscale: Path | None = Field(default=None, description="An ONNX model that enlarges")
    model_upscale_sha256: str = ""
    model_moderation: Path | None = Field(default=None, description="An ONNX model that scores what must not be shown")
    model_moderation_sha256: str = ""
    model_memory_mb: int = Field(
        default=1024, ge=0, description="Address space that a child has beside its own where a model is configured"
    )
    mark_key: SecretStr = Field(
        default=SecretStr(""),
        description="32 bytes in hexadecimal, by which the invisible mark is written and read; without it none is",
    )
    fonts: DirectoryPath | None = Field(
        default=None, description="Folder of fonts that overlays may be set in, beside those that are shipped"
    )
    review_proxies: tuple[int, ...] = Field(
        default=(320, 1024, 2048),
        description=(
            "Longest sides of the pictures the review page shows; [] makes none, and then an image without channels is"
            " not decoded and not checked, unless originals are signed"
        ),
    )
    signing_certificates_file: Path | None = Field(
        default=None, description="PEM: the certificate that files are signed with, then its issuers; none: unsigned"
    )
    signing_certificates: str | None = Field(default=None, description="The same, as text")
    signing_key_file: Path | None = Field(default=None, description="PEM of the certificate's private key")
    signing_key: SecretStr | None = Field(default=None, description="The same, as text")
    signing_url: str | None = Field(
        default=None, description="Instead of a key: a service that signs and gives the key to nobody"
    )
    signing_token: SecretStr = Field(default=SecretStr(""), description="Bearer token for it")
    trust_anchors: Path | None = Field(
        default=None, description="PEM of the authorities that vouch for it; default: the last of its certificates"
    )
    signing_seconds: float = Field(default=5.0, gt=0, le=60, description="After this it is away, and the work waits")

    _models: dict[str, ModelFile] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _one_key_for_one_certificate(self) -> Self:
        certificates = [self.signing_certificates, self.signing_certificates_file]
        keys = [self.signing_key, self.signing_key_file, self.signing_url]
        named = (sum(each is not None for each in certificates), sum(each is not None for each in keys))
        if named not in {(0, 0), (1, 1)}:
            raise ValueError(
                "signing wants one of signing_certificates and signing_certificates_file, and with it one of"
                " signing_key, signing_key_file and signing_url"
            )
        return self

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

    @model_validator(mode="after")
    def _models_are_what_they_should_be(self) -> Self:
        named = {
            "cut_out": (self.model_cut_out, self.model_cut_out_sha256),
            "upscale": (self.model_upscale, self.model_upscale_sha256),
            "moderation": (self.model_moderation, self.model_moderation_sha256),
        }
        found = {hook: model_file(f"CALOTYPE_MODEL_{hook.upper()}", *given) for hook, given in named.items()}
        self._models = {hook: file for hook, file in found.items() if file}
        return self

    @property
    def models(self) -> dict[str, ModelFile]:
        """The model files by hook, each as its SHA-256 says."""
        return self._models
