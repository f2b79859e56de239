"""When somebody outside is away, and when to ask again: a circuit breaker as a pure function.

What takes nothing is left alone for a while that grows, and asked again with one try; when it answers, all that waits
may go at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# So many tries in a row that somebody did not take are an outage of theirs, not the trouble of what was tried.
OPENS_AFTER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """Somebody did not take a try and may take it later: after `seconds`, where they said so themselves."""

    cause: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds until the first repeat, and at most; in between each wait is twice the one before."""

    first: float = 1.0
    ceiling: float = 300.0

    def after(self, failures: int, *, draw: float) -> float:
        """`draw` in 0..1 takes off up to a half, so that what failed together does not come back together."""
        return min(self.ceiling, self.first * 2.0 ** min(failures, 30)) * (1 - draw / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How somebody is doing who did not take something: nothing goes there before `probe_at`, then one try."""

    failures: int
    since: datetime
    cause: str
    probe_at: datetime | None = None


def outage_of(row: Mapping[str, Any]) -> Outage:
    """As a stage's table of outages holds it."""
    return Outage(failures=row["failures"], since=row["since"], cause=row["cause"], probe_at=row["probe_at"])


def outage_after(before: Outage | None, tries: Sequence[Away], *, now: datetime, pace: Pace, draw: float) -> Outage:
    """The outage after tries that failed; those that were under way when it began count as nothing more."""
    failures = before.failures if before else 0
    if before is None or before.probe_at is None:
        failures = min(OPENS_AFTER, failures + len(tries))
    elif before.probe_at <= now:
        failures += 1
    probe_at = before.probe_at if before else None
    if failures >= OPENS_AFTER and (probe_at is None or probe_at <= now):
        probe_at = now + timedelta(seconds=pace.after(failures - OPENS_AFTER, draw=draw))
    asked = [now + timedelta(seconds=away.seconds) for away in tries if away.seconds is not None]
    return Outage(
        failures=failures,
        since=before.since if before else now,
        cause=tries[-1].cause,
        probe_at=max([*asked, *([probe_at] if probe_at else [])], default=None),
    )
