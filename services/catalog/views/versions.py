"""An asset's versions, and the asks for new ones of which none has come."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from services.catalog.ledger.reruns import KINDS, State, readable
from services.catalog.review.machine import named
from services.catalog.sql import queries as catalog
from services.catalog.views.drawing import DECIDED, mark_of
from services.catalog.web.view import Mark, RerunLine, VersionLine
from shared.postgres import Connection

Facts = Mapping[str, Any]


async def version_lines(
    connection: Connection, row: Mapping[str, Any], facts: Sequence[Facts], publications: Sequence[Any]
) -> tuple[VersionLine, ...]:
    """Each version with the recipes that made it, who decided, and where it stands or stood."""
    made = {fact["event_id"]: fact["body"] for fact in facts if fact["type"] == "ImageProcessed"}
    found = [version async for version in catalog.versions(connection, asset=row["asset_id"])]
    return tuple(
        VersionLine(
            version_id=version["asset_version_id"],
            at=version["processed_at"],
            state=DECIDED[version["decision"]] if version["decision_state"] == "open" else mark_of(version["rank"]),
            by=named(version["principal"]) if version["principal"] else None,
            recipes=_recipes(made.get(str(version["event_id"]))),
            places=tuple(
                f"{place['state']}: {place['target']}"
                for place in publications
                if place["asset_version_id"] == version["asset_version_id"]
            ),
            is_shown=version["asset_version_id"] == row["asset_version_id"],
            waits=version["review_version"] is not None,
        )
        for version in found
    )


def rerun_lines(facts: Iterable[Facts], *, asset: UUID) -> Iterator[RerunLine]:
    """Of an ask that was answered, the version is there to see."""
    told = (fact["body"] | {"type": fact["type"]} for fact in facts if fact["type"] in KINDS)
    for ask in readable(told):
        if ask.asset_id != asset or ask.state is State.MADE:
            continue
        yield RerunLine(
            at=ask.at,
            by=ask.by,
            recipes=tuple(pin.label for pin in ask.recipes.values()),
            state=Mark.FAILED if ask.failure else Mark.RUNNING,
            why=f"{ask.failure.reason}: {ask.failure.detail}" if ask.failure else None,
            remedy=ask.failure.remedy if ask.failure else None,
        )


def _recipes(processed: Facts | None) -> tuple[str, ...]:
    named = (file.get("recipe") for file in processed["files"]) if processed else ()
    return tuple(dict.fromkeys(recipe for recipe in named if recipe))
