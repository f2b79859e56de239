"""The aims that what a run measured is held to, each where the run is of a kind that says something of it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local.supervisor import STAGES

KILLS = 100  # of which a p99 says something
SOAK = 55 * 60.0  # seconds of load
DRIFT = 0.05  # of a process's resident memory over a soak
DRAINED = 30.0  # seconds after a server's return, until what had been accepted by then is made
RESTARTS = frozenset({"kafka.restarted", "postgres.restarted"})
FLAT = (*STAGES, "postgres")  # Kafka's heap fills up to its limit, which is above what an hour takes


@dataclass(frozen=True, slots=True)
class Unmet:
    """An aim that this run was to be held to, and missed, or says too little of (`is_known` False)."""

    what: str
    is_known: bool


def unmet(figures: Mapping[str, Any], *, recovery: float, load: float, only: Collection[str] = ()) -> Iterator[Unmet]:
    """`recovery`: seconds that it may take; `load`: those that memory was watched; `only`: kinds of faults, or all."""
    found = figures.get("recovery", {})
    if found.get("kills", 0) >= KILLS:
        yield from _recovery(found, recovery)
    if load >= SOAK:
        for name in FLAT:
            yield from _memory(name, figures.get("memory", {}).get(name))
    if only and RESTARTS.issuperset(only):  # else others keep it from being made
        for server, drained in figures.get("drained_after_restart", {}).items():
            yield from _drained(server, drained, was_restarted=f"{server}.restarted" in only)


def _recovery(found: Mapping[str, float], most: float) -> Iterator[Unmet]:
    if "p99" not in found:
        yield Unmet("recovery after kill -9, for the longest one was cut short by another fault", is_known=False)
    elif found["p99"] > most:
        what = f"after kill -9 the p99 until a service is heard is {found['p99']} s, and may be {most:g} s"
        yield Unmet(what, is_known=True)


def _memory(name: str, found: Mapping[str, float] | None) -> Iterator[Unmet]:
    if found is None:
        yield Unmet(f"{name}'s memory, which was not seen early and late in the run", is_known=False)
    elif found["drift"] > DRIFT:
        what = f"{name}'s resident memory grew by {found['drift']:.1%} over the run, and may by {DRIFT:.0%}"
        yield Unmet(what, is_known=True)


def _drained(server: str, found: Mapping[str, float], *, was_restarted: bool) -> Iterator[Unmet]:
    if not found.get("count"):
        if was_restarted:
            what = f"draining after {server}'s restarts, which found nothing that waited"
            yield Unmet(what, is_known=False)
    elif found["max"] > DRAINED:
        what = f"{found['max']} s after {server}'s return not all was made, and {DRAINED:g} s are enough"
        yield Unmet(what, is_known=True)
