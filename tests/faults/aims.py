"""The aims that what a run measured is held to, each where the run is of a kind that says something of it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from deploy.local.supervisor import STAGES

KILLS = 100  # of which a p99 says something
SOAK = 55 * 60.0  # seconds of load
DRIFT = 0.05  # of a process's resident memory over a soak
DRAINED = 30.0  # seconds after a server's return, until what had been accepted by then is made
RESTARTS = frozenset({"kafka.restarted", "postgres.restarted"})
FLAT = (*STAGES, "postgres")  # Kafka's heap fills up to its limit, which is above what an hour takes


def missed(figures: Mapping[str, Any], *, recovery: float, load: float, only: Collection[str]) -> Iterator[str]:
    """`recovery`: seconds that it may take; `load`: those that memory was watched; `only`: kinds of faults, or all."""
    found = figures.get("recovery", {})
    if found.get("kills", 0) >= KILLS and found.get("p99", 0.0) > recovery:
        yield f"after kill -9 the p99 until a service is heard is {found['p99']} s, and may be {recovery:g} s"
    if load >= SOAK:
        for name in FLAT:
            if (drift := figures.get("memory", {}).get(name, {}).get("drift", 0.0)) > DRIFT:
                yield f"{name}'s resident memory grew by {drift:.1%} over the run, and may by {DRIFT:.0%}"
    if only and RESTARTS.issuperset(only):  # else others keep it from being made
        for server, drained in figures.get("drained_after_restart", {}).items():
            if drained.get("max", 0.0) > DRAINED:
                yield f"{drained['max']} s after {server}'s return not all was made, and {DRAINED:g} s are enough"


def not_judged(figures: Mapping[str, Any], *, load: float, only: Collection[str]) -> Iterator[str]:
    """Aims that this run was to be held to, and says too little of."""
    if load >= SOAK:
        for name in sorted(set(FLAT) - figures.get("memory", {}).keys()):
            yield f"{name}'s memory, which was not seen early and late in the run"
    if only and RESTARTS.issuperset(only):
        for server, drained in figures.get("drained_after_restart", {}).items():
            if not drained.get("count") and f"{server}.restarted" in only:
                yield f"draining after {server}'s restarts, which found nothing that waited"
    found = figures.get("recovery", {})
    if found.get("kills", 0) >= KILLS and "p99" not in found:
        yield "recovery after kill -9, for the longest one was cut short by another fault"
