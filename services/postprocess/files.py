"""From what a child made to an asset version: each file with its name, key and hash, and the verdicts on them. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from services.postprocess.checks.files import Subject, check
from services.postprocess.development import Development, Made
from services.postprocess.domain import Processed
from services.postprocess.manifests import FORMAT, given
from services.postprocess.names import file_name
from shared import ids
from shared.blobs import EXTENSIONS, MEDIA_TYPES, blob_key
from shared.events import File, ImageGenerated, Verdict
from shared.events.words import ORIGINAL

PROVENANCE = "provenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file and the bytes to put under its key."""

    file: File
    data: bytes


def complete(
    event: ImageGenerated,
    development: Development,
    *,
    blocking: frozenset[str],
    asked: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> tuple[Processed, list[Stored]]:
    """The asset version and the files to store before anybody hears of it.

    `asked` is the order they were made by, `inputs` the keys of the pictures that went with it: for the manifest.
    """
    stored = [_stored(event, made) for made in development.made]
    manifest = _manifest(event, development, stored, given=given(asked or {}, inputs or {}))
    original = event.original.model_copy(
        update={
            "name": _name(event, "original", EXTENSIONS[development.media_type]),
            "width": development.width,
            "height": development.height,
        }
    )
    files = [(made, each.file) for made, each in zip(development.made, stored, strict=True)]
    published = [(made, file) for made, file in files if not made.is_proxy]
    leaving = next((file for _, file in published if file.is_original), original)
    derived = [(made, file) for made, file in published if not file.is_original]
    subjects = [_original_subject(event, leaving, development), *(_subject(made, file) for made, file in derived)]
    processed = Processed(
        original=original,
        files=[file for _, file in published],
        proxies=[file for made, file in files if made.is_proxy],
        checks=[
            *check(subjects, alt_text=event.alt_text, caption=event.caption, blocking=blocking),
            *development.checks,
            *_said_by_operations([made for made, _ in published], blocking),
            _provenance(event, development, blocking),
        ],
        measures=development.measures,
        manifest=manifest.file,
    )
    return processed, [*stored, manifest]


def _said_by_operations(made: Sequence[Made], blocking: frozenset[str]) -> list[Verdict]:
    """What operations found while they worked, each with the file it is about."""
    return [
        verdict.model_copy(
            update={
                "blocking": verdict.blocking or verdict.check in blocking,
                "sentence": f"{each.channel}/{each.rendition}: {verdict.sentence}",
            }
        )
        for each in made
        for verdict in each.verdicts
    ]


def _stored(event: ImageGenerated, made: Made) -> Stored:
    extension = EXTENSIONS[made.media_type]
    called = f"{made.channel}-{made.rendition}" if made.channel else made.rendition
    file = _file(event, made.data, name=_name(event, called, extension), extension=extension)
    pin = event.recipes[made.channel].label if made.channel else None
    return Stored(
        file=file.model_copy(
            update={
                "width": made.width,
                "height": made.height,
                "recipe": pin,
                "rendition": made.rendition,
                "unsigned_sha256": made.unsigned_sha256,
            }
        ),
        data=made.data,
    )


def _manifest(
    event: ImageGenerated, development: Development, stored: Sequence[Stored], *, given: Mapping[str, Any]
) -> Stored:
    """How every derivative was made, from which bytes and by which versions: what a replay needs.

    Hashes are those before signing, so that the same work has the same manifest.
    """
    derivatives = [
        {
            "derivative_id": str(_derivative_id(event, made, each.file.identity)),
            "recipe": each.file.recipe,
            "rendition": made.rendition,
            "sha256": each.file.identity,
            "width": made.width,
            "height": made.height,
            **made.manifest,
        }
        for made, each in zip(development.made, stored, strict=True)
    ]
    told = {
        "format": FORMAT,
        "asset_id": str(event.asset_id),
        "original_sha256": event.original.sha256,
        "original_media_type": event.original.media_type,
        "mask": event.mask.sha256 if event.mask else None,
        "focal": event.focal,
        "live_area": event.live_area,
        "brand": event.brand.model_dump() if event.brand else None,
        "recipes": {channel: pin.model_dump() for channel, pin in event.recipes.items()},
        **given,
        "versions": development.versions,
        "derivatives": derivatives,
    }
    data = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    return Stored(file=_file(event, data, name=_name(event, "derivatives", "json"), extension="json"), data=data)


def _derivative_id(event: ImageGenerated, made: Made, sha256: str) -> UUID:
    digest = event.recipes[made.channel].digest if made.channel else "proxy" if made.is_proxy else ORIGINAL
    return ids.derivative_id(event.asset_id, sha256, digest, made.rendition)


def _file(event: ImageGenerated, data: bytes, *, name: str, extension: str) -> File:
    sha256 = hashlib.sha256(data).hexdigest()
    key = blob_key(event.workspace, event.asset_id, sha256, extension)
    return File(name=name, media_type=MEDIA_TYPES[extension], bytes=len(data), sha256=sha256, key=key)


def _name(event: ImageGenerated, rendition: str, extension: str) -> str:
    return file_name(event.brief, asset_id=event.asset_id, rendition=rendition, extension=extension)


def _provenance(event: ImageGenerated, development: Development, blocking: frozenset[str]) -> Verdict:
    """Unsigned files are worth a word where nobody gave us a key, and more where a rubric or a key asks for them."""
    signed = sum(made.unsigned_sha256 is not None for made in development.made)
    why = development.unsigned or "postprocess has no signing key"
    said = f"{signed} files are signed, as {event.source_type}." if signed else f"The files are not signed: {why}."
    asked = PROVENANCE in blocking
    ok = bool(signed) or (development.unsigned is None and not asked)
    return Verdict(check=PROVENANCE, ok=ok, blocking=asked, number=signed, unit="files", sentence=said)


def _original_subject(event: ImageGenerated, original: File, development: Development) -> Subject:
    """The original against what inference said of it."""
    said = event.original
    return Subject(
        label="the original",
        name=original.name,
        media_type=development.media_type,
        width=development.width,
        height=development.height,
        bytes=original.bytes,
        wanted_type=said.media_type,
        wanted=(said.width or development.width, said.height or development.height),
    )


def _subject(made: Made, file: File) -> Subject:
    return Subject(
        label=f"{made.channel}/{made.rendition}",
        name=file.name,
        media_type=made.media_type,
        width=made.width,
        height=made.height,
        bytes=file.bytes,
        wanted_type=made.wanted_type,
        wanted=made.wanted,
        exact=made.exact,
        max_bytes=made.max_bytes,
    )
