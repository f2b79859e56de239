"""Recipes run again over approved assets: each gets a new version, which is reviewed; till then the old one stays.

Nothing is generated and nothing is paid.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError

from services.catalog.anew import Case, NotAgain, not_again, requested, sendable
from services.catalog.domain import RANK
from services.catalog.ledger import reruns
from services.catalog.review.desk import Desk, Person
from services.catalog.sql import queries
from shared.audit import acted
from shared.errors import BlobMissing, Rejected
from shared.events import ImageGenerated, JobStatus, Pin
from shared.library.documents import Recipe
from shared.library.operations import takes_from_brand
from shared.library.pinned import Library
from shared.observability import ended_span

APPROVED = RANK[JobStatus.APPROVED]
GONE = {"AssetRecalled": "it was recalled", "AssetExpired": "its term has ended"}
NOWHERE = dict.fromkeys(("campaign", "asset_type", "batch", "request", "assets"))
KINDS = ("RequestAccepted", "ImageGenerated", *reruns.KINDS, *GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """What became of a page of approved assets; `next`: where the next page begins, None after the last."""

    recipes: Mapping[str, str]
    requested: Sequence[Mapping[str, Any]]
    refused: Sequence[NotAgain]
    next: int | None


async def rerun(
    desk: Desk,
    person: Person,
    *,
    library: Library,
    labels: Sequence[str],
    where: Mapping[str, Any],
    after: int,
    many: int,
    dry_run: bool,
) -> Rerun:
    """Asks for a new version of the approved assets that match, a page at a time, oldest first."""
    async with desk.acting(person) as writing:
        connection = writing.connection
        documents = await _recipes(connection, library, person.workspace, labels)
        wanted = {channel: pin for channel, (pin, _) in documents.items()}
        branded = frozenset(channel for channel, (_, recipe) in documents.items() if _takes_from_brand(recipe))
        rows = await _approved(connection, where, after=after, many=many + 1)
        more, rows = len(rows) > many, rows[:many]
        following = rows[-1]["seq"] if more else None
        rows = await _held(connection, rows)
        cases, refused = await _cases(connection, rows)
        refused += [obstacle for case in cases if (obstacle := not_again(case, wanted, branded=branded))]
        if where["assets"] and not after:
            refused += await _unknown(connection, where)
        hopeless = {obstacle.asset_id for obstacle in refused}
        now = await queries.current_time(connection)
        facts = [
            requested(c, wanted, by=person.principal, at=now, trace=None if dry_run else _trace(c, person))
            for c in cases
            if c.asset_id not in hopeless
        ]
        facts, outsized = sendable(facts)
        refused += outsized
        if facts and not dry_run:
            await writing.tell(facts)
            await acted(
                connection,
                by=person.principal,
                workspace=person.workspace,
                action="asset.rerun",
                subject=f"{len(facts)} assets",
                detail={
                    "recipes": list(labels),
                    "where": {name: value for name, value in where.items() if value is not None},
                    "assets": [fact.asset_id for fact in facts],
                },
            )
    return Rerun(
        recipes={channel: pin.label for channel, pin in wanted.items()},
        requested=[{"asset_id": fact.asset_id, "asset_version": fact.supersedes} for fact in facts],
        refused=refused,
        next=following,
    )


async def _held(connection: Any, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """These assets, held to the commit and read again: another version may have been approved till then.

    Of two who ask at once, the second finds what the first asked for.
    """
    _ = [r async for r in queries.hold_jobs(connection, jobs=[row["job_id"] for row in rows])]
    return await _approved(connection, NOWHERE | {"assets": [row["asset_id"] for row in rows]}, many=len(rows))


async def _approved(connection: Any, where: Mapping[str, Any], *, after: int = 0, many: int) -> list[Any]:
    found = queries.approved_assets(connection, **where, approved=APPROVED, after=after, many=many)
    return [row async for row in found]


async def _unknown(connection: Any, where: Mapping[str, Any]) -> list[NotAgain]:
    """Of the assets that were named, those that no page will have."""
    named = set(where["assets"])
    approved = {row["asset_id"] for row in await _approved(connection, where, many=len(named))}
    why = "no approved asset has this id"
    return [NotAgain(asset_id=asset, why=why, remedy=f"see calotype why {asset}") for asset in named - approved]


def _takes_from_brand(recipe: Recipe) -> bool:
    return any(takes_from_brand(step.op, step.params) for made in recipe.renditions for step in made.operations)


async def _recipes(
    connection: Any, library: Library, workspace: UUID, labels: Sequence[str]
) -> dict[str, tuple[Pin, Recipe]]:
    """Channel → the published recipe that is named for it.

    Raises:
        Rejected: there is no such recipe, or two of them are for one channel.
    """
    found: dict[str, tuple[Pin, Recipe]] = {}
    for place, label in enumerate(labels):
        name, _, version = label.partition("@")
        row = None
        if version.isdecimal() and len(version) <= 9:
            row = await queries.recipe(connection, workspace=workspace, name=name, version=int(version))
        if row is None:
            known = [r["label"] async for r in queries.recipes(connection, workspace=workspace)]
            there = f"there are {', '.join(known)}" if known else "nothing is published"
            raise Rejected("invalid_request", f"no published recipe {label!r}", f"recipes[{place}]", there)
        pin = Pin(name=name, version=row["version"], digest=row["digest"])
        try:
            recipe = await library.get(Recipe, workspace, pin)
        except BlobMissing as error:
            what, remedy = f"{label} is not in the object store", "an operator restores it from a backup"
            raise Rejected("missing_document", what, error.key, remedy) from error
        if recipe.channel in found:
            what = f"{found[recipe.channel][0].label} and {label} are both for {recipe.channel}"
            raise Rejected("invalid_request", what, f"recipes[{place}]", "name one of them")
        found[recipe.channel] = pin, recipe
    return found


async def _cases(connection: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Case], list[NotAgain]]:
    if not rows:
        return [], []
    assets = [row["asset_id"] for row in rows]
    waits = {row["asset_id"] async for row in queries.undecided(connection, assets=assets)}
    said: dict[UUID, dict[str, dict[str, Any]]] = {}
    traces: dict[str, str | None] = {}
    about = [row[each] for row in rows for each in ("job_id", "request_id")]
    async for row in queries.said_of(connection, about=about, types=list(KINDS)):
        body = orjson.loads(row["body"]) | {"type": row["type"]}
        said.setdefault(row["about"], {})[body["event_id"]] = body
        traces[body["event_id"]] = row["traceparent"]
    return readable(rows, said, waits=waits, traces=traces)


def readable(
    rows: Sequence[Mapping[str, Any]],
    said: Mapping[UUID, Mapping[str, Mapping[str, Any]]],
    *,
    waits: AbstractSet[UUID],
    traces: Mapping[str, str | None],
) -> tuple[list[Case], list[NotAgain]]:
    """Each for itself: one that cannot be read stands in nobody's way."""
    cases, refused = [], []
    for row in rows:
        asset = row["asset_id"]
        try:
            case = _case(
                row,
                said.get(row["job_id"], {}),
                accepted=next(iter(said.get(row["request_id"], {}).values()), None),
                waits=asset in waits,
                traces=traces,
            )
        except ValidationError as error:
            why = f"what the ledger has of it cannot be read: {error.error_count()} fields of {error.title}"
            refused.append(NotAgain(asset_id=asset, why=why, remedy="ask for it anew"))
            continue
        if case is None:
            why = "the ledger does not reach back to its image"
            refused.append(NotAgain(asset_id=asset, why=why, remedy="ask for it anew"))
        else:
            cases.append(case)
    return cases, refused


def _case(
    row: Mapping[str, Any],
    said: Mapping[str, Mapping[str, Any]],
    *,
    accepted: Mapping[str, Any] | None,
    waits: bool,
    traces: Mapping[str, str | None],
) -> Case | None:
    """None where the ledger does not reach back to what the version was made of."""
    made = said.get(str(row["event_id"]))
    began = said.get(str(made["cause_id"])) if made else None
    if made is None or began is None:
        return None
    version = str(row["asset_version_id"])
    words = (GONE.get(fact["type"]) for fact in said.values() if fact.get("asset_version_id") == version)
    return Case(
        asset_id=row["asset_id"],
        version=row["asset_version_id"],
        image=_branded(ImageGenerated.model_validate(began.get("image", began)), accepted),
        trace=traces[made["event_id"]],
        asked=[ask for ask in reruns.asks(said.values()) if ask.supersedes == row["asset_version_id"]],
        waits=waits,
        gone=next(filter(None, words), None),
    )


def _branded(image: ImageGenerated, accepted: Mapping[str, Any] | None) -> ImageGenerated:
    """With the brand that its request pinned, where it was made before brands travelled with images."""
    if image.brand is not None or accepted is None:
        return image
    return image.model_copy(update={"brand": Pin.model_validate(accepted["brand"])})


def _trace(case: Case, person: Person) -> str | None:
    """The asset's trace goes on: a span under it, however long ago, linked to the person's request."""
    attributes = {"calotype.asset": str(case.asset_id)}
    return ended_span("asset rerun", parent=case.trace, link=person.context, attributes=attributes)
