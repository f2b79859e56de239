"""What a child is asked to make of a generated image, and which pictures it takes beside the original. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from services.postprocess.signing import Chain
from shared import ids
from shared.blobs import blob_key
from shared.events import ImageGenerated
from shared.library.documents import Brand, Recipe, Rubric

# Operations that cut along the product's shape, where the image came with one.
MASKED = frozenset({"cut-out", "canvas"})
# Checks that look at the product's approved photo.
COMPARED = frozenset({"label", "fidelity"})
# Operations that take a mark of the brand without naming it.
MARKED = {"logo": "logo"}


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
    # Where nobody said in which box the product stands, its shape does, and for every channel alike.
    if event.mask and (photo or event.live_area is None or any(step.op in MASKED for step in steps)):
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
