"""A generated image as inference tells of it."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from shared import ids
from shared.blobs import blob_key
from shared.events import Brief, Confidentiality, DerivativesRequested, File, ImageGenerated, Lane, Pin, Route
from shared.library.documents import Recipe, Rubric

WORKSPACE = UUID("00000000-0000-4000-8000-00000000c0de")
RUBRIC = Rubric(name="plain", version=1, owner="design", blocking_checks=["bytes"])


def generated(original: bytes, *recipes: Recipe, **fields: Any) -> ImageGenerated:
    """The event for these bytes; each call is a job of its own."""
    request = fields.pop("request_id", uuid4())
    job = ids.job_id(request, 1)
    asset = ids.asset_id(job, 1)
    told: dict[str, Any] = {
        "workspace": WORKSPACE,
        "request_id": request,
        "job_id": job,
        "asset_id": asset,
        "brief": Brief(asset_type="tile", template="tile@3", brand="salt-linden", campaign="spring", skus=["OIL-100"]),
        "original": file(asset, original, width=64, height=64),
        "manifest": file(asset, b"{}", extension="json"),
        "route": Route(backend="proof", lane=Lane.STANDARD, rule="all", reason="the only one"),
        "model": "proof",
        "seed": 7,
        "attempts": [],
        "template": Pin(name="tile", version=3, digest="0" * 64),
        "rubric": RUBRIC.pin(),
        "recipes": {each.channel: each.pin() for each in recipes},
        "alt_text": "A bottle on a table",
        "caption": "Body oil",
        "confidentiality": Confidentiality.PUBLIC,
        "client_reference": "row-7",
    }
    return ImageGenerated.of(cause_id=uuid4(), occurred_at=datetime.now(UTC), **(told | fields))


def file(asset: UUID, data: bytes, *, extension: str = "png", **fields: Any) -> File:
    sha256 = hashlib.sha256(data).hexdigest()
    media_type = {"png": "image/png", "json": "application/json"}[extension]
    key = blob_key(WORKSPACE, asset, sha256, extension)
    return File(name=f"original.{extension}", media_type=media_type, bytes=len(data), sha256=sha256, key=key, **fields)


def asked_anew(image: ImageGenerated, *recipes: Recipe, **fields: Any) -> DerivativesRequested:
    """Somebody's ask for the files of the image's approved version by these recipes."""
    version = ids.asset_version_id(image.asset_id, image.original.sha256, [])
    pins = image.recipes | {each.channel: each.pin() for each in recipes}
    told: dict[str, Any] = {
        **{name: getattr(image, name) for name in ("workspace", "request_id", "job_id", "run", "asset_id")},
        **{name: getattr(image, name) for name in ("client_reference", "confidentiality")},
        "supersedes": version,
        "by": "otto",
        "image": image.model_copy(update={"recipes": pins}),
    }
    cause = ids.rerun_id(version, {channel: pin.digest for channel, pin in pins.items()})
    return DerivativesRequested.of(cause_id=cause, occurred_at=datetime.now(UTC), **(told | fields))
