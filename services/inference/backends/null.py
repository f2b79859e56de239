"""Backend `null`: makes nothing, at once. For benchmarks of everything around a model."""

import hashlib

from services.inference.domain import Job, Made
from shared.blobs import blob_key
from shared.events import File

NOTHING = hashlib.sha256(b"").hexdigest()


def make_nothing(job: Job) -> Made:
    """An image of no bytes; nothing is stored under its key."""
    workspace, asset, asked = job.event.workspace, job.asset_id, job.event.parameters
    picture = File(
        name="original.png",
        media_type="image/png",
        bytes=0,
        sha256=NOTHING,
        key=blob_key(workspace, asset, NOTHING, "png"),
        width=asked.width,
        height=asked.height,
    )
    manifest = File(
        name="manifest.json",
        media_type="application/json",
        bytes=0,
        sha256=NOTHING,
        key=blob_key(workspace, asset, NOTHING, "json"),
    )
    return Made(original=picture, manifest=manifest)
