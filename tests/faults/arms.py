"""Which crash point a service is armed with at each of its starts: drawn from the seed, least-met ones first."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from shared.crash import POINTS

# What a running service does not come to in every second of load. All others come first wherever they are armed beside
# these, and after too few of them nothing would ever get done.
SELDOM = {"outbox.after_delete", "sweep.before_send", "sweep.after_send", "dead_letter.before", "dead_letter.after",
          "replay.before", "replay.after"}  # fmt: skip
SELDOM_IN = {
    "intake": {
        "claim.after",
        "settle.before",
        "settle.after",
        "blob.before",
        "blob.after",
        "note.before",
        "note.after",
    },
    "postprocess": {"renew.before", "renew.after"},
    "publisher": {"renew.before", "renew.after"},
    "catalog": {"claim.after", "settle.before", "settle.after"},
}
HITS, HITS_OFTEN = 10, 3  # of a frequent point until the service ends there, on average
LATE = 20  # at least, and as many again on average, of a start that is to get something done first
SELDOM_LATE = 100  # the same, of a start that waits for a seldom point: rows that were sent are deleted after seconds
ALONE = 3  # every third start
ENOUGH = 20  # times that a run about crash points wants each met
TOGETHER = 4  # seldom points of one start; with one alone, a start that never comes to it lives until it is killed
NOTHING: Mapping[str, int] = MappingProxyType({})
CRASHED = "process.crashed"  # what an end at a crash point is called among the kinds of faults


def points_of(stage: str) -> list[str]:
    return sorted(point for point, stages in POINTS.items() if stage in stages)


def seldom_in(stage: str) -> set[str]:
    return SELDOM | SELDOM_IN.get(stage, set())


class Arms:
    """The same seed, and the same ends so far, arm the same start with the same points.

    Every third start is left alone, or a service that finds nothing but what kills it would come no further. `often`:
    for runs about crash points; they come sooner, even a start that is left alone ends by itself, and a stage that has
    met each point often enough leaves the machine to the others.
    """

    def __init__(self, seed: int, *, often: bool = False, before: Mapping[str, int] = NOTHING) -> None:
        """`before`: stage.point → how often a process ended there in earlier runs."""
        self._seed = seed
        self._often = often
        self._before = before

    def next(self, member: str, *, stage: str, start: int, met: Mapping[str, int]) -> str:
        """`stage.point:n[,…]`, or nothing for a start that is left alone. `met`: how often this stage ended where."""
        if start <= 1:
            return ""
        random = Random(f"{self._seed}/{member}/{start}")
        points = points_of(stage)
        met = {point: met.get(point, 0) + self._before.get(f"{stage}.{point}", 0) for point in points}
        random.shuffle(points)
        points.sort(key=met.__getitem__)
        if self._often and met[points[0]] >= ENOUGH:
            return ""
        hits = HITS_OFTEN if self._often else HITS
        armed = {} if start % ALONE == 1 else _drawn(random, points, met, stage=stage, hits=hits)
        if self._often:
            often = next(point for point in points if point not in seldom_in(stage))
            late = SELDOM_LATE if seldom_in(stage).intersection(armed) else LATE
            armed.setdefault(often, late + int(random.expovariate(1 / late)))
        return ",".join(f"{stage}.{point}:{times}" for point, times in sorted(armed.items()))


def _drawn(random: Random, points: list[str], met: Mapping[str, int], *, stage: str, hits: int) -> dict[str, int]:
    """One of the less-met half; a seldom one with those of its side that are met no more often.

    Armed on both sides of what it does, nobody would get past the first.
    """
    less = points[: len(points) // 2 + 1]
    # What was met often enough stands in the way of what was not.
    first, seldom = random.choice([point for point in less if met[point] < ENOUGH] or less), seldom_in(stage)
    if first not in seldom:
        return {first: 1 + int(random.expovariate(1 / hits))}
    fewer = [point for point in points if met[point] <= met[first]]
    beside = [point for point in fewer if point in seldom - {first} and _is_before(point) == _is_before(first)]
    return dict.fromkeys([first, *beside][:TOGETHER], 1)


def _is_before(point: str) -> bool:
    return ".before" in point


def met(crashes: list[tuple[float, str, str]], stage: str) -> Counter[str]:
    """Point → how often a process of the stage ended there."""
    return Counter(point for _, whose, point in crashes if whose == stage)
