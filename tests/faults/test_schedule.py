"""The schedule of faults: a function of the seed, dealt fairly, never two faults in one place."""

from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise

import pytest

from deploy.local.supervisor import STAGES
from tests.faults.arms import ENOUGH, LATE, Arms, points_of
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
    """But for those of the target that wait until it is back from its hour."""
    deck = sum(kind.weight for kind in KINDS)
    late = {kind.name for kind in KINDS} - {fault.kind for fault in plan(3, 2 * deck, gap=2.0)}
    assert all(name.startswith("target.") for name in late) and "target.down_an_hour" not in late
    short = [kind for kind in KINDS if kind.name != "target.down_an_hour"]
    faults = islice(schedule(3, short, scale=Scale(factor=0.15), gap=2.0), 2 * deck)
    assert {fault.kind for fault in faults} == {kind.name for kind in short}


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


def test_what_lasts_for_an_hour_keeps_no_other_from_its_turn() -> None:
    faults = plan(51, 400, gap=5.0)
    (down, *_) = [fault for fault in faults if fault.kind == "target.down_an_hour"]
    meanwhile = [fault for fault in faults if down.at <= fault.at <= down.at + down.seconds]
    after = next(fault for fault in faults if fault.at > meanwhile[-1].at)
    assert max(later.at - earlier.at for earlier, later in pairwise([*meanwhile, after])) < 60
    others = {kind.name for kind in KINDS if not kind.name.startswith("target.")}
    assert len({fault.kind for fault in meanwhile} & others) > 0.8 * len(others)


def test_one_factor_scales_every_duration() -> None:
    def seconds(factor: float) -> list[float]:
        faults = islice(schedule(13, KINDS, scale=Scale(factor=factor), gap=1e6), 200)
        return [fault.seconds for fault in faults]

    assert seconds(1.0) == [pytest.approx(10 * quick) for quick in seconds(0.1)]


def test_names_are_unique() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def ends(arms: Arms, stage: str, *, starts: int, comes_to: Callable[[list[str]], str]) -> Counter[str]:
    """Where so many starts end, if each comes to one of its points, or to none."""
    met: Counter[str] = Counter()
    for start in range(2, 2 + starts):
        armed = arms.next(stage, stage=stage, start=start, met=met)
        points = [part.removeprefix(f"{stage}.").rpartition(":")[0] for part in armed.split(",") if part]
        met.update([comes_to(points)] if points else [])
    return met


def test_the_same_seed_arms_the_same_starts_with_the_same_crash_points() -> None:
    def drawn(seed: int) -> list[str]:
        arms = Arms(seed)
        return [arms.next("catalog", stage="catalog", start=start, met={}) for start in range(1, 100)]

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)
    assert drawn(4)[0] == "", "a first start has a world to open"
    assert drawn(4)[3::3] == [""] * 32, "every third start is left alone"


@pytest.mark.parametrize("stage", STAGES)
def test_every_crash_point_of_a_stage_is_met_about_equally_often(stage: str) -> None:
    met = ends(Arms(6), stage, starts=45 * len(points_of(stage)), comes_to=min)
    assert set(met) == set(points_of(stage))
    assert min(met.values()) >= 20


def test_a_point_that_nothing_comes_to_keeps_nobody_from_the_others() -> None:
    def comes_to(points: list[str]) -> str:
        return next((point for point in points if point != "replay.before"), "nothing")

    met = ends(Arms(6), "catalog", starts=1000, comes_to=comes_to)
    assert min(met[point] for point in points_of("catalog") if point != "replay.before") >= 20


def test_a_start_that_is_left_alone_ends_late_where_that_is_asked() -> None:
    late = [Arms(6, often=True).next("catalog", stage="catalog", start=start, met={}) for start in (1, 4, 7)]
    assert late[0] == ""
    assert all(int(armed.rpartition(":")[2]) >= LATE for armed in late[1:])


def test_what_earlier_runs_met_counts() -> None:
    before = {f"prompt.{point}": 100 for point in points_of("prompt")} | {"prompt.publish.after": 0}
    met = ends(Arms(6, before=before), "prompt", starts=30, comes_to=min)
    assert met.most_common(1)[0][0] == "publish.after"


def test_a_stage_that_met_every_point_often_enough_leaves_the_machine_to_the_others() -> None:
    met = dict.fromkeys(points_of("intake"), ENOUGH)
    assert Arms(6, often=True).next("intake", stage="intake", start=2, met=met) == ""
    assert Arms(6).next("intake", stage="intake", start=2, met=met) != ""
