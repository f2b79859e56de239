"""Mutants of the product: each a small defect, laid into a service as it starts, that the harness has to catch.

`python -m tests.faults.mutants` runs them; a service process is given one by CALOTYPE_MUTANT (tests/faults/service.py).
"""

from tests.faults.mutants import calling, delivery, making, naming, showing
from tests.faults.mutants.mutant import EVERY, MUTANTS, Mutant, Scenario

__all__ = ["EVERY", "MUTANTS", "Mutant", "Scenario", "apply", "calling", "delivery", "making", "naming", "showing"]


def apply(name: str, *, stage: str | None = None) -> None:
    """Lays the defect into this process, if it is one of the stage's.

    Raises:
        KeyError: there is no such mutant.
        NoLongerThere: what it changes is no longer as it was.
    """
    mutant = MUTANTS[name]
    if stage is None or stage in mutant.stages:
        mutant.patch()
