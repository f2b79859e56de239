"""Stage 3's environment, beside what every stage reads.

Which kinds of backend a deployment runs follows from here, and must be the same in all processes of the stage: the
consumers route by it, the workers run it.
"""

import base64
import binascii
import contextlib
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from shared.library.documents import Rate
from shared.settings import Settings


class ProviderSettings(BaseModel):
    """Somebody we call for images: whose API it speaks, where, with which key, and through which proxy if any.

    `key_id`, `session` and `region`: for `bedrock`, whose requests are signed; `key` is the secret access key there.
    `calls` at once and `rate` hold for the account: for all workspaces and processes together.
    `webhook_url` (the address of this deployment as `replicate` reaches it) and `webhook_secret`: to be told by it.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["openai", "stability", "replicate", "bedrock"] = "openai"
    url: str = Field(pattern=r"^https?://[^\s/]")
    key: SecretStr = SecretStr("")
    key_id: str | None = None
    session: SecretStr = SecretStr("")
    region: str | None = None
    proxy: str | None = None
    calls: int | None = Field(default=None, ge=1, le=1024)
    rate: Rate | None = None
    webhook_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]")
    webhook_secret: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _webhook_is_whole(self) -> Self:
        secret = self.webhook_secret.get_secret_value()
        if not secret and self.webhook_url is None:
            return self
        if self.kind != "replicate" or not secret or self.webhook_url is None:
            raise ValueError("webhook_url and webhook_secret go together, for kind replicate")
        if not self.webhook_key:
            raise ValueError("webhook_secret is no signing secret: whsec_ and base64")
        return self

    @property
    def webhook_key(self) -> bytes:
        """What it signs with; nothing where it tells us nothing."""
        with contextlib.suppress(binascii.Error):
            return base64.b64decode(self.webhook_secret.get_secret_value().removeprefix("whsec_"), validate=True)
        return b""


class InferenceSettings(Settings):
    proof_children: int = Field(
        default=os.cpu_count() or 2,
        ge=0,
        le=128,
        description="Processes that draw proofs, one picture each; 0: no proofs",
    )
    diffusion_models: Path | None = Field(
        default=None, description="A folder of local diffusers folders; unset: this deployment runs no models"
    )
    diffusion_device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    diffusion_dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    diffusion_threads: int = Field(
        default=1, ge=1, le=256, description="torch threads; part of what an image depends on"
    )
    diffusion_images: int = Field(
        default=10,
        ge=1,
        le=64,
        description="Images in the making at once, up to eight a step; each fifth is kept for the dedicated lane",
    )
    diffusion_warm_mb: int = Field(
        default=0, ge=0, description="MB of weights that stay loaded beside the models in use, the last used first"
    )
    diffusion_memory_mb: int | None = Field(
        default=None, ge=64, description="Cap on what models and images take on the CPU; unset: none"
    )
    diffusion_graphs: bool = Field(
        default=True,
        description="Steps on a GPU are recorded and replayed as CUDA graphs, where their bits are the same",
    )
    diffusion_silence_seconds: float = Field(default=600.0, gt=0, description="A model silent for longer is ended")
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict,
        description='Who may be called for images: \'{"openai": {"url": "https://api.openai.com/v1", "key": "sk-…"}}\'',
    )
    provider_calls: int = Field(default=8, ge=1, le=256, description="Calls to providers at once")
    unclaimed_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Work that no live process claims for so long goes elsewhere, or ends as unroutable",
    )
    null_backend: bool = Field(default=False, description="For benchmarks: a backend that makes nothing")
    pools: str = Field(
        default="dedicated,standard",
        pattern=r"^(dedicated|standard)(,(dedicated|standard))?$",
        description="Pools whose work this process claims, by commas",
    )
