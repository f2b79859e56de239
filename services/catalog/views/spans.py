"""A job's time from its acceptance on, as its page draws it: who worked, and what it waited for in between. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.catalog.domain import COMPLETED, STEPS
from services.catalog.views.drawing import money_of
from services.catalog.web.view import Span

Fact = Mapping[str, Any]

WORK = {
    "PromptAssembled": "prompt",
    "ImageProcessed": "postprocess",
    "AssetPublished": "publisher",
    "PublicationFailed": "publisher",
    "JobCancelled": "until it was dropped",
}
WAIT = {"ReviewRecorded": "a person", "AssetApproved": "the undo window", "AssetRejected": "the undo window"}


def spans(facts: Sequence[Fact], *, now: datetime, waiting: str | None) -> Iterator[Span]:
    """The pieces, one after the other, in seconds from the acceptance.

    A stage's work is known to the second only for attempts; other work is the time between two facts. What it still
    waits for has lasted until `now`.
    """
    begin: datetime | None = None
    last: datetime | None = None
    for fact in facts:
        at: datetime = fact["at"]
        if begin is None or last is None:
            begin = last = at
            continue
        seconds = max(0.0, (at - last).total_seconds())
        yield from _pieces(fact, begins=(last - begin).total_seconds(), seconds=seconds)
        last = max(last, at)
    if waiting is not None and begin is not None and last is not None:
        seconds = max(0.0, (now - last).total_seconds())
        yield Span(kind="wait", words=waiting, begins=(last - begin).total_seconds(), seconds=seconds)


def waits_for(row: Mapping[str, Any], *, decided: bool) -> str | None:
    """What the job in this row waits for now; None once it has ended."""
    if row["rank"] > COMPLETED:
        return None
    if row["rank"] == COMPLETED:
        return "the undo window" if decided else "a person"
    return STEPS[row["step"]].value


def _pieces(fact: Fact, *, begins: float, seconds: float) -> Iterator[Span]:
    kind, body = fact["type"], fact["body"]
    if kind in WORK:
        yield Span(kind="work", words=WORK[kind], begins=begins, seconds=seconds)
    elif kind in WAIT:
        yield Span(kind="wait", words=WAIT[kind], begins=begins, seconds=seconds)
    elif kind in {"ImageGenerated", "JobFailed"}:
        yield from _attempt_pieces(body.get("attempts", ()), begins=begins, seconds=seconds)


def _attempt_pieces(attempts: Sequence[Fact], *, begins: float, seconds: float) -> Iterator[Span]:
    """What is not spent in attempts was waiting for a worker, before the first of them."""
    known = [min(attempt.get("seconds") or 0.0, seconds) for attempt in attempts]
    waited = max(0.0, seconds - sum(known))
    if waited > 0.001:
        yield Span(kind="wait", words="a worker", begins=begins, seconds=waited)
    at = begins + waited
    for number, (attempt, lasted) in enumerate(zip(attempts, known, strict=True)):
        cost = money_of({"cost": attempt.get("cost"), "currency": attempt.get("currency", "USD")})
        yield Span(kind="work", words="inference", begins=at, seconds=lasted, retry=number > 0, cost=cost)
        at += lasted
