"""One's way in the evidence of a hand-made world, and what breaks it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.faults.hand_made import REQUEST, WORKSPACE
from tests.faults.oracle import ids
from tests.faults.oracle.evidence import Event, Evidence, Kept

Break = Callable[[Evidence], object]


def one(evidence: Evidence, kind: str, job: str | None = None) -> Event:
    return next(event for event in evidence.all_of(kind) if job in {None, event.job})


def forget(evidence: Evidence, event: Event, *, kept: bool = True) -> None:
    del evidence.events[event.id]
    evidence.__dict__.pop("of_type", None)
    if not kept:
        evidence.kept[:] = [fact for fact in evidence.kept if fact.id != event.id]


def say(evidence: Evidence, like: Event, **changes: Any) -> Event:
    """Another fact much like that one, told and kept."""
    event = replace(like, **changes)
    event.id = changes.get("id") or ids.event(event.type, event.subject, event.cause)
    evidence.events[event.id] = event
    kept = Kept(
        id=event.id, type=event.type, about=event.job or REQUEST, workspace=WORKSPACE, digest=event.digest,
        run=event.run, trace=event.trace,
    )  # fmt: skip
    evidence.kept.append(kept)
    return event


def row(evidence: Evidence, table: str, **where: Any) -> dict[str, Any]:
    found: Any = next(r for r in evidence.tables[table] if all(r[name] == value for name, value in where.items()))
    return dict(found) if not isinstance(found, dict) else found


def drop(evidence: Evidence, table: str, **where: Any) -> None:
    evidence.tables[table].remove(row(evidence, table, **where))
