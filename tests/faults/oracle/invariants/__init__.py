"""One module an invariant, each a function from evidence to what breaks it. Set-based: nothing here reads anything."""

from collections.abc import Callable, Iterable

from tests.faults.oracle.evidence import Evidence, Violation
from tests.faults.oracle.invariants import (
    assets,
    checks,
    effects,
    ends,
    facts,
    letters,
    lineage,
    money,
    quota,
    replays,
    rest,
    secrecy,
    traces,
    twins,
    versions,
)

Check = Callable[[Evidence], Iterable[Violation]]
ALL: tuple[Check, ...] = (
    ends.check,
    assets.check,
    effects.check,
    versions.check,
    lineage.check,
    checks.check,
    twins.check,
    facts.check,
    money.check,
    replays.check,
    quota.check,
    letters.check,
    secrecy.check,
    traces.check,
    rest.check,
)
