"""Turns: lanes get their shares, workspaces equal ones, and within a workspace the first in line goes first."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.inference.domain import SHARES, Cost
from services.inference.turns import LEVEL, Flow, Head, Purse, Room, Scheduler

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
ALPINE, BEACH = UUID(int=1), UUID(int=2)


def flow(lane: str = "standard", workspace: UUID = ALPINE, *, subject: str = "proof", priority: int = 0) -> Flow:
    return Flow("proof/standard", lane, workspace, subject, priority)


def times(many: int, *, since: timedelta = timedelta(), cost: Cost | None = None) -> list[Head]:
    return [Head(BEGIN + since + timedelta(seconds=number), cost) for number in range(many)]


def served(scheduler: Scheduler, waiting: Mapping[Flow, int], *, rounds: int, many: int = 1) -> list[Flow]:
    """What is granted, round by round, from so many waiting of each flow."""
    left = {of: times(number) for of, number in waiting.items()}
    order: list[Flow] = []
    for _ in range(rounds):
        granted = scheduler.grant({of: line for of, line in left.items() if line}, many)
        for of, number in granted.items():
            left[of] = left[of][number:]
            order += [of] * number
    return order


def lanes(order: list[Flow]) -> Counter[str]:
    return Counter(of.lane for of in order)


ALL = {flow("dedicated"): 1000, flow("standard"): 1000, flow("bulk"): 1000}


def test_lanes_that_are_all_wanted_get_their_shares_one_claim_at_a_time() -> None:
    assert lanes(served(Scheduler(), ALL, rounds=100)) == {"dedicated": 60, "standard": 30, "bulk": 10}


def test_shares_hold_within_any_ten_claims() -> None:
    order = served(Scheduler(), ALL, rounds=200)
    for start in range(190):
        window = lanes(order[start : start + 10])
        assert window["dedicated"] >= 5
        assert window["standard"] >= 2


def test_shares_hold_when_many_are_claimed_together() -> None:
    assert lanes(served(Scheduler(), ALL, rounds=10, many=20)) == {"dedicated": 120, "standard": 60, "bulk": 20}


def test_an_unused_share_goes_to_the_others() -> None:
    assert lanes(served(Scheduler(), {flow("bulk"): 50}, rounds=50)) == {"bulk": 50}
    both = {flow("standard"): 300, flow("bulk"): 300}
    assert lanes(served(Scheduler(), both, rounds=100)) == {"standard": 75, "bulk": 25}


def test_a_lane_that_was_idle_is_served_at_once_and_has_saved_up_nothing() -> None:
    scheduler = Scheduler()
    served(scheduler, {flow("bulk"): 500}, rounds=500)
    order = served(scheduler, dict.fromkeys(ALL, 200), rounds=100)
    assert "dedicated" in [of.lane for of in order[:2]]
    assert lanes(order)["bulk"] >= 9
    assert lanes(order)["dedicated"] <= 61


def test_ten_thousand_of_one_workspace_stand_before_nobody() -> None:
    scheduler = Scheduler()
    mine, theirs = flow(workspace=ALPINE), flow(workspace=BEACH)
    served(scheduler, {mine: 10_000}, rounds=50)
    late = {mine: times(100), theirs: times(1, since=timedelta(hours=1))}
    assert theirs in scheduler.grant(late, 2), "one job at most goes before it"


def test_workspaces_share_a_lane_equally_however_much_each_has() -> None:
    many = {flow(workspace=UUID(int=number)): 10 ** (number % 4 + 1) for number in range(1, 6)}
    order = served(Scheduler(), many, rounds=10, many=5)
    assert set(Counter(of.workspace for of in order).values()) == {10}


def test_a_level_of_priority_is_worth_ten_minutes_of_waiting() -> None:
    high, normal, low = flow(priority=1), flow(priority=0), flow(priority=-1)
    waiting = {
        low: times(1),
        normal: times(1, since=LEVEL + timedelta(seconds=1)),
        high: times(1, since=2 * LEVEL + timedelta(seconds=2)),
    }
    scheduler = Scheduler()
    order = []
    while waiting:
        (first,) = scheduler.grant(waiting, 1)
        order.append(first)
        del waiting[first]
    assert order == [low, normal, high], "whoever has waited long enough goes before whoever is more urgent"
    waiting = {low: times(1), normal: times(1), high: times(1, since=LEVEL - timedelta(seconds=1))}
    assert list(Scheduler().grant(waiting, 1)) == [high]


def test_what_another_worker_took_first_counts_for_nobody() -> None:
    scheduler = Scheduler()
    mine, theirs = flow(workspace=ALPINE), flow(workspace=BEACH)
    scheduler.grant({mine: times(8)}, 8)
    scheduler.gave_back(mine, 8)
    assert scheduler.grant({mine: times(8), theirs: times(8)}, 8) == {mine: 4, theirs: 4}


def test_a_line_that_is_told_in_part_loses_no_turn_to_others() -> None:
    dedicated, bulk = flow("dedicated"), flow("bulk", BEACH)
    granted = Scheduler().grant({dedicated: times(2), bulk: times(2)}, 10, longer={dedicated, bulk})
    assert granted[dedicated] == 2
    assert granted[bulk] <= 1


def dear(amount: str | None, currency: str = "USD") -> Cost:
    return Cost(currency, None if amount is None else Decimal(amount))


def test_a_workspace_whose_cap_is_reached_waits_and_leaves_its_turns_to_others() -> None:
    mine, free, theirs = flow(workspace=ALPINE), flow(workspace=ALPINE, subject="free"), flow(workspace=BEACH)
    room = Room(purses={ALPINE: Purse(Decimal(1), {"USD": Decimal("0.90")})})
    waiting = {mine: times(5, cost=dear("0.04")), free: times(2), theirs: times(5, cost=dear("0.04"))}
    granted = Scheduler().grant(waiting, 20, room=room)
    assert granted == {mine: 2, free: 2, theirs: 5}, "what costs nothing goes, and so do the others"
    assert room.held == {mine}


def test_a_cap_holds_in_each_currency_by_itself_and_what_nobody_knows_fits_none() -> None:
    purse = Purse(Decimal(1), {"USD": Decimal(1)})
    assert not purse.affords(dear("0.01"))
    assert purse.affords(dear("1", "EUR"))
    assert not purse.affords(dear(None, "EUR"))
    assert Purse().affords(dear(None)), "without a cap nobody has to know"


def test_nothing_overtakes_what_is_not_affordable_in_its_own_flow() -> None:
    """A claim takes the oldest of a flow: granted out of order, it would be the one that was passed over."""
    line = [*times(1, cost=dear("0.50")), *times(3, since=timedelta(minutes=1), cost=dear("0.01"))]
    assert Scheduler().grant({flow(): line}, 4, room=Room(purses={ALPINE: Purse(Decimal("0.10"))})) == {}


def test_a_backend_at_its_limit_is_passed_over_until_it_may_be_called_again() -> None:
    busy, idle = flow(subject="busy"), flow(subject="idle")
    room = Room(calls={busy.backend: 1})
    assert Scheduler().grant({busy: times(5), idle: times(5)}, 10, room=room) == {busy: 1, idle: 5}
    assert room.calls[busy.backend] == 1, "it is used up by what is taken, which others may have taken first"


def test_an_account_s_limit_holds_for_all_its_workspaces_together() -> None:
    flows = [Flow("openai/standard/acme", "standard", UUID(int=number), "cloud") for number in range(1, 5)]
    granted = Scheduler().grant({of: times(5) for of in flows}, 20, room=Room(calls={"acme": 4}))
    assert granted == dict.fromkeys(flows, 1)


LINES = st.dictionaries(
    st.builds(
        Flow,
        st.just("k"),
        st.sampled_from(sorted(SHARES)),
        st.builds(UUID, int=st.integers(1, 6)),
        st.sampled_from(["a", "b"]),
        st.integers(-1, 1),
    ),
    st.integers(1, 12).map(times),
    max_size=12,
)


@given(st.lists(st.tuples(LINES, st.integers(1, 12)), max_size=12))
def test_nothing_that_waits_leaves_a_slot_empty_and_nothing_is_granted_that_does_not_wait(
    claims: list[tuple[dict[Flow, list[Head]], int]],
) -> None:
    scheduler = Scheduler()
    for waiting, many in claims:
        granted = scheduler.grant(waiting, many)
        assert granted.total() == min(many, sum(map(len, waiting.values())))
        assert all(number <= len(waiting[of]) for of, number in granted.items())


@given(LINES.filter(bool), st.integers(1, 12))
def test_no_workspace_of_a_lane_is_more_than_one_piece_ahead_of_another_that_waits(
    waiting: dict[Flow, list[Head]], many: int
) -> None:
    granted = Scheduler().grant(waiting, many)
    had, wanted = Counter[tuple[str, UUID]](), Counter[tuple[str, UUID]]()
    for of, line in waiting.items():
        had[of.lane, of.workspace] += granted[of]
        wanted[of.lane, of.workspace] += len(line)
    for (lane, one), many_had in had.items():
        for (other_lane, other), few_had in had.items():
            if lane == other_lane and few_had < wanted[lane, other]:
                assert many_had <= few_had + 1, (one, other)
