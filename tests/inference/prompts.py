"""Assembled prompts as they reach this stage, and the routing table they meet."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from shared import ids
from shared.blobs import blob_key
from shared.events import Brief, Confidentiality, Lane, Parameters, Pin, PromptAssembled, SourceRole, SourceUse
from shared.library.documents import Backend, RouteRule, Routes

WORKSPACE = UUID("0b9c7d1e-0000-4000-8000-000000000001")
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def source(role: str, data: bytes, *, workspace: UUID = WORKSPACE) -> SourceUse:
    """A PNG of 96 × 64 pixels, as intake stored it."""
    sha256 = hashlib.sha256(data).hexdigest()
    name = ids.source_id(workspace, sha256)
    key = blob_key(workspace, name, sha256, "png")
    return SourceUse(
        role=SourceRole(role), source_id=name, key=key, sha256=sha256, media_type="image/png", width=96, height=64
    )


PHOTO = source("reference", b"a photo")


def pin(name: str, version: int = 3) -> Pin:
    return Pin(name=name, version=version, digest=hashlib.sha256(name.encode()).hexdigest())


def assembled(request: UUID | None = None, variant: int = 1, **fields: Any) -> PromptAssembled:
    request = request or uuid4()
    job = ids.job_id(request, variant)
    given: dict[str, Any] = {
        "cause_id": request,
        "occurred_at": NOW,
        "workspace": WORKSPACE,
        "request_id": request,
        "job_id": job,
        "brief": Brief(asset_type="tile", template="product-tile@3", brand="salt-and-linden"),
        "prompt": "a red mug on a linen cloth",
        "negative_prompt": "people",
        "parameters": Parameters(width=64, height=64, steps=4, guidance=5.0),
        "seed": 7,
        "template": pin("product-tile"),
        "rubric": pin("rubric"),
        "confidentiality": Confidentiality.PUBLIC,
    }
    return PromptAssembled.of(**given | fields)


def routes(kind: str = "null", **backend: Any) -> Routes:
    """The four rules of the domain over one private backend."""
    rules = [
        RouteRule(
            id="confidential", confidentiality=[Confidentiality.CONFIDENTIAL], lane=Lane.STANDARD, backends=["local"]
        ),
        RouteRule(id="urgent", priority=["high"], lane=Lane.DEDICATED, backends=["local"]),
        RouteRule(id="bulk", priority=["low"], lane=Lane.BULK, backends=["local"]),
        RouteRule(id="public", confidentiality=[Confidentiality.PUBLIC], lane=Lane.STANDARD, backends=["local"]),
    ]
    local = Backend.model_validate({"name": "local", "kind": kind, "visibility": "private"} | backend)
    return Routes(name="routes", version=1, owner="platform", backends=[local], rules=rules)
