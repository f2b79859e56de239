"""How long recovery took: after a kill, after a server's restart; and what a distribution says."""

import bisect
import math
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


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long it was watched, in seconds; whether the stage was heard by then, and not something else in between."""

    seconds: float
    is_whole: bool


def recoveries(
    kills: Iterable[tuple[float, str]], facts: Mapping[str, Sequence[float]], troubles: Sequence[Span], *, until: float
) -> list[Recovery]:
    """From each kill to the stage's next fact, or to the next trouble of anybody, after which it says no more.

    Nothing from a kill in the middle of a trouble. `until`: when watching ended.
    """
    kills = sorted(kills)
    begun = sorted([at for at, _ in kills] + [span.began for span in troubles])
    found = []
    for at, stage in kills:
        if any(span.began <= at <= span.ended for span in troubles):
            continue
        heard, interrupted = _next(facts.get(stage, ()), at), _next(begun, at)
        ended = min(heard, interrupted, until)
        found.append(Recovery(ended - at, is_whole=ended == heard))
    return found


def _next(times: Sequence[float], at: float) -> float:
    """The first after that; infinity where there is none."""
    place = bisect.bisect_right(times, at)
    return times[place] if place < len(times) else math.inf


def recovered(watched: Sequence[Recovery]) -> dict[str, float | int]:
    """p50 and p99 of a recovery that nothing interrupts, after Kaplan and Meier (J. Am. Stat. Assoc. 53, 1958).

    One that was interrupted counts for as long as it was watched. A quantile is missing where too few lasted so long.
    """
    whole = sorted(each.seconds for each in watched if each.is_whole)
    found: dict[str, float | int] = {"kills": len(watched), "heard": len(whole)}
    if not whole:
        return found
    lengths = sorted(each.seconds for each in watched)
    left = 1.0
    for seconds in whole:
        at_risk = len(lengths) - bisect.bisect_left(lengths, seconds)
        left *= 1 - 1 / at_risk
        for name, share in (("p50", 0.5), ("p99", 0.01)):
            if left <= share and name not in found:
                found |= {name: round(seconds, 2)}
    return found | {"max": round(whole[-1], 2)}


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
