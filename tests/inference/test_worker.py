"""One attempt, without servers: what is stored, what is waited for, and what each end becomes."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any, cast

import pytest

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.domain import Cancelled, Ending, Failed, Made, ask_of, job_of
from services.inference.progress import Progress, State
from services.inference.queue import Desk, Piece
from services.inference.routing import decide
from services.inference.worker import Maker, Settled
from shared import retry
from shared.blobs import FileBlobs
from shared.errors import Rejected, Unavailable
from shared.events import CancelRequested, FailureReason
from shared.leases import Leased, Outcome
from tests.inference.prompts import NOW, WORKSPACE, assembled, routes

PICTURE = b"a picture"


class FakeBackend:
    """Answers with what it was given: an image, or a failure."""

    name = "proof"

    def __init__(self, answer: Exception | None = None, *, mask: bytes | None = None) -> None:
        self._answer = answer
        self._mask = mask

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        if cancelled():
            raise GenerationCancelled
        progress(1, 1)
        if self._answer is not None:
            raise self._answer
        return Generated(image=PICTURE, mask=self._mask, width=work.width, height=work.height, manifest={})

    async def close(self) -> None:
        pass


class Silent:
    """A Progress that only remembers."""

    def __init__(self) -> None:
        self.told: list[State] = []

    def tell(self, state: State) -> None:
        self.told.append(state)

    def forget(self, piece: Piece) -> None:
        pass


class Moody(FileBlobs):
    """A store that raises what it was given, then works."""

    moods: list[Exception]

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        if self.moods:
            raise self.moods.pop(0)
        await super().put(key, data, media_type=media_type)


@pytest.fixture
def store(tmp_path: Any) -> Moody:
    store = Moody(tmp_path, public_url="http://x", secret="s")
    store.moods = []
    return store


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.Backoff, "next", lambda _: 0.0)


def lease(**fields: Any) -> Leased:
    event = assembled()
    job = job_of(event, decide(ask_of(event), table=routes("proof"), today=date(2026, 11, 22)), cause_id=event.event_id)
    given: dict[str, Any] = {
        "work_id": job.asset_id,
        "kind": "proof/standard",
        "workspace": WORKSPACE,
        "epoch": 1,
        "job_id": event.job_id,
    }
    return Leased(**given | {"request_id": event.request_id, "payload": job.model_dump_json()} | fields)


def maker(store: Moody, backend: FakeBackend | None = None, desk: Desk | None = None) -> Maker:
    progress = cast("Progress", Silent())
    return Maker(backends={"proof": backend or FakeBackend()}, blobs=store, desk=desk or Desk(), progress=progress)


def ending_of(outcome: Outcome) -> Ending | None:
    assert isinstance(outcome.record, Settled)
    return outcome.record.ending


async def test_image_mask_and_manifest_are_stored_before_the_work_is_settled(store: Moody) -> None:
    made = ending_of(await maker(store, FakeBackend(mask=b"a mask")).run(lease()))
    assert isinstance(made, Made)
    assert made.mask is not None
    assert await store.get(made.original.key) == PICTURE
    assert await store.get(made.mask.key) == b"a mask"
    assert b'"prompt":"a red mug' in await store.get(made.manifest.key)


async def test_an_image_waits_for_a_store_that_is_away(store: Moody) -> None:
    store.moods = [Unavailable("blobs"), Unavailable("blobs")]
    assert isinstance(ending_of(await maker(store).run(lease())), Made)
    assert store.moods == []


async def test_a_store_that_refuses_a_file_fails_the_job_and_the_attempt_is_still_paid(store: Moody) -> None:
    store.moods = [Rejected("blob_type", "not this")]
    outcome = await maker(store).run(lease())
    failed = ending_of(outcome)
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.UPLOAD_FAILED
    assert outcome.record.attempt.state == "succeeded"


async def test_a_lease_lost_while_the_store_is_away_gives_up_quietly(store: Moody) -> None:
    held = lease()

    async def lose(key: str, data: bytes, *, media_type: str) -> None:
        held.lost = True
        raise Unavailable("blobs")

    store.put = lose  # type: ignore[method-assign]
    assert ending_of(await maker(store).run(held)) == Cancelled(by="another worker")


async def test_a_cancelled_job_is_not_begun(store: Moody) -> None:
    held, desk = lease(), Desk()
    piece = desk.take(held)
    desk.put({held.work_id: piece})
    event = piece.job.event
    desk.hear(
        [CancelRequested.of(cause_id="c", occurred_at=NOW, workspace=WORKSPACE, request_id=event.request_id, by="mara")]
    )
    outcome = await maker(store, desk=desk).run(held)
    assert ending_of(outcome) == Cancelled(by="mara")
    assert outcome.record.attempt.state == "cancelled"


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_failure_that_may_pass_is_tried_again_later_each_time(store: Moody, failures: int) -> None:
    gone = FakeBackend(BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "gone", retriable=True))
    outcome = await maker(store, gone).run(lease(failures=failures))
    assert outcome.failed
    assert outcome.delay == 2.0**failures
    assert ending_of(outcome) is None
    assert outcome.record.attempt.reason is FailureReason.BACKEND_UNAVAILABLE


async def test_a_bug_in_a_backend_is_a_failure_of_its_job_and_not_of_the_worker(store: Moody) -> None:
    outcome = await maker(store, FakeBackend(RuntimeError("a bug"))).run(lease(failures=2))
    failed = ending_of(outcome)
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.detail) == (FailureReason.INTERNAL, "RuntimeError('a bug')")


@pytest.mark.parametrize(
    ("why", "reason"),
    [("expired", FailureReason.EXPIRED), ("its lease was lost 8 times", FailureReason.INTERNAL)],
)
def test_work_that_ran_out_ends_with_the_reason(store: Moody, why: str, reason: FailureReason) -> None:
    failed = ending_of(maker(store).exhausted(lease(), why))
    assert isinstance(failed, Failed)
    assert failed.reason is reason


class Recording:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def deliver(self, records: Any) -> dict[int, BaseException]:
        self.records.extend(records)
        return {}


async def test_only_the_latest_step_of_a_job_is_told() -> None:
    producer = Recording()
    progress = Progress(cast("Any", producer))
    piece, other = Desk().take(lease()), Desk().take(lease())
    for step in range(1, 6):
        progress.tell(State(piece, None, step, 5))
    progress.tell(State(other, None, 1, 9))
    progress.tell(State(gone := Desk().take(lease()), None, 2, 9))
    progress.forget(gone)
    await progress.flush()
    steps = {record.key: record.body for record in producer.records}
    assert len(producer.records) == len(steps) == 2
    assert b'"step":5' in steps[str(piece.job.event.job_id).encode()]
    await progress.flush()
    assert len(producer.records) == 2, "what was told is not told again"


async def test_progress_is_sent_while_nothing_else_happens() -> None:
    producer = Recording()
    progress = Progress(cast("Any", producer))
    await progress.start()
    progress.tell(State(Desk().take(lease()), None, 1, 5))
    async with asyncio.timeout(10):
        while not producer.records:
            await asyncio.sleep(0.01)
    await progress.stop()
    assert b'"step":1' in producer.records[0].body
