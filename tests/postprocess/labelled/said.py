"""What a check said of one picture of which the truth is known."""

from typing import NamedTuple

import numpy as np

from tests.postprocess.labelled.faults import Chance


class Said(NamedTuple):
    """Of one picture: what it is, whether it has the fault, and what the check found."""

    kind: str
    faulty: bool
    ok: bool
    number: float | None


def chance_of(seed: int, check: str) -> Chance:
    return np.random.default_rng([seed, *check.encode()])
