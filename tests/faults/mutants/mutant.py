"""What a mutant is: one defect that somebody could write, where it lies, and how it has to come to light."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EVERY = frozenset({"intake", "prompt", "inference", "postprocess", "catalog", "publisher"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A short run: load, and what is broken meanwhile. Everything follows from the seed."""

    crash: str = ""
    """Armed at each service's first starts, as in CALOTYPE_CRASH."""
    starts: int = 1
    """How many of each service's starts are armed so."""
    strikes: Sequence[str] = ()
    """Names of strikes.py, at once and beside the load."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """The script of `acme`, to whom most is sent."""
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Those of other providers, by their names."""
    receiver: Mapping[str, Any] = field(default_factory=dict)
    requests: int = 40
    poison: int = 0
    replay: Sequence[str] = ()
    """Stages that read everything again at the end; then nothing may be otherwise, and the catalog is built anew."""
    uncertain: bool = True
    """Whether anything here may make an outcome that nobody knows."""
    aside: str = ""
    """The stage that cannot but set whole facts aside here, until somebody has them sent again."""
    seed: int = 1
    test: str = ""
    """A live test to run instead of all this, for what no trial does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`patch` changes the product in a process of one of `stages`; each invariant of `caught_by` may catch it."""

    name: str
    defect: str
    stages: frozenset[str]
    patch: Callable[[], None]
    caught_by: frozenset[str]
    scenario: Scenario = field(default_factory=Scenario)


MUTANTS: dict[str, Mutant] = {}


def mutant(
    defect: str, *, stages: frozenset[str] | set[str] = EVERY, caught_by: str, scenario: Scenario | None = None
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Registers the function below it, whose name is the mutant's; `caught_by`: invariants, by spaces."""

    def register(patch: Callable[[], None]) -> Callable[[], None]:
        name = patch.__name__.replace("_", "-")
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(
            name=name,
            defect=defect,
            stages=frozenset(stages),
            patch=patch,
            caught_by=frozenset(caught_by.split()),
            scenario=scenario or Scenario(),
        )
        return patch

    return register
