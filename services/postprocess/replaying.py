"""An asset version's files made again from their manifest, each compared with what is stored. Stores nothing."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, Field

from services.postprocess.development import Development, Made
from services.postprocess.manifests import Derived, Manifest
from services.postprocess.studio import Sitting, Studio
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.comparing import Change, Measure, Verdict, changed, compare, judged
from shared.errors import BlobMissing
from shared.likeness import apart

SEVERITY = (Verdict.EXACT, Verdict.WITHIN_TOLERANCE, Verdict.DRIFTED)


class ChangeFound(BaseModel):
    """A field of the manifest that is another now; null: it was, or is, not there."""

    field: str
    then: Any
    now: Any


class MeasureFound(BaseModel):
    """How far the pictures are from each other, as of an image's replay."""

    psnr: float | None
    largest: int
    differing: float


class FileAgain(BaseModel):
    """One file: `sentence` says how far it is from what is stored, and why as far as the manifest tells."""

    recipe: str | None
    rendition: str
    sha256: str = Field(description="As the manifest names it: of its bytes before they were signed")
    verdict: Verdict
    measure: MeasureFound | None
    changed: list[ChangeFound]
    sentence: str


class Replayed(BaseModel):
    """What came of making an asset version's files again; `verdict` is that of the file that differs most.

    `changed`: versions and instruction sets that are others now. `missing`: pictures that went with the order and are
    not stored any more. `lacks`: what a manifest of an older release does not say.
    """

    asset_id: UUID
    manifest_sha256: str
    verdict: Verdict
    changed: list[ChangeFound]
    missing: list[str]
    lacks: list[str]
    files: list[FileAgain]
    seconds: float


@dataclass(frozen=True, slots=True)
class Cause:
    """What is another for all files alike."""

    changed: Sequence[Change]
    missing: Mapping[str, str]
    lacks: Sequence[str]


async def replay(
    studio: Studio, *, workspace: UUID, asset: UUID, sha256: str, signed: Mapping[str, str] | None = None
) -> Replayed:
    """`signed`: by the hash of a file before it was signed, that of the file as it is stored.

    Raises HttpProblem where there is nothing to make them from.
    """
    began = time.monotonic()
    manifest = await studio.manifest(workspace, asset, sha256)
    recipes = {channel: await studio.recipe(workspace, pin) for channel, pin in manifest.recipes.items()}
    digests, signs = {channel: pin.digest for channel, pin in manifest.recipes.items()}, bool(manifest.certificate)
    async with studio.place():
        sitting = await studio.sitting(workspace, manifest, manifest.went)
        development = await studio.make(sitting, recipes, digests=digests, proxies=True, signs=signs)
        cause = Cause(_changed(manifest, development, studio, signs=signs), sitting.inputs.missing, manifest.lacks)
        made, stores = _by_name(manifest, development), Stores(studio.blobs, sitting, signed or {})
        files = [await _compared(each, made.get(each.name), stores, cause) for each in manifest.derivatives]
    return Replayed(
        asset_id=asset,
        manifest_sha256=sha256,
        verdict=max((file.verdict for file in files), key=SEVERITY.index, default=Verdict.EXACT),
        changed=_told(cause.changed),
        missing=list(cause.missing),
        lacks=list(cause.lacks),
        files=files,
        seconds=round(time.monotonic() - began, 3),
    )


def _changed(manifest: Manifest, development: Development, studio: Studio, *, signs: bool) -> list[Change]:
    """Versions, and who signs: their certificate takes room from the pictures."""
    found = changed(manifest.versions, development.versions)
    if signs and manifest.certificate != studio.certificate:
        found.append(Change(field="certificate", then=manifest.certificate, now=studio.certificate))
    return found


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the files lie as they were stored."""

    blobs: Blobs
    sitting: Sitting
    signed: Mapping[str, str]

    async def get(self, file: Derived) -> bytes | None:
        """None where it is gone."""
        manifest = self.sitting.manifest
        media_type = f"image/{file.format}" if file.format else manifest.original_media_type or ""
        sha256 = self.signed.get(file.sha256, file.sha256)
        try:
            key = blob_key(self.sitting.workspace, manifest.asset_id, sha256, EXTENSIONS[media_type])
            return await self.blobs.get(key)
        except BlobMissing:
            return None


def _by_name(manifest: Manifest, development: Development) -> dict[str, Made]:
    labels = {channel: pin.label for channel, pin in manifest.recipes.items()}
    return {
        f"{labels[made.channel]}/{made.rendition}" if made.channel else made.rendition: made
        for made in development.made
    }


async def _compared(then: Derived, now: Made | None, stores: Stores, cause: Cause) -> FileAgain:
    if now is None:
        return _file(then, Verdict.DRIFTED, said="it is not made any more", why=_why(cause, []))
    same = (now.unsigned_sha256 or hashlib.sha256(now.data).hexdigest()) == then.sha256
    stored = None if same else await stores.get(then)
    measure = await compare(stored, now.data, ours=True) if stored is not None else None
    own = changed(then.how, Derived.model_validate({**now.manifest, "rendition": then.rendition, "sha256": ""}).how)
    if same:
        said = "the same bytes"
    elif stored is None:
        said = "other bytes, and the stored file is gone: nothing but its hash is left to compare with"
    else:
        said = apart(**asdict(measure)) if measure else "it has another size, and no pixel is compared"
    verdict = judged(same_bytes=same, measure=measure)
    return _file(then, verdict, said=said, why="" if same else _why(cause, own), measure=measure, changes=own)


def _file(
    then: Derived,
    verdict: Verdict,
    *,
    said: str,
    why: str,
    measure: Measure | None = None,
    changes: Sequence[Change] = (),
) -> FileAgain:
    return FileAgain(
        recipe=then.recipe,
        rendition=then.rendition,
        sha256=then.sha256,
        verdict=verdict,
        measure=MeasureFound(**asdict(measure)) if measure else None,
        changed=_told(changes),
        sentence=f"{said}; {why}" if why else said,
    )


def _why(cause: Cause, own: Sequence[Change]) -> str:
    """Everything that may be the reason: inputs first, for without one another picture comes of it."""
    reasons = [f"{name} {why}" for name, why in cause.missing.items()]
    reasons += [f"{change.field} was {_value(change.then)} and is {_value(change.now)}" for change in cause.changed]
    reasons += [_own(change) for change in own]
    if cause.lacks:
        reasons.append(f"its manifest, an older release's, does not say {', '.join(cause.lacks)}")
    return "; ".join(reasons) or "nothing that the manifest records has changed"


def _own(change: Change) -> str:
    if isinstance(change.then, list) or isinstance(change.now, list):
        return f"its {change.field} are others"
    return f"its {change.field} was {_value(change.then)} and is {_value(change.now)}"


def _value(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _told(changes: Sequence[Change]) -> list[ChangeFound]:
    return [ChangeFound(**asdict(change)) for change in changes]
