"""What came of every ask for an approved version's files by other recipes, as its job's facts have it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from shared.events import FailureReason, Pin

Body = Mapping[str, Any]
log = structlog.get_logger()

KINDS = ("DerivativesRequested", "DerivativesFailed", "ImageProcessed")


class State(StrEnum):
    RUNNING = "running"
    MADE = "made"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    reason: FailureReason
    detail: str
    remedy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Who asked when for which recipes, channel by channel, in which version's place; and how it ended."""

    event_id: UUID
    asset_id: UUID
    supersedes: UUID
    at: datetime
    by: str
    recipes: Mapping[str, Pin]
    ended_at: datetime | None = None
    made: UUID | None = None
    """The version that came of it."""
    failure: Failure | None = None

    @property
    def state(self) -> State:
        """A version that came late is there, whoever had given it up."""
        if self.made is not None:
            return State.MADE
        return State.FAILED if self.failure else State.RUNNING


def asks(facts: Iterable[Body]) -> list[Ask]:
    """Oldest first; each fact is its body, with its `type`.

    Raises:
        ValueError, KeyError: one of them cannot be read.
    """
    return sorted((_ask(*found) for found in _with_ends(facts)), key=lambda ask: ask.at)


def readable(facts: Iterable[Body]) -> list[Ask]:
    """`asks` without those that cannot be read: they are logged, and stand in nobody's way."""
    found = []
    for asked, made, failed in _with_ends(facts):
        try:
            found.append(_ask(asked, made, failed))
        except (ValueError, KeyError) as error:
            log.warning("rerun.unreadable", fact=asked["event_id"], error=type(error).__name__)
    return sorted(found, key=lambda ask: ask.at)


def _with_ends(facts: Iterable[Body]) -> list[tuple[Body, Body | None, Body | None]]:
    """Each ask with the version that came of it, and the word that none will."""
    said = list(facts)
    ends = {(fact["type"], fact.get("asked") or fact["cause_id"]): fact for fact in said if fact.get("supersedes")}
    return [
        (fact, ends.get(("ImageProcessed", event)), ends.get(("DerivativesFailed", event)))
        for fact in said
        if fact["type"] == "DerivativesRequested" and (event := fact["event_id"])
    ]


def _ask(asked: Body, made: Body | None, failed: Body | None) -> Ask:
    end = made or failed
    return Ask(
        event_id=UUID(asked["event_id"]),
        asset_id=UUID(asked["asset_id"]),
        supersedes=UUID(asked["supersedes"]),
        at=datetime.fromisoformat(asked["occurred_at"]),
        by=asked["by"],
        recipes={channel: Pin.model_validate(pin) for channel, pin in asked["image"].get("recipes", {}).items()},
        ended_at=datetime.fromisoformat(end["occurred_at"]) if end else None,
        made=UUID(made["asset_version_id"]) if made else None,
        failure=_failure(failed) if failed and not made else None,
    )


def _failure(failed: Body) -> Failure:
    return Failure(reason=FailureReason(failed["reason"]), detail=failed["detail"], remedy=failed.get("remedy"))
