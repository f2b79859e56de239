"""Two versions of a recipe beside each other: what each file of them is, and what is another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from services.catalog.sql import queries as catalog
from services.catalog.views.drawing import title
from services.catalog.views.sql import queries
from services.catalog.web.view import Line, RecipePair, RecipeQuery, RenditionPair, Side
from shared.errors import BlobMissing, Rejected
from shared.events import ImageProcessed, Pin
from shared.library.documents import Operation, Recipe, Rendition
from shared.library.pinned import Library
from shared.postgres import Connection


async def recipe_pair(
    connection: Connection, query: RecipeQuery, *, workspace: UUID, library: Library
) -> RecipePair | None:
    """None where the workspace has no recipe of that name. Raises Rejected for a version or an asset it has not."""
    digests = {row["version"]: row["digest"] async for row in catalog.recipe_versions(connection, name=query.name)}
    if not digests:
        return None
    first, second = chosen(query, list(digests))
    documents = [await _document(library, workspace, query.name, number, digests) for number in (first, second)]
    on = await _tried(connection, query.asset) if query.asset else None
    return paired(documents[0], documents[1], versions=list(digests), on=on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The asset that both versions are tried on; `manifest` is its derivatives' by hash."""

    asset: UUID
    name: str
    manifest: str


def paired(first: Recipe, second: Recipe, *, versions: Sequence[int], on: Tried | None = None) -> RecipePair:
    addressed = (f"/v1/derivatives/{on.asset}/preview", {"manifest": on.manifest}) if on else ("", {})
    theirs = [{each.name: each for each in recipe.renditions} for recipe in (first, second)]
    return RecipePair(
        name=second.name,
        channel=second.channel,
        versions=tuple(versions),
        first=first.version,
        second=second.version,
        renditions=tuple(
            _pair(name, (first.label, theirs[0].get(name)), (second.label, theirs[1].get(name)), addressed)
            for name in dict.fromkeys([*theirs[0], *theirs[1]])
        ),
        sources=tuple(dict.fromkeys(f"{each.label}: {each.source}" for each in (first, second) if each.source)),
        asset=on.asset if on else None,
        asset_name=on.name if on else None,
    )


Named = tuple[str, Rendition | None]
Addressed = tuple[str, dict[str, str]]


def _pair(name: str, first: Named, second: Named, addressed: Addressed) -> RenditionPair:
    words = [tuple(_words(each)) if each else () for _, each in (first, second)]
    return RenditionPair(
        name=name,
        first=_side(first, words[0], words[1], addressed),
        second=_side(second, words[1], words[0], addressed),
    )


def _side(named: Named, words: Sequence[str], others: Sequence[str], addressed: Addressed) -> Side | None:
    label, rendition = named
    if rendition is None:
        return None
    path, asked = addressed
    query = urlencode(asked | {"recipe": label, "rendition": rendition.name})
    # Without a counterpart everything would be new, which is said once.
    return Side(
        label=label,
        width=rendition.width,
        height=rendition.height,
        lines=tuple(Line(words=each, same=each in others or not others) for each in words),
        src=f"{path}?{query}" if asked else None,
        said=f"{path}/line?{query}" if asked else None,
    )


def _words(rendition: Rendition) -> Iterator[str]:
    """How it is written, then what is done, a line each."""
    limit = f", at most {rendition.max_bytes:,} bytes" if rendition.max_bytes else ""
    yield f"{rendition.width} × {rendition.height} {rendition.format}, quality {rendition.quality}{limit}"
    if rendition.safe_area:
        yield "safe area " + ", ".join(f"{edge:g}" for edge in rendition.safe_area)
    if rendition.optional:
        yield "left out of a smaller original"
    for step in rendition.operations:
        yield _step(step)


def _step(step: Operation) -> str:
    told = [f"{name} {_value(value)}" for name, value in step.params.items()]
    where = [f"in {', '.join(step.markets)} only"] if step.markets else []
    return f"{step.op}: {'; '.join([*told, *where])}" if told or where else step.op


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_value, value)) if isinstance(value, list) else str(value)


def chosen(query: RecipeQuery, versions: Sequence[int]) -> tuple[int, int]:
    """What was asked for; else the newest, and the one before it."""
    second = query.second or (versions[0] if versions[0] != query.first or len(versions) == 1 else versions[1])
    before = [number for number in versions if number < second]
    first = query.first or (before[0] if before else second)
    for number in (first, second):
        if number not in versions:
            there = ", ".join(map(str, versions))
            raise Rejected("not_found", f"{query.name} has no version {number}.", "from, to", f"There are {there}.")
    return first, second


async def _document(library: Library, workspace: UUID, name: str, number: int, digests: dict[int, str]) -> Recipe:
    pin = Pin(name=name, version=number, digest=digests[number])
    try:
        return await library.get(Recipe, workspace, pin)
    except BlobMissing as error:
        what = f"{pin.label} is published, but its document is not stored any more."
        raise Rejected("not_found", what, pin.digest, "An operator restores it from a backup.") from error


async def _tried(connection: Connection, asset: UUID) -> Tried | None:
    """None where nothing was ever made of its image. Raises Rejected where the workspace has no such asset."""
    row = await catalog.asset(connection, id=asset)
    if row is not None:
        facts = queries.facts_about(connection, abouts=[row["job_id"]], types=["ImageProcessed"])
        async for fact in facts:
            if fact["event_id"] != row["event_id"]:
                continue
            made = ImageProcessed.model_validate_json(fact["body"])
            manifest = made.derivatives_manifest
            return Tried(asset=asset, name=title(made.brief), manifest=manifest.sha256) if manifest else None
    raise Rejected(
        "not_found", "This workspace has no such asset.", str(asset), "Ask calotype trace with any id you have."
    )
