"""Builders: a good ask, and what becomes of it with changes."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from services.intake.sources import Sources, resolve_all
from shared.events import ImageRequested, Problem
from shared.library.asks import Resolved, read
from shared.library.offers import Offers
from tests.prompt.library import shelf

GOOD: dict[str, Any] = {
    "campaign": "winter",
    "asset_type": "tile",
    "skus": ["OIL-100"],
    "variables": {"setting": "linen", "headline": "Slow down"},
    "channels": ["web"],
}


NO_SOURCES: Sources = {}


def asked(**changes: Any) -> ImageRequested:
    found = read(GOOD | changes)
    assert isinstance(found, ImageRequested), found
    return found


def resolved(
    offers: Offers | None = None, known: Sources = NO_SOURCES, parents: Collection[UUID] = (), /, **changes: Any
) -> Resolved:
    found = resolve_all(asked(**changes), offers or Offers(shelf()), known, parents)
    assert isinstance(found, Resolved), found
    return found


def faults(
    offers: Offers | None = None, known: Sources = NO_SOURCES, /, **changes: Any
) -> list[tuple[str, str | None]]:
    """Code and place of everything wrong with a good ask that was changed."""
    ask = read(GOOD | changes)
    problems = ask if isinstance(ask, list) else resolve_all(ask, offers or Offers(shelf()), known)
    assert isinstance(problems, list), "it is good"
    assert all(problem.what and problem.remedy for problem in problems)
    return [(problem.code, problem.where) for problem in problems]


def problem(offers: Offers | None = None, /, **changes: Any) -> Problem:
    ask = read(GOOD | changes)
    problems = ask if isinstance(ask, list) else resolve_all(ask, offers or Offers(shelf()), NO_SOURCES)
    assert isinstance(problems, list)
    (only,) = problems
    return only
