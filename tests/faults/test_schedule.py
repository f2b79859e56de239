"""The schedule of faults: a function of the seed, dealt fairly, never two faults in one place."""

from collections import Counter
from itertools import islice, pairwise

import pytest

from tests.faults.arms import SELDOM, Arms, points_of
from tests.faults.registry import KINDS
from tests.faults.scale import Scale
from tests.faults.schedule import Planned, schedule


def plan(seed: int, many: int, *, factor: float = 0.15, gap: float = 1.0) -> list[Planned]:
    return list(islice(schedule(seed, KINDS, scale=Scale(factor=factor), gap=gap), many))


def test_the_same_seed_plans_the_same_faults_with_the_same_parameters() -> None:
    assert plan(7, 300) == plan(7, 300)
    assert plan(7, 300) != plan(8, 300)


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    assert plan(7, 300)[:100] == plan(7, 100)


def test_every_kind_comes_up_early() -> None:
    deck = sum(kind.weight for kind in KINDS)
    assert {fault.kind for fault in plan(3, 2 * deck, gap=2.0)} == {kind.name for kind in KINDS}


def test_kinds_come_as_often_as_their_weight_says() -> None:
    wanted = Counter({kind.name: kind.weight for kind in KINDS})
    found = Counter(fault.kind for fault in plan(5, 40 * wanted.total(), gap=30.0))
    assert {name: round(many / 40) for name, many in found.items()} == wanted


def test_faults_overlap_but_never_in_one_room() -> None:
    faults = plan(11, 400)
    assert any(later.at < earlier.at + earlier.seconds for earlier, later in pairwise(faults))
    for number, fault in enumerate(faults):
        for later in faults[number + 1 :]:
            if later.rooms & fault.rooms:
                assert later.at >= fault.at + fault.seconds


def test_one_factor_scales_every_duration() -> None:
    def seconds(factor: float) -> list[float]:
        faults = islice(schedule(13, KINDS, scale=Scale(factor=factor), gap=1e6), 200)
        return [fault.seconds for fault in faults]

    assert seconds(1.0) == [pytest.approx(10 * quick) for quick in seconds(0.1)]


def test_names_are_unique() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_the_same_seed_arms_the_same_starts_with_the_same_crash_points() -> None:
    def drawn(seed: int) -> list[str]:
        arms = Arms(seed)
        return [arms.next("catalog", stage="catalog", start=start) for start in range(1, 100)]

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)
    assert drawn(4)[0] == "", "a first start has a world to open"


def test_every_crash_point_of_a_stage_is_armed_and_what_is_seldom_most_often() -> None:
    arms = Arms(6)
    starts = [arms.next("publisher", stage="publisher", start=start) for start in range(2, 300)]
    armed = Counter(part.rpartition(":")[0] for start in starts for part in start.split(",") if part)
    points = {f"publisher.{point}" for point in points_of("publisher")}
    fair = 0.75 * len(starts) / len(points)
    assert set(armed) == points
    assert min(armed.values()) >= 0.8 * fair
    assert min(armed[point] for point in points if point.removeprefix("publisher.") in SELDOM) >= 3 * fair
    assert all(len(start.split(",")) < len(points) for start in starts), "no start is armed with everything"
    past = [start for start in starts if "dead_letter.after:1" in start and "dead_letter.before" not in start]
    assert len(past) >= 2 * fair, "what comes after is met too"
