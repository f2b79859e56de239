"""The derivatives' manifest: all that the files of an asset version can be made again from. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, ValidationError

from services.postprocess.inputs import Inputs
from shared.blobs import parse_key
from shared.errors import Rejected, unreadable
from shared.events import Pin
from shared.events.envelope import Body
from shared.library.documents import Recipe

FORMAT = "calotype.derivatives/1"
PROXY = "proxy-"
# What of an order is written down; the recipes are by their pins, the pictures that go with it by their hashes.
ASKED = ("texts", "locale", "palette", "proxies")
# Who signs is not part of what is said: whose certificate it was is, by its hash.
SIGNING = frozenset({"certificates", "algorithm", "anchors"})


class Derived(Body):
    """One file, and how it was made. No recipe: a review proxy, or the original as it is published."""

    recipe: str | None = None
    rendition: str
    sha256: str
    format: str | None = None
    quality: int | None = None
    operations: list[dict[str, Any]] = Field(default_factory=list)
    notes: list[list[str]] = Field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.recipe}/{self.rendition}" if self.recipe else self.rendition

    @property
    def how(self) -> dict[str, Any]:
        """What is compared with how it is made now."""
        return self.model_dump(include={"format", "quality", "operations", "notes"})


class Manifest(Body):
    """Of an older release's, which names no format, what it did not record is None."""

    format: Literal["calotype.derivatives/1"] | None = None
    asset_id: UUID
    original_sha256: str
    original_media_type: str | None = None
    mask: str | None = None
    focal: tuple[float, float] | None = None
    live_area: tuple[float, float, float, float] | None = None
    brand: Pin | None = None
    texts: dict[str, str] | None = None
    locale: str | None = None
    palette: dict[str, str] | None = None
    proxies: tuple[int, ...] | None = None
    origin: dict[str, Any] | None = Field(default=None, description="What every published file says of itself")
    certificate: str | None = Field(default=None, description="SHA-256 of who signed them; none: nobody did")
    inputs: dict[str, str] | None = Field(default=None, description="SHA-256 of each picture that went with the order")
    missing: list[str] = Field(default_factory=list, description="Of `inputs` those that were not to be had then")
    recipes: dict[str, Pin]
    versions: dict[str, str]
    derivatives: list[Derived]

    @property
    def went(self) -> dict[str, str]:
        """The pictures that really went with the order."""
        return {name: sha256 for name, sha256 in (self.inputs or {}).items() if name not in self.missing}

    @property
    def lacks(self) -> list[str]:
        """What it does not say, for whoever wonders why a file came out otherwise."""
        told = {"the request's texts": self.texts, "its locale": self.locale, "the brand's colours": self.palette}
        absent = [what for what, said in told.items() if said is None]
        return absent if self.inputs is not None else [*absent, "the mask and the marks"]

    def order(
        self, recipes: Mapping[str, Recipe], *, proxies: bool, inputs: Inputs, said: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What a child is asked, as `ordering.order` asked it then; `said` is of the recipes and who would sign."""
        return {
            "origin": {**self.origin, **(said or {}), "is_draft": True} if self.origin is not None else None,
            "recipes": {channel: recipe.model_dump(mode="json") for channel, recipe in recipes.items()},
            "proxies": self._proxies() if proxies else [],
            "focal": self.focal,
            "live_area": self.live_area,
            "texts": self.texts or {},
            "locale": self.locale or "en",
            "palette": self.palette or {},
            "inputs": list(inputs.pictures),
            "missing": inputs.missing,
            "asset": str(self.asset_id),
        }

    def _proxies(self) -> list[int]:
        if self.proxies is not None:
            return list(self.proxies)
        made = (each.rendition for each in self.derivatives if each.recipe is None)
        return [int(name.removeprefix(PROXY)) for name in made if name.removeprefix(PROXY).isdigit()]


def given(asked: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """What a manifest says of the order its files were made by; `inputs` are keys in the store, by name."""
    if not asked:
        return {}
    told: dict[str, Any] = {name: asked[name] for name in ASKED}
    told["inputs"] = {name: parse_key(key)["sha256"] for name, key in inputs.items()}
    if asked["missing"]:
        told["missing"] = sorted(asked["missing"])
    told["origin"] = {name: said for name, said in asked["origin"].items() if name not in SIGNING}
    told["certificate"] = fingerprint(asked["origin"].get("certificates"))
    return told


def fingerprint(certificates: str | None) -> str | None:
    return hashlib.sha256(certificates.encode()).hexdigest() if certificates else None


def read(data: bytes) -> Manifest:
    """Raises Rejected for what is no manifest that this release can read."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        what = f"the manifest cannot be read: {unreadable(error)}"
        raise Rejected("unreadable_manifest", what, "manifest", "use the release that wrote it") from error
