"""Which crash point a service is armed with at each of its starts: drawn from the seed, seldom-met ones first."""

from collections import Counter
from random import Random

from shared.crash import POINTS

# How often a running service comes to a point, very roughly, in a second of load. An armed start should live for some
# seconds before it dies, or nothing would ever get done.
FREQUENT = {"commit.before", "commit.after", "settle.before", "settle.after", "outbox.before_send", "outbox.after_send",
            "claim.after", "offsets.before", "offsets.after"}  # fmt: skip
# What a service seldom comes to: whoever comes to one of them dies there.
SELDOM = {"dead_letter.before", "dead_letter.after", "sweep.before_send", "sweep.after_send", "replay.before",
          "replay.after"}  # fmt: skip
SELDOM_IN = {"intake": {"claim.after", "settle.before", "settle.after", "blob.before", "blob.after"}}
ARMED = 0.75  # share of starts
TOGETHER = 4  # points of one start; with one alone, a start that never comes to it lives until it is killed
ARMED_WITH_ALL = 0.5  # share of these that are armed with all that is seldom; the others get past it
CRASHED = "process.crashed"  # what an end at a crash point is called among the kinds of faults


def points_of(stage: str) -> list[str]:
    return sorted(point for point, stages in POINTS.items() if stage in stages)


class Arms:
    """The same seed arms the same starts with the same points."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn: Counter[tuple[str, str]] = Counter()

    def next(self, member: str, *, stage: str, start: int) -> str:
        """`stage.point:n[,…]`, or nothing for a start that is left alone; a stage's first start always is."""
        random = Random(f"{self._seed}/{member}/{start}")
        if start <= 1 or random.random() > ARMED:
            return ""
        # Either side of what is done, drawn: armed with both, nobody would ever get past the first.
        side = ".before" if ".before" in random.choice(points_of(stage)) else ".after"
        points = [point for point in points_of(stage) if side in point]
        random.shuffle(points)
        points.sort(key=lambda point: self._drawn[stage, point])
        armed = {}
        for point in points[:TOGETHER]:
            self._drawn[stage, point] += 1
            armed[point] = 1 + (int(random.expovariate(1 / 20)) if point in FREQUENT else random.randrange(2))
        if random.random() < ARMED_WITH_ALL:
            armed |= dict.fromkeys((SELDOM | SELDOM_IN.get(stage, set())).intersection(points), 1)
        return ",".join(f"{stage}.{point}:{hits}" for point, hits in sorted(armed.items()))
