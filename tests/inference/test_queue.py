"""The desk: what this process holds, and what it hears of it."""

from typing import Any

from services.inference.domain import Job
from services.inference.queue import Desk, Piece
from shared import ids
from shared.events import CancelRequested
from shared.leases import Leased
from tests.inference.prompts import NOW, WORKSPACE, assembled


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
