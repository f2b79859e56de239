"""One rendition of any recipe, over an asset that it was never run for: made, handed over, stored nowhere."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from uuid import UUID

from services.postprocess.handler import queries
from services.postprocess.manifests import Manifest
from services.postprocess.ordering import MASKED, marks_in
from services.postprocess.studio import LISTED, Studio, known, no_recipe
from shared.events import Pin, Verdict
from shared.http import HttpProblem, refusal
from shared.library.documents import Brand, Recipe, Rendition
from shared.library.lint import lint
from shared.library.shelf import Shelf
from shared.postgres import Pool, transaction

# A page shows a recipe's files side by side, and asks for each twice: the picture, and what is said of it.
REMEMBERED = 64
REMEMBERED_BYTES = 48 * 2**20
MOST_PIXELS = 4096 * 4096
DIGITS = 64  # of a SHA-256


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    data: bytes
    media_type: str
    width: int
    height: int
    quality: int | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which picture: an asset by its manifest, a rendition of a recipe."""

    workspace: UUID
    manifest: Manifest
    recipe: Recipe
    rendition: Rendition

    @property
    def tag(self) -> str:
        """The same for the same picture from the same release: weak, as libraries below it may be others."""
        told = self.manifest.model_dump_json() + self.recipe.pin().digest + self.rendition.name
        return f'W/"{hashlib.sha256((told + version("calotype")).encode()).hexdigest()[:32]}"'


class Previews:
    """Makes previews; each is remembered a while, and whoever asks for one under way waits for that."""

    def __init__(self, studio: Studio, pool: Pool) -> None:
        self.studio = studio
        self._pool = pool
        self._made: OrderedDict[tuple[UUID, str], asyncio.Future[Preview]] = OrderedDict()

    async def wanted(self, manifest: Manifest, recipe: Recipe, rendition: str, *, workspace: UUID) -> Wanted:
        """Raises HttpProblem for a rendition that the recipe has not, or that is too large to look at."""
        found = next((each for each in recipe.renditions if each.name == rendition), None)
        if found is None:
            remedy = known([each.name for each in recipe.renditions])
            raise HttpProblem(
                "not_found", f"{recipe.label} has no rendition {rendition!r}", where="rendition", remedy=remedy
            )
        if found.width * found.height > MOST_PIXELS:
            what = f"{found.width} × {found.height} is more than a preview shows"
            raise HttpProblem("too_large", what, where="rendition", remedy=f"at most {MOST_PIXELS:,} pixels")
        return Wanted(workspace=workspace, manifest=manifest, recipe=recipe, rendition=found)

    async def recipe(self, workspace: UUID, named: str) -> Recipe:
        """By `name@version`, by `name` the newest that is published, by the digest of its document."""
        if "@" not in named and len(named) == DIGITS:
            return await self.studio.recipe_of(workspace, named)
        name, _, number = named.partition("@")
        async with transaction(self._pool) as connection:
            rows = [row async for row in queries.recipe_versions(connection, workspace=workspace, name=name)]
        for row in rows:
            if str(row["version"]) == number or (not number and row["state"] == "published"):
                pin = Pin(name=name, version=row["version"], digest=row["digest"])
                return await self.studio.recipe(workspace, pin)
        raise no_recipe(named, known([f"{name}@{row['version']}" for row in rows]) if rows else LISTED)

    async def get(self, wanted: Wanted) -> Preview:
        key = (wanted.workspace, wanted.tag)
        found = self._made.get(key)
        if found is None or (found.done() and (found.cancelled() or found.exception() is not None)):
            found = self._made[key] = asyncio.ensure_future(self._make(wanted))
            found.add_done_callback(lambda _: self._forget())
        self._made.move_to_end(key)
        return await asyncio.shield(found)  # whoever else asked for it still waits when this one leaves

    async def _make(self, wanted: Wanted) -> Preview:
        """As the pipeline would make it, before it is signed."""
        studio, workspace, manifest = self.studio, wanted.workspace, wanted.manifest
        # Looked at means looked at: one that would be left out of the version is made all the same.
        rendition = wanted.rendition.model_copy(update={"optional": False})
        recipe = wanted.recipe.model_copy(update={"renditions": [rendition]})
        inputs = _inputs(recipe, manifest, await studio.brand(workspace, manifest))
        digests = {recipe.channel: wanted.recipe.pin().digest}
        async with studio.place():
            sitting = await studio.sitting(workspace, manifest, inputs)
            development = await studio.make(
                sitting, {recipe.channel: recipe}, digests=digests, proxies=False, signs=True
            )
        made = next(each for each in development.made if each.channel == recipe.channel)
        return Preview(
            data=made.data,
            media_type=made.media_type,
            width=made.width,
            height=made.height,
            quality=made.manifest["quality"],
            verdicts=tuple(made.verdicts),
        )

    def _forget(self) -> None:
        """The oldest go first; what is under way stays."""
        done = [(key, each) for key, each in self._made.items() if each.done()]
        kept = sum(len(each.result().data) for _, each in done if _is_made(each))
        for key, each in done:
            if _is_made(each) and len(self._made) <= REMEMBERED and kept <= REMEMBERED_BYTES:
                continue
            kept -= len(each.result().data) if _is_made(each) else 0
            del self._made[key]


def _is_made(preview: "asyncio.Future[Preview]") -> bool:
    return not preview.cancelled() and preview.exception() is None


def _inputs(recipe: Recipe, manifest: Manifest, brand: Brand | None) -> Mapping[str, str]:
    """The SHA-256 of each picture that the recipe takes beside the original."""
    marks = {f"mark/{name}": sha256 for name, sha256 in marks_in([recipe], brand).items()}
    steps = (step for rendition in recipe.renditions for step in rendition.operations)
    # Crops are cut around the product's shape where nobody said in which box it stands.
    masked = manifest.live_area is None or any(step.op in MASKED for step in steps)
    return {"mask": manifest.mask, **marks} if masked and manifest.mask else marks


def linted(recipe: Recipe) -> None:
    """Raises HttpProblem for a draft that would not be published."""
    faults = [fault.problem for fault in lint([recipe], published=Shelf()) if fault.error]
    if faults:
        raise refusal(faults)
