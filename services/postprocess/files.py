"""From what a child made to an asset version: each file with its name, key and hash, and the verdicts on them. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from services.postprocess.checks.files import Subject, check
from services.postprocess.domain import Processed
from services.postprocess.manifests import FORMAT, given
from services.postprocess.names import file_name
from services.postprocess.signing import Chain
from shared import ids
from shared.blobs import EXTENSIONS, MEDIA_TYPES, blob_key
from shared.events import File, ImageGenerated, Measures, Verdict
from shared.events.words import ORIGINAL
from shared.library.documents import Brand, Recipe, Rubric

PROVENANCE = "provenance"
# Operations that cut along the product's shape, where the image came with one.
MASKED = frozenset({"cut-out", "canvas"})

# Checks that look at the product's approved photo.
COMPARED = frozenset({"label", "fidelity"})

# Operations that take a mark of the brand without naming it.
MARKED = {"logo": "logo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One file a child made; see `recipes.Derivative`. `channel` is None for a review proxy and the signed original."""

    channel: str | None
    rendition: str
    media_type: str
    width: int
    height: int
    wanted_type: str
    wanted: tuple[int, int]
    exact: bool
    max_bytes: int | None
    manifest: dict[str, Any]
    verdicts: list[Verdict] = field(default_factory=list)
    unsigned_sha256: str | None = None
    data: bytes

    @property
    def is_proxy(self) -> bool:
        return self.channel is None and self.rendition != ORIGINAL


@dataclass(frozen=True, slots=True)
class Development:
    """What became of one original. The first three say what its own bytes say; `unsigned` why nothing was signed."""

    media_type: str
    width: int
    height: int
    made: list[Made]
    versions: dict[str, str]
    checks: Sequence[Verdict] = ()
    measures: Measures | None = None
    unsigned: str | None = None


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


def order(
    event: ImageGenerated,
    recipes: Mapping[str, Recipe],
    *,
    proxies: Sequence[int],
    brand: Brand | None = None,
    rubric: Rubric | None = None,
    inputs: Sequence[str] = (),
    missing: Mapping[str, str] | None = None,
    chain: Chain | None = None,
) -> dict[str, Any]:
    """What a child is asked to make, as plain data; `recipes` are the pinned documents by channel."""
    said = {"headline": event.brief.headline, "product": event.brief.product}
    return {
        "origin": {
            "source_type": event.source_type,
            "alt_text": event.alt_text,
            "caption": event.caption,
            "manifest": event.manifest.sha256,
            "recipes": {channel: pin.digest for channel, pin in event.recipes.items()},
            **(named(chain) if chain else {}),
        },
        "recipes": {channel: recipe.model_dump(mode="json") for channel, recipe in recipes.items()},
        "proxies": list(proxies),
        "focal": event.focal,
        "live_area": event.live_area,
        "texts": {name: text for name, text in said.items() if text},
        "locale": event.brief.locale,
        "palette": brand.palette if brand else {},
        "inputs": list(inputs),
        "missing": dict(missing or {}),
        "asset": str(event.asset_id),
        "checks": sorted(_judged_by(rubric)),
        "limits": rubric.limits if rubric else {},
    }


def named(chain: Chain) -> dict[str, str]:
    return {"certificates": chain.pem, "algorithm": chain.algorithm, "anchors": chain.anchors}


def _judged_by(rubric: Rubric | None) -> set[str]:
    """The checks that a rubric says anything about."""
    return {*rubric.blocking_checks, *rubric.rejecting_checks, *rubric.limits} if rubric else set()


def needed(
    event: ImageGenerated, recipes: Mapping[str, Recipe], brand: Brand | None, rubric: Rubric | None = None
) -> dict[str, str]:
    """The pictures that operations and checks take beside the original: what a child calls each, and its key."""
    steps = [step for recipe in recipes.values() for made in recipe.renditions for step in made.operations]
    photo = _approved_photo(event, brand) if _judged_by(rubric) & COMPARED else None
    keys: dict[str, str] = {}
    if event.mask and (photo or any(step.op in MASKED for step in steps)):
        keys["mask"] = event.mask.key
    if photo:
        keys["photo"] = input_key(event.workspace, event.asset_id, "photo", photo)
    for name, sha256 in marks_in(recipes.values(), brand).items():
        keys[f"mark/{name}"] = input_key(event.workspace, event.asset_id, f"mark/{name}", sha256)
    return keys


def _approved_photo(event: ImageGenerated, brand: Brand | None) -> str | None:
    """Of the one product that is shown, if the brand has one."""
    if brand is None or len(event.brief.skus) != 1:
        return None
    return next((product.photo for product in brand.products if product.sku == event.brief.skus[0]), None)


def marks_in(recipes: Iterable[Recipe], brand: Brand | None) -> dict[str, str]:
    """The brand's marks that recipes lay on a picture, each with its SHA-256."""
    steps = [step for recipe in recipes for made in recipe.renditions for step in made.operations]
    marks = brand.marks if brand else {}
    wanted = {str(step.params.get(place, MARKED.get(step.op, ""))) for step in steps for place in ("mark", "on_dark")}
    return {name: marks[name] for name in sorted(wanted & marks.keys())}


def input_key(workspace: UUID, asset: UUID, name: str, sha256: str) -> str:
    """Where a picture lies that goes with an order: the mask with its asset, any other where intake keeps sources."""
    owner = asset if name == "mask" else ids.source_id(workspace, sha256)
    return blob_key(workspace, owner, sha256, "png")


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
