"""What a run reports about recovery."""

from tests.faults.aims import unmet
from tests.faults.figures import Recovery, Span, drained, quantiles, recovered, recoveries
from tests.faults.memory import drifts


def test_quantiles_are_values_that_occurred() -> None:
    assert quantiles(range(1, 101)) == {"count": 100, "p50": 50, "p99": 99, "max": 100}
    assert quantiles([3.0]) == {"count": 1, "p50": 3.0, "p99": 3.0, "max": 3.0}
    assert quantiles([]) == {"count": 0}


def test_recovery_is_from_the_kill_to_the_stages_next_fact_or_to_what_interrupts_it() -> None:
    told = {"catalog": [1.0, 9.0, 30.0, 50.0, 90.0], "prompt": [3.0]}
    kills = [(8.0, "catalog"), (28.0, "catalog"), (48.0, "catalog"), (48.5, "inference"), (60.0, "prompt")]
    troubles = [Span(29.0, 29.5), Span(70.0, 80.0)]
    found = recoveries([*kills, (75.0, "catalog")], told, troubles, until=95.0)
    assert [(each.seconds, each.is_whole) for each in found] == [
        (1.0, True), (1.0, False), (0.5, False), (11.5, False), (10.0, False)
    ], "and nothing of a kill in the middle of a trouble"  # fmt: skip
    assert recoveries([(5.0, "prompt")], told, [], until=7.0) == [Recovery(2.0, is_whole=False)], "nothing came"


def test_a_recovery_that_was_interrupted_counts_for_as_long_as_it_was_watched() -> None:
    """By hand: of six at risk one is heard at 1 (5/6 left), of four at 3 (5/8), of two at 5 (5/16), then the last."""
    whole = [Recovery(at, is_whole=True) for at in (1, 3, 5, 9)]
    cut = [Recovery(at, is_whole=False) for at in (2, 3)]
    assert recovered([*whole, *cut]) == {"kills": 6, "heard": 4, "p50": 5, "p99": 9, "max": 9}
    assert recovered(cut) == {"kills": 2, "heard": 0}
    assert "p99" not in recovered([*whole, Recovery(20, is_whole=False)]), "nobody knows how long that took"


def test_a_restart_is_over_when_all_that_was_accepted_by_then_is_made() -> None:
    jobs = [(1.0, 2.0), (3.0, 14.0), (9.0, 12.0), (11.0, 40.0)]
    assert drained([Span(5.0, 10.0), Span(13.0, 13.5), Span(50.0, 60.0)], jobs) == [4.0, 26.5]


def test_drift_compares_an_early_part_of_the_run_with_its_end() -> None:
    sizes = [10, 20, 100, 100, 300, 100, 100, 100, 110, 110, 110]
    samples = [(float(at), {"prompt": size * 1_000_000}) for at, size in enumerate(sizes)]
    samples[9] = (9.0, {})  # it was being started again
    assert drifts(samples) == {"prompt": {"early_mb": 166.7, "late_mb": 110.0, "drift": -0.34}}
    assert drifts(samples[:1]) == {}


def test_what_a_run_measured_is_held_to_the_aims_it_says_something_of() -> None:
    figures = {
        "recovery": {"kills": 120, "heard": 100, "p50": 3.0, "p99": 9.6},
        "memory": {"catalog": {"drift": 0.06}, "prompt": {"drift": 0.05}, "kafka": {"drift": 0.3}},
        "drained_after_restart": {"kafka": {"count": 2, "max": 31.0}, "postgres": {"count": 0}},
    }
    restarts = ["kafka.restarted", "postgres.restarted"]

    def missed(recovery: float, load: float, *only: str) -> list[str]:
        return [aim.what.split()[0] for aim in unmet(figures, recovery=recovery, load=load, only=only) if aim.is_known]

    assert missed(9.5, 3600, *restarts) == ["after", "catalog's", "31.0"]
    assert missed(9.5, 600, *restarts, "process.killed") == ["after"]
    assert missed(10, 600) == []
    unknown = [aim.what for aim in unmet(figures, recovery=9.5, load=3600, only=restarts) if not aim.is_known]
    assert len(unknown) == 6 and unknown[-1].startswith("draining after postgres"), "five processes were not seen"
    cut_short = {"recovery": {"kills": 120, "heard": 100, "p50": 3.0}}
    assert [aim.is_known for aim in unmet(cut_short, recovery=9.5, load=600)] == [False]
    few = {"recovery": {"kills": 9, "heard": 9, "p50": 3.0, "p99": 99.0}}
    assert list(unmet(few, recovery=9.5, load=600)) == []
