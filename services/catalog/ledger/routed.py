"""Where a job was sent and why, or why nowhere, as its facts tell it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """`backend` None: no backend may take it. `refused` gives every other backend of the table its reason."""

    backend: str | None
    rule: str | None
    table: str | None
    reason: str
    refused: Mapping[str, str]


def routed(facts: Iterable[Mapping[str, Any]], *, run: int) -> Routed | None:
    """The decision about a job's run; None as long as nobody told it. A fact is its type and its body."""
    for fact in facts:
        body = fact["body"]
        if body is None or body.get("run", 1) != run:
            continue
        if fact["type"] == "ImageGenerated":
            return _routed(body["route"], body["route"]["backend"], body["route"]["reason"])
        if fact["type"] == "JobFailed" and body["reason"] == "unroutable":
            return _routed(body, None, body["detail"])
    return None


def _routed(body: Mapping[str, Any], backend: str | None, reason: str) -> Routed:
    table = body.get("table")
    return Routed(
        backend=backend,
        rule=body.get("rule"),
        table=f"{table['name']}@{table['version']}" if table else None,
        reason=reason,
        refused=body.get("refused") or {},
    )
