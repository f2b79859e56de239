"""What a run reports about recovery."""

from tests.faults.figures import Span, drained, quantiles, recoveries
from tests.faults.memory import drifts


def test_quantiles_are_values_that_occurred() -> None:
    assert quantiles(range(1, 101)) == {"count": 100, "p50": 50, "p99": 99, "max": 100}
    assert quantiles([3.0]) == {"count": 1, "p50": 3.0, "p99": 3.0, "max": 3.0}
    assert quantiles([]) == {"count": 0}


def test_recovery_is_from_the_kill_to_the_stages_next_completion() -> None:
    done = {"catalog": [1.0, 9.0, 20.0], "prompt": [3.0]}
    found = recoveries([(2.0, "catalog"), (5.0, "prompt")], done, [])
    assert found["every"] == [7.0], "nothing was left to do for prompt"


def test_a_kill_beside_an_outage_or_another_kill_does_not_count_as_alone() -> None:
    done = {"catalog": [10.0, 30.0, 50.0, 70.0]}
    kills = [(8.0, "catalog"), (28.0, "catalog"), (48.0, "catalog"), (49.0, "inference")]
    found = recoveries(kills, done, [Span(29.0, 29.5)])
    assert found == {"every": [2.0, 2.0, 2.0], "alone": [2.0]}


def test_a_restart_is_over_when_all_that_was_accepted_by_then_is_made() -> None:
    jobs = [(1.0, 2.0), (3.0, 14.0), (9.0, 12.0), (11.0, 40.0)]
    assert drained([Span(5.0, 10.0), Span(13.0, 13.5), Span(50.0, 60.0)], jobs) == [4.0, 26.5]


def test_drift_compares_an_early_part_of_the_run_with_its_end() -> None:
    sizes = [10, 20, 100, 100, 300, 100, 100, 100, 110, 110, 110]
    samples = [(float(at), {"prompt": size * 1_000_000}) for at, size in enumerate(sizes)]
    samples[9] = (9.0, {})  # it was being started again
    assert drifts(samples) == {"prompt": {"early_mb": 166.7, "late_mb": 110.0, "drift": -0.34}}
    assert drifts(samples[:1]) == {}
