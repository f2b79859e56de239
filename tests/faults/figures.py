"""How long recovery took: after a kill, after a server's restart; and what a distribution says."""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """When something was broken, in Unix seconds."""

    began: float
    ended: float


def quantiles(values: Iterable[float]) -> dict[str, float | int]:
    """p50, p99 (the nearest rank), the worst, and of how many."""
    ordered = sorted(values)
    if not ordered:
        return {"count": 0}
    return {
        "count": len(ordered),
        "p50": round(_rank(ordered, 0.50), 2),
        "p99": round(_rank(ordered, 0.99), 2),
        "max": round(ordered[-1], 2),
    }


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def recoveries(
    kills: Iterable[tuple[float, str]], completions: Mapping[str, Sequence[float]], outages: Sequence[Span]
) -> dict[str, list[float]]:
    """Seconds from each kill to the stage's next completion; `alone`: nothing else that it needs was away meanwhile."""
    every: list[float] = []
    alone: list[float] = []
    kills = sorted(kills)
    for at, stage in kills:
        done = completions.get(stage, ())
        place = bisect.bisect_right(done, at)
        if place == len(done):
            continue  # nothing was left to do
        seconds = done[place] - at
        every.append(seconds)
        again = any(other is not at and at < other <= at + seconds for other, _ in kills)
        if not again and not any(span.began < at + seconds and span.ended > at - 1 for span in outages):
            alone.append(seconds)
    return {"every": every, "alone": alone}


def drained(restarts: Iterable[Span], jobs: Iterable[tuple[float, float]]) -> list[float]:
    """Seconds from each server's return until all was made that had been accepted by then; `jobs`: accepted, made."""
    every = list(jobs)
    found = []
    for restart in restarts:
        waited = [
            made - restart.ended for accepted, made in every if accepted <= restart.ended and made > restart.began
        ]
        if waited:
            found.append(max(0.0, *waited))
    return found
