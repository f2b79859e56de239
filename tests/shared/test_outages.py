"""When somebody counts as away, and when they are asked again."""

from datetime import UTC, datetime, timedelta

from shared.outages import OPENS_AFTER, Away, Outage, Pace, outage_after

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PACE = Pace(first=1, ceiling=60)
REFUSED = Away(cause="refused")


def failing(before: Outage | None, *tries: Away, seconds: float) -> Outage:
    return outage_after(before, tries, now=NOW + timedelta(seconds=seconds), pace=PACE, draw=0)


def test_single_failures_are_the_works_own_and_three_in_a_row_somebody_elses() -> None:
    first = failing(None, REFUSED, seconds=0)
    second = failing(first, REFUSED, seconds=1)
    third = failing(second, REFUSED, seconds=2)
    assert (first.probe_at, second.probe_at) == (None, None)
    assert (third.probe_at, third.since) == (NOW + timedelta(seconds=3), NOW)


def test_each_wait_is_twice_the_last_up_to_a_ceiling() -> None:
    outage, waits, at = failing(None, *[REFUSED] * OPENS_AFTER, seconds=0), [], 0.0
    for _ in range(9):
        assert outage.probe_at is not None
        waits.append((outage.probe_at - NOW).total_seconds() - at)
        at = (outage.probe_at - NOW).total_seconds()
        outage = failing(outage, REFUSED, seconds=at)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_was_under_way_when_it_began_does_not_make_it_longer() -> None:
    began = failing(None, *[REFUSED] * 16, seconds=0)
    assert began.probe_at == NOW + timedelta(seconds=1)
    assert failing(began, *[REFUSED] * 16, seconds=0.5).probe_at == began.probe_at


def test_a_pause_that_is_asked_for_is_kept_from_the_first_time() -> None:
    assert failing(None, Away(cause="busy", seconds=7), seconds=0).probe_at == NOW + timedelta(seconds=7)
