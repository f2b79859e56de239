"""An asset version's original with all that went with it, taken from the store to be worked on once more.

Everything begins from the manifest, found under the caller's workspace, the asset and the manifest's hash: no table of
assets is needed, and another workspace's asset is not there. Nothing is stored and nobody is told.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from services.postprocess import manifests
from services.postprocess.children import ChildDied, Children, OutOfMemory, PictureRefused
from services.postprocess.development import Development
from services.postprocess.inputs import Inputs, fetched
from services.postprocess.manifests import Manifest, fingerprint
from services.postprocess.ordering import input_key, named
from services.postprocess.signing import Chain
from shared.blobs import EXTENSIONS, Blobs, blob_key
from shared.errors import BlobMissing, Rejected
from shared.events import Pin
from shared.http import HttpProblem
from shared.library.documents import Brand, Recipe
from shared.library.pinned import Library

LISTED = "see calotype library list recipe"
# What backends hand over, and we take.
ORIGINALS = ("image/png", "image/jpeg", "image/webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """An asset as its manifest tells of it."""

    workspace: UUID
    manifest: Manifest
    original: bytes
    inputs: Inputs


class Studio:
    """Children of its own, so that whoever looks keeps no job waiting; `room` may wait for one of `at_once` places.

    `chain`: who signs what is published. Here nobody signs, but the room that takes is left.
    """

    def __init__(
        self,
        *,
        blobs: Blobs,
        library: Library,
        children: Children,
        chain: Chain | None = None,
        at_once: int = 2,
        room: int = 64,
    ) -> None:
        self.blobs = blobs
        self._library = library
        self._children = children
        self._chain = chain
        self._places = asyncio.Semaphore(at_once)
        self._room = room

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Taken before pictures are read and kept while they are held: whoever waits for one holds nothing.

        Raises HttpProblem where too many already wait.
        """
        if self._room <= 0:
            what = "too many pictures are being made for those who look"
            raise HttpProblem("too_many", what, remedy="ask again in a moment")
        self._room -= 1
        try:
            async with self._places:
                yield
        finally:
            self._room += 1

    async def manifest(self, workspace: UUID, asset: UUID, sha256: str) -> Manifest:
        """Raises HttpProblem where the caller's workspace has no such asset or manifest."""
        found: Manifest | None = None
        with contextlib.suppress(BlobMissing):
            found = manifests.read(await self.blobs.get(blob_key(workspace, asset, sha256, "json")))
        if found is None or found.asset_id != asset:
            raise HttpProblem(
                "not_found",
                f"asset {asset} has no derivatives' manifest {sha256[:12]}… here",
                where="manifest",
                remedy="take both from GET /v1/assets/{id}; manifests live as long as the asset's files",
            )
        return found

    async def sitting(self, workspace: UUID, manifest: Manifest, wanted: Mapping[str, str]) -> Sitting:
        """To be asked for in a place. `wanted`: the SHA-256 of each picture that goes with the original, by name."""
        original = await self._original(workspace, manifest)
        keys = {name: input_key(workspace, manifest.asset_id, name, sha256) for name, sha256 in wanted.items()}
        inputs = await fetched(self.blobs, keys)
        return Sitting(workspace=workspace, manifest=manifest, original=original, inputs=inputs)

    async def recipe(self, workspace: UUID, pin: Pin) -> Recipe:
        try:
            return await self._library.get(Recipe, workspace, pin)
        except (BlobMissing, Rejected) as error:
            raise _unmakeable(f"recipe {pin.label} cannot be read: {error}", where="recipe") from error

    async def recipe_of(self, workspace: UUID, digest: str) -> Recipe:
        """By the digest of its document. Raises HttpProblem where the workspace has none of it."""
        try:
            return await self._library.get(Recipe, workspace, Pin(name="recipe", version=1, digest=digest))
        except (BlobMissing, Rejected) as error:
            raise no_recipe(digest, LISTED) from error

    async def brand(self, workspace: UUID, manifest: Manifest) -> Brand | None:
        """As it was pinned; None where there was none, or it is gone."""
        if manifest.brand is None:
            return None
        with contextlib.suppress(BlobMissing):
            return await self._library.get(Brand, workspace, manifest.brand)
        return None

    @property
    def certificate(self) -> str | None:
        """As a manifest names it; None where nobody signs now."""
        return fingerprint(chain.pem) if (chain := self._valid) else None

    @property
    def _valid(self) -> Chain | None:
        """Not one that is over: nothing can be made ready for it, and who only looks needs no signature."""
        return self._chain if self._chain and self._chain.over() is None else None

    async def make(
        self, sitting: Sitting, recipes: Mapping[str, Recipe], *, digests: Mapping[str, str], proxies: bool, signs: bool
    ) -> Development:
        """`digests`: of the recipes as they are published. `signs`: what is made would be signed.

        Raises HttpProblem for what cannot be made.
        """
        said = {"recipes": dict(digests), **(named(chain) if (chain := self._valid) and signs else {})}
        order = sitting.manifest.order(recipes, proxies=proxies, inputs=sitting.inputs, said=said)
        try:
            return await self._children.develop(sitting.original, order, list(sitting.inputs.pictures.values()))
        except PictureRefused as refused:
            if refused.code == "recipe":
                remedy = "correct the recipe: calotype library lint FOLDER says all that is wrong with it"
                raise HttpProblem("bad_recipe", refused.detail, where="recipe", remedy=remedy) from refused
            raise _unmakeable(f"the original is refused as {refused.code}: {refused.detail}") from refused
        except OutOfMemory as error:
            raise HttpProblem(
                "too_large", str(error), where="asset_id", remedy="raise CALOTYPE_CHILD_MEMORY_MB"
            ) from error
        except ChildDied as error:
            raise HttpProblem("not_made", str(error), remedy="ask again; if it stays so, look at the log") from error

    async def _original(self, workspace: UUID, manifest: Manifest) -> bytes:
        said = manifest.original_media_type
        for media_type in [said] if said else ORIGINALS:
            key = blob_key(workspace, manifest.asset_id, manifest.original_sha256, EXTENSIONS[media_type])
            with contextlib.suppress(BlobMissing):
                return await self.blobs.get(key)
        raise _unmakeable("the original's bytes are not stored any more")


def no_recipe(named: str, remedy: str) -> HttpProblem:
    return HttpProblem("not_found", f"this workspace has no recipe {named!r}", where="recipe", remedy=remedy)


def known(names: Collection[str]) -> str:
    """A remedy that lists what there is."""
    return f"there are {', '.join(sorted(names))}" if names else "there are none"


def _unmakeable(why: str, *, where: str = "asset_id") -> HttpProblem:
    return HttpProblem("not_replayable", why, where=where, remedy="an operator restores it from a backup", status=409)
