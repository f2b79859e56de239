"""One attempt, without servers: what is stored, what is waited for, and what each end becomes."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from services.inference import worker
from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.domain import Cancelled, Ending, Failed, Made, ask_of, job_of, succeeded
from services.inference.previews import LARGEST
from services.inference.progress import Progress, State
from services.inference.queue import Desk, Piece
from services.inference.routing import decide
from services.inference.worker import Maker, Settled
from shared import ids, retry
from shared.blobs import FileBlobs
from shared.errors import Rejected, Unavailable
from shared.events import Attempt, AttemptState, CancelRequested, FailureReason
from shared.leases import Leased, Outcome
from shared.library.documents import Routes
from tests.inference.listening import Heard
from tests.inference.prompts import NOW, WORKSPACE, assembled, routes, source

PICTURE = b"a picture"


class FakeBackend:
    """Answers with what it was given: an image, or a failure."""

    name = "proof"

    def __init__(self, answer: Exception | None = None, *, mask: bytes | None = None) -> None:
        self._answer = answer
        self._mask = mask
        self.works: list[Generation] = []

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        self.works.append(work)
        if cancelled():
            raise GenerationCancelled
        progress(1, 1)
        if self._answer is not None:
            raise self._answer
        return Generated(image=PICTURE, mask=self._mask, width=work.width, height=work.height, manifest={})

    async def close(self) -> None:
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


def lease(table: Routes | None = None, **fields: Any) -> Leased:
    event = assembled()
    decision = decide(
        ask_of(event),
        table=table or routes("proof"),
        today=date(2026, 11, 22),
        providers={"acme": (table or routes("proof")).backends[0].kind},
    )
    job = job_of(event, decision, cause_id=event.event_id)
    given: dict[str, Any] = {
        "work_id": job.asset_id,
        "kind": "proof/standard",
        "workspace": WORKSPACE,
        "epoch": 1,
        "job_id": event.job_id,
    }
    return Leased(**given | {"request_id": event.request_id, "payload": job.model_dump_json()} | fields)


def maker(store: Moody, backend: FakeBackend | None = None, desk: Desk | None = None) -> Maker:
    progress = cast("Progress", Heard())
    backends = dict.fromkeys(["proof", "openai"], backend or FakeBackend())
    return Maker(backends=backends, blobs=store, desk=desk or Desk(), progress=progress)


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


@pytest.mark.parametrize("reason", [FailureReason.BACKEND_UNAVAILABLE, FailureReason.OUT_OF_MEMORY])
async def test_a_death_of_a_process_that_others_shared_costs_none_of_the_tries_and_is_tried_again_alone(
    store: Moody, reason: FailureReason
) -> None:
    died = BackendFailure(reason, "SIGKILL, or no memory", retriable=True, shared=True)
    held, backend = lease(failures=2), FakeBackend(died)
    outcome = await maker(store, backend).run(held)
    assert not outcome.failed and outcome.delay is not None
    assert ending_of(outcome) is None
    assert not backend.works[0].alone
    piece = Piece(Desk().job(held), number=2, earlier=[outcome.record.attempt])
    desk = Desk()
    desk.put({held.work_id: piece})
    await maker(store, backend, desk).run(held)
    assert backend.works[1].alone


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


BILLED = routes("openai", model="m", price="0.04", call={"provider": "acme"})


def doubtful(held: Leased) -> Desk:
    """A desk on which the job lies with an attempt before this one that nobody knows the end of."""
    piece = Piece(Desk().job(held), number=2)
    before = ids.attempt_id(piece.job.event.job_id, 1, 1)
    piece.earlier = [Attempt(attempt_id=before, backend="local", state=AttemptState.UNCERTAIN)]
    desk = Desk()
    desk.put({held.work_id: piece})
    return desk


async def test_a_job_whose_earlier_attempt_is_uncertain_is_not_called_again(store: Moody) -> None:
    held, backend = lease(BILLED), FakeBackend(AssertionError("called"))
    outcome = await maker(store, backend, doubtful(held)).run(held)
    failed = ending_of(outcome)
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.BACKEND_UNAVAILABLE
    assert "calotype uncertain list" in (failed.remedy or "")
    assert outcome.record.attempt is None, "looking at it is no attempt"


@pytest.mark.parametrize("why", ["expired", "its lease was lost 8 times"])
async def test_an_uncertain_attempt_is_told_before_any_other_end(store: Moody, why: str) -> None:
    held = lease(BILLED)
    failed = ending_of(maker(store, desk=doubtful(held)).exhausted(held, why))
    assert isinstance(failed, Failed)
    assert "calotype uncertain list" in (failed.remedy or "")


async def test_a_bug_while_a_provider_is_called_is_uncertain_and_not_repeated(store: Moody) -> None:
    outcome = await maker(store, FakeBackend(RuntimeError("a bug"))).run(lease(BILLED))
    assert outcome.delay is None
    assert outcome.record.attempt.state == "uncertain"


@pytest.mark.parametrize(
    ("billed", "cost"), [(False, Decimal(0)), (True, Decimal("0.04")), (None, None)], ids=["no", "yes", "unknown"]
)
async def test_a_failure_costs_what_was_billed_and_unknown_is_never_nothing(
    store: Moody, *, billed: bool | None, cost: Decimal | None
) -> None:
    failure = BackendFailure(FailureReason.CORRUPT_OUTPUT, "grey", retriable=False, billed=billed)
    outcome = await maker(store, FakeBackend(failure)).run(lease(BILLED))
    assert outcome.record.attempt.cost == cost


async def test_a_billed_image_of_a_route_without_a_price_has_no_known_cost(store: Moody) -> None:
    unpriced = routes("openai", model="m", call={"provider": "acme"})
    failure = BackendFailure(FailureReason.CORRUPT_OUTPUT, "grey", retriable=False, billed=True)
    assert (await maker(store, FakeBackend(failure)).run(lease(unpriced))).record.attempt.cost is None


@pytest.mark.parametrize(("after", "delay"), [(30.0, 30.0), (0.5, 0.5), (None, 4.0)])
async def test_a_provider_s_pause_is_kept_and_does_not_count_against_the_job(
    store: Moody, after: float | None, delay: float
) -> None:
    busy = BackendFailure(
        FailureReason.BACKEND_UNAVAILABLE, "429", retriable=True, billed=False, after=after, busy=True
    )
    outcome = await maker(store, FakeBackend(busy)).run(lease(BILLED, failures=2))
    assert (outcome.delay, outcome.failed) == (delay, False)
    assert outcome.record.word.busy


class Ordered(FakeBackend):
    """A backend whose provider goes on by itself: it is asked by the id of what was ordered."""

    def __init__(self, answer: Exception | None = None) -> None:
        super().__init__(AssertionError("ordered again"))
        self.asked: list[str] = []
        self._then = answer

    async def resume(
        self, work: Generation, provider_request_id: str, *, progress: Callable[[int, int], None]
    ) -> Generated:
        self.asked.append(provider_request_id)
        if self._then is not None:
            raise self._then
        made = Generated(image=PICTURE, width=work.width, height=work.height, manifest={})
        return replace(made, provider_request_id=provider_request_id)


def ordered_before(held: Leased) -> Desk:
    """A desk on which the job lies with what its first worker ordered."""
    piece = Piece(Desk().job(held), number=2)
    piece.resume(1, "p1")
    desk = Desk()
    desk.put({held.work_id: piece})
    return desk


async def test_what_another_worker_ordered_is_asked_for_and_stays_one_attempt(store: Moody) -> None:
    held, backend = lease(BILLED, epoch=2, good_until=time.monotonic()), Ordered()
    outcome = await maker(store, backend, ordered_before(held)).run(held)
    assert isinstance(ending_of(outcome), Made)
    attempt = outcome.record.attempt
    assert backend.asked == ["p1"]
    assert attempt.attempt_id == ids.attempt_id(Desk().job(held).event.job_id, 1, 1)
    assert (attempt.number, attempt.cost, attempt.provider_request_id) == (1, Decimal("0.04"), "p1")


@pytest.mark.parametrize("backend", [FakeBackend(AssertionError("called")), Ordered(RuntimeError("a bug"))])
async def test_what_was_ordered_is_never_free_and_never_ordered_again(store: Moody, backend: FakeBackend) -> None:
    held = lease(BILLED, epoch=2)
    outcome = await maker(store, backend, ordered_before(held)).run(held)
    assert outcome.delay is None
    assert (outcome.record.attempt.state, outcome.record.attempt.provider_request_id) == ("uncertain", "p1")


@pytest.mark.parametrize(
    ("billed", "price_list"), [(True, "routes@1"), (False, None), (None, None)], ids=["listed", "free", "unknown"]
)
async def test_an_attempt_names_the_price_list_its_cost_is_from(
    store: Moody, *, billed: bool | None, price_list: str | None
) -> None:
    failure = BackendFailure(FailureReason.CORRUPT_OUTPUT, "grey", retriable=False, billed=billed)
    failure.latency_seconds = 1.5
    attempt = (await maker(store, FakeBackend(failure)).run(lease(BILLED))).record.attempt
    assert (attempt.price_list, attempt.latency_seconds) == (price_list, 1.5)


@pytest.mark.parametrize(
    ("fields", "cost", "price_list"),
    [
        ({}, Decimal("0.04"), "routes@1"),
        ({"charges": 2}, Decimal("0.08"), "routes@1"),
        ({"cost": Decimal("0.01")}, Decimal("0.01"), None),
    ],
)
def test_an_image_costs_what_its_provider_says_or_the_list(
    fields: dict[str, Any], cost: Decimal, price_list: str | None
) -> None:
    held = lease(BILLED)
    made = Generated(image=PICTURE, width=64, height=64, manifest={}, latency_seconds=2.5, **fields)
    attempt = succeeded(Desk().job(held), made, attempt_id=held.work_id, number=1)
    assert (attempt.cost, attempt.price_list, attempt.latency_seconds) == (cost, price_list, 2.5)


async def test_nothing_is_sent_on_a_lease_that_may_be_another_s(store: Moody) -> None:
    held = lease(BILLED, good_until=time.monotonic())
    outcome = await maker(store, FakeBackend(AssertionError("called"))).run(held)
    assert outcome.delay is not None
    assert outcome.record.attempt.cost == 0
    assert outcome.record.word is None, "nobody was asked, so it says nothing of the account"
    free = lease(routes("openai", model="m", price="0", call={"provider": "acme"}), good_until=time.monotonic())
    assert isinstance(ending_of(await maker(store).run(free)), Made), "what costs nobody anything is simply made"


async def test_a_provider_that_tells_of_an_image_that_it_failed_is_not_away(store: Moody) -> None:
    told = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "its prediction failed", retriable=False, uncertain=True)
    silent = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "no answer", retriable=False, uncertain=True)
    told.answered = True
    words = [(await maker(store, FakeBackend(each)).run(lease(BILLED))).record.word for each in (told, silent)]
    assert [word.away is None for word in words] == [True, False]


async def test_an_image_lost_with_its_process_is_paid_for_and_said_to_be(store: Moody) -> None:
    stored = asyncio.Event()

    async def hang(key: str, data: bytes, *, media_type: str) -> None:
        stored.set()
        await asyncio.Event().wait()

    store.put = hang  # type: ignore[method-assign]
    run = asyncio.create_task(maker(store).run(lease(BILLED)))
    await stored.wait()
    run.cancel()
    outcome = await run
    failed = ending_of(outcome)
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.UPLOAD_FAILED
    assert (outcome.record.attempt.state, outcome.record.attempt.cost) == ("succeeded", Decimal("0.04"))


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


class Shelf:
    """What is to be seen, as the table of thumbnails keeps it."""

    def __init__(self) -> None:
        self.images: dict[UUID, bytes] = {}

    async def keep(self, drawn: Mapping[UUID, tuple[UUID, bytes]], *, gone: Collection[UUID]) -> None:
        self.images |= {job: image for job, (_, image) in drawn.items()}
        for job in gone:
            self.images.pop(job, None)


async def test_a_thumbnail_is_kept_before_kafka_hears_of_it_and_ends_with_its_attempt() -> None:
    producer, shelf = Recording(), Shelf()
    progress = Progress(cast("Any", producer), previews=cast("Any", shelf))
    piece = Desk().take(lease())
    job = piece.job.event.job_id
    progress.show(piece, 3, b"jpeg")
    progress.show(piece, 6, b"later jpeg")
    progress.show(other := Desk().take(lease()), 3, b"x" * (LARGEST + 1))
    progress.tell(State(piece, None, 7, 9))
    progress.tell(State(other, None, 4, 9))
    await progress.flush()
    assert shelf.images == {job: b"later jpeg"}
    told = {record.key: orjson.loads(record.body) for record in producer.records}
    assert told[str(job).encode()]["preview"] == 6
    assert sorted(body["preview"] for body in told.values()) == [0, 6], "what is too large is not shown"
    assert not any(b"jpeg" in record.body for record in producer.records)
    progress.forget(piece)
    await progress.flush()
    assert shelf.images == {}


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


@pytest.mark.parametrize(("tried_for", "is_over"), [(0.0, False), (23 * 3600.0, False), (25 * 3600.0, True)])
async def test_a_job_is_tried_for_a_day_from_its_first_attempt_however_long_it_waited_before(
    store: Moody, tried_for: float, *, is_over: bool
) -> None:
    """Held for two days, by a cap perhaps."""
    patience = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "429", retriable=True, billed=False, busy=True)
    work = lease(routes("openai", model="m", call={"provider": "acme"}), created_at=NOW - timedelta(days=2))
    desk = Desk()
    desk.put({work.work_id: Piece(desk.job(work), number=4 if tried_for else 1, tried_for=tried_for)})
    outcome = await maker(store, FakeBackend(patience), desk).run(work)
    assert (ending_of(outcome) is not None) is is_over
    assert (outcome.name == "again", outcome.failed) == (not is_over, False)


async def test_what_may_go_nowhere_any_more_ends_without_an_attempt_and_nobody_is_called(store: Moody) -> None:
    work, desk, backend = lease(), Desk(), FakeBackend()
    barred = Failed(reason=FailureReason.UNROUTABLE, detail="it is not private")
    desk.put({work.work_id: Piece(desk.job(work), barred=barred)})
    outcome = await maker(store, backend, desk).run(work)
    assert ending_of(outcome) == barred
    assert isinstance(outcome.record, Settled) and outcome.record.attempt is None
    assert backend.works == []


@pytest.mark.parametrize(("still_true", "called"), [(3600.0, 1), (-1.0, 0)])
async def test_a_provider_is_not_called_by_a_table_that_is_long_ago_for_the_store_was_away(
    store: Moody, monkeypatch: pytest.MonkeyPatch, still_true: float, called: int
) -> None:
    monkeypatch.setattr(worker, "STILL_TRUE", still_true)
    work = lease(routes("openai", model="m", price="0.04", call={"provider": "acme"}))
    desk, backend, photo = Desk(), FakeBackend(), source("reference", PICTURE)
    await store.put(photo.key, PICTURE, media_type="image/png")
    job = desk.job(work)
    job = job.model_copy(update={"event": job.event.model_copy(update={"sources": [photo]})})
    desk.put({work.work_id: Piece(job)})
    outcome = await maker(store, backend, desk).run(work)
    assert len(backend.works) == called
    if not called:
        assert (outcome.name, outcome.failed) == ("again", False)
        assert isinstance(outcome.record, Settled) and outcome.record.word is None
        attempt = outcome.record.attempt
        assert attempt is not None and (attempt.state, attempt.cost) == (AttemptState.FAILED, Decimal(0))
