"""Which crash point a service is armed with at each of its starts: drawn from the seed, seldom-met ones first."""

from collections import Counter
from random import Random

from shared.crash import POINTS

# How often a running service comes to a point, very roughly, in a second of load. An armed start should live for some
# seconds before it dies, or nothing would ever get done.
FREQUENT = {"commit.before", "commit.after", "settle.before", "settle.after", "outbox.before_send", "outbox.after_send",
            "outbox.after_delete", "claim.after", "offsets.before", "offsets.after"}  # fmt: skip
ARMED = 0.75  # share of starts
CRASHED = "process.crashed"  # what an end at a crash point is called among the kinds of faults


def points_of(stage: str) -> list[str]:
    return sorted(point for point, stages in POINTS.items() if stage in stages)


class Arms:
    """The same seed arms the same starts with the same points."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn: Counter[tuple[str, str]] = Counter()

    def next(self, member: str, *, stage: str, start: int) -> str:
        """`stage.point:n`, or nothing for a start that is left alone; a stage's first start always is."""
        random = Random(f"{self._seed}/{member}/{start}")
        if start <= 1 or random.random() > ARMED:
            return ""
        points = points_of(stage)
        fewest = min(self._drawn[stage, point] for point in points)
        point = random.choice([point for point in points if self._drawn[stage, point] == fewest])
        self._drawn[stage, point] += 1
        hits = 1 + int(random.expovariate(1 / (10 if point in FREQUENT else 2)))
        return f"{stage}.{point}:{hits}"
