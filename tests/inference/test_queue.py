"""Lanes: each gets its share while all are wanted, and the whole while it is alone."""

from collections import Counter
from typing import Any

from services.inference.domain import Job
from services.inference.queue import SHARES, Desk, Piece, Shares
from shared import ids
from shared.events import CancelRequested
from shared.leases import Leased
from tests.inference.prompts import NOW, WORKSPACE, assembled


def served(shares: Shares, waiting: dict[str, int], *, rounds: int, many: int = 1) -> list[str]:
    """What a worker claims, round by round, from so many waiting rows per lane: the order of the claim's query."""
    order: list[str] = []
    for _ in range(rounds):
        tags = shares.tags()
        candidates = [
            (tags[lane] + place * shares.strides[lane], lane)
            for lane in waiting
            for place in range(min(many, waiting[lane]))
        ]
        taken = sorted(candidates)[:many]
        shares.took([(lane, start) for start, lane in taken])
        for _, lane in taken:
            waiting[lane] -= 1
            order.append(lane)
    return order


def test_lanes_that_are_all_wanted_get_their_shares_one_claim_at_a_time() -> None:
    order = served(Shares(SHARES), {"dedicated": 1000, "standard": 1000, "bulk": 1000}, rounds=100)
    assert Counter(order) == {"dedicated": 60, "standard": 30, "bulk": 10}


def test_shares_hold_within_any_ten_claims() -> None:
    order = served(Shares(SHARES), {"dedicated": 1000, "standard": 1000, "bulk": 1000}, rounds=200)
    for start in range(190):
        window = Counter(order[start : start + 10])
        assert window["dedicated"] >= 5
        assert window["standard"] >= 2


def test_shares_hold_when_many_are_claimed_together() -> None:
    order = served(Shares(SHARES), {"dedicated": 1000, "standard": 1000, "bulk": 1000}, rounds=10, many=20)
    assert Counter(order) == {"dedicated": 120, "standard": 60, "bulk": 20}


def test_an_unused_share_goes_to_the_others() -> None:
    assert served(Shares(SHARES), {"dedicated": 0, "standard": 0, "bulk": 50}, rounds=50) == ["bulk"] * 50
    order = served(Shares(SHARES), {"dedicated": 0, "standard": 300, "bulk": 300}, rounds=100)
    assert Counter(order) == {"standard": 75, "bulk": 25}


def test_a_lane_that_was_idle_is_served_at_once_and_has_saved_up_nothing() -> None:
    shares = Shares(SHARES)
    served(shares, {"dedicated": 0, "standard": 0, "bulk": 500}, rounds=500)
    order = served(shares, {"dedicated": 200, "standard": 200, "bulk": 200}, rounds=100)
    assert "dedicated" in order[:2]
    assert Counter(order)["bulk"] >= 9
    assert Counter(order)["dedicated"] <= 61


def piece_of(**fields: Any) -> tuple[Leased, Piece]:
    event = assembled(**fields)
    job = Job(event=event, asset_id=ids.asset_id(event.job_id, event.run), cause_id=event.event_id)
    lease = Leased(
        work_id=job.asset_id, kind="null/standard", workspace=WORKSPACE, payload=job.model_dump_json(), epoch=1
    )
    return lease, Piece(job)


def cancel_of(piece: Piece, *, whole_request: bool) -> CancelRequested:
    event = piece.job.event
    job = None if whole_request else event.job_id
    return CancelRequested.of(
        cause_id="c", occurred_at=NOW, workspace=WORKSPACE, request_id=event.request_id, job_id=job, by="mara"
    )


def test_a_cancel_reaches_the_job_it_names_and_no_other() -> None:
    request = assembled().request_id
    desk, (first, one), (second, two) = Desk(), piece_of(request=request), piece_of(request=request, variant=2)
    desk.put({first.work_id: one, second.work_id: two})
    desk.hear([cancel_of(one, whole_request=False)])
    assert (one.cancelled_by, two.cancelled_by) == ("mara", None)
    desk.hear([cancel_of(one, whole_request=True)])
    assert two.cancelled_by == "mara"


def test_a_piece_stays_on_the_desk_as_long_as_it_is_worked_on() -> None:
    desk, (lease, piece) = Desk(), piece_of()
    desk.put({lease.work_id: piece})
    with desk.at_work(lease) as taken:
        assert taken is piece
        desk.hear([cancel_of(piece, whole_request=True)])
    assert piece.cancelled_by == "mara"
    assert desk.take(lease) is not piece


def test_a_piece_nobody_put_there_is_read_from_its_row() -> None:
    lease, piece = piece_of()
    lease.epoch = 4
    found = Desk().take(lease)
    assert found.job == piece.job
    assert found.number == 4
