"""One replay, without servers: what its ends are, and what is tried again."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from services.inference import replays
from services.inference.accounts import away_delay
from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.domain import manifest_of
from services.inference.replaying import Order, order_of, read, work_kind
from services.inference.replays import Course, Ended, Later, Replayer, exhausted, manifest_key
from shared.blobs import FileBlobs, blob_key
from shared.comparing import Verdict
from shared.events import FailureReason
from shared.leases import Leased, Outcome
from shared.library.documents import Call
from tests.inference.prompts import WORKSPACE, routes
from tests.inference.test_replaying import job

PICTURE = b"a picture"
ORDER = Order(replay_id=UUID(int=1), asset_id=UUID(int=2), manifest_sha256="5a" * 32, kind="proof")


class Backend:
    """Answers with a picture, or fails as it was told."""

    name = "proof"

    def __init__(self, failure: BackendFailure | None = None) -> None:
        self.failure = failure
        self.works: list[Generation] = []

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        self.works.append(work)
        progress(1, 1)
        if self.failure is not None:
            raise self.failure
        return Generated(image=PICTURE, width=64, height=64, manifest={"backend": "proof", "versions": {"numpy": "2"}})

    async def close(self) -> None:
        pass


class Stopped(Backend):
    """Works until it is told to stop, or makes its picture all the same."""

    def __init__(self, *, obeys: bool, billed: bool | None = None) -> None:
        super().__init__()
        self.obeys = obeys
        self.billed = billed

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        while not cancelled():
            await asyncio.sleep(0)
        if self.obeys:
            raise GenerationCancelled(billed=self.billed)
        return await super().generate(work, progress=progress, cancelled=cancelled)


class WithoutADatabase(Replayer):
    """Notes nothing: nobody else has its work, and nobody cancels it."""

    patient = True

    async def _begin(self, lease: Leased, order: Order) -> Outcome | str | None:
        return None

    async def _is_patient(self, order: Order) -> bool:
        return self.patient


class Unwanted(WithoutADatabase):
    """Of a replay that somebody cancels while it is made."""

    async def _listen(self, replay: UUID, course: Course) -> None:
        course.cancelled_by = "rita"


async def replay(
    folder: Path,
    backend: Backend,
    *,
    by: type[Replayer] = WithoutADatabase,
    stored: bool = True,
    readable: bool = True,
    first: bytes = PICTURE,
    price: str | None = None,
    provider: str | None = None,
    **lease: Any,
) -> Outcome:
    """Of an image whose bytes were `first`; `stored`: they are still there. `provider`: called for it, with a bill."""
    blobs = FileBlobs(folder, public_url="http://here", secret="s" * 32)
    made = Generated(image=first, width=64, height=64, manifest={"backend": "proof", "versions": {"numpy": "1"}})
    of = job("proof", model=None)
    sha256 = hashlib.sha256(first).hexdigest()
    manifest = manifest_of(of, made, sha256=sha256)
    named = hashlib.sha256(manifest).hexdigest()
    if readable:
        await blobs.put(manifest_key(WORKSPACE, of.asset_id, named), manifest, media_type="application/json")
    if stored:
        await blobs.put(blob_key(WORKSPACE, of.asset_id, sha256, "png"), first, media_type="image/png")
    priced = routes("proof", price=price).backends[0]
    order = order_of(read(manifest), priced, table="", asset=of.asset_id, sha256=named, number=1)
    if provider is not None:
        order = order.model_copy(update={"kind": "openai", "call": Call(provider=provider)})
    leased = Leased(
        work_id=order.replay_id,
        kind=work_kind(order, priced),
        workspace=WORKSPACE,
        payload=order.model_dump_json(exclude_none=True),
        **{"epoch": 1} | lease,
    )
    # Steps are not written down without a database, and nobody misses them.
    backends = {"proof": backend, "openai": backend}
    return await by(backends=backends, blobs=blobs, pool=cast("Any", None)).run(leased)


def ended(outcome: Outcome) -> Ended:
    assert isinstance(outcome.record, Ended) and outcome.delay is None
    return outcome.record


async def test_the_same_bytes_are_exact_whatever_changed_and_that_is_said_all_the_same(tmp_path: Path) -> None:
    found = ended(await replay(tmp_path, Backend()))
    assert (found.verdict, [change.field for change in found.changed]) == (Verdict.EXACT, ["versions.numpy"])


async def test_an_original_that_is_gone_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    assert ended(await replay(tmp_path, Backend(), stored=False)).verdict is Verdict.EXACT
    other = ended(await replay(tmp_path, Backend(), stored=False, first=b"another"))
    assert (other.verdict, other.measure) == (Verdict.DRIFTED, None)
    assert other.detail == "the original's bytes are not stored any more"


GONE = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "gone", retriable=True)
SHARED = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "died", retriable=True, shared=True)
REFUSED = BackendFailure(FailureReason.CONTENT_FILTERED, "withheld", retriable=False)


async def test_what_may_pass_is_tried_again_and_what_others_may_have_caused_costs_no_try(tmp_path: Path) -> None:
    again = await replay(tmp_path, Backend(GONE), failures=1)
    assert (again.name, again.failed, again.delay) == ("again", True, 2.0)
    again = await replay(tmp_path, Backend(SHARED), failures=2)
    assert (again.name, again.failed) == ("again", False)
    assert isinstance(again.record, Later) and not again.record.is_free, "what it cost is not known"


@pytest.mark.parametrize(("failure", "failures"), [(GONE, 2), (REFUSED, 0)])
async def test_the_third_failure_is_the_end_and_so_is_one_that_cannot_be_mended(
    tmp_path: Path, failure: BackendFailure, failures: int
) -> None:
    found = ended(await replay(tmp_path, Backend(failure), failures=failures))
    assert (found.verdict, found.reason, found.detail) == (None, failure.reason, failure.detail)


AWAY_FOR_GOOD = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "no such key", retriable=False, billed=False)
NOT_BEGUN = BackendFailure(FailureReason.MISSING_SOURCE, "gone", retriable=False, billed=False)


@pytest.mark.parametrize(
    ("backend", "price", "cost"),
    [
        (Backend(REFUSED), None, None),
        (Backend(REFUSED), "0.05", None),
        (Backend(REFUSED), "0", Decimal(0)),
        (Backend(NOT_BEGUN), "0.05", Decimal(0)),
        (Stopped(obeys=True), "0.05", None),
        (Stopped(obeys=True, billed=False), "0.05", Decimal(0)),
        (Stopped(obeys=False), "0.05", Decimal("0.05")),
    ],
)
async def test_what_began_on_a_machine_of_ours_and_was_not_finished_cost_nobody_knows_what(
    tmp_path: Path, backend: Backend, price: str | None, cost: Decimal | None
) -> None:
    by = Unwanted if isinstance(backend, Stopped) else WithoutADatabase
    assert ended(await replay(tmp_path, backend, price=price, by=by)).cost == cost


@pytest.mark.parametrize(("price", "cost"), [(None, None), ("0.05", None), ("0", Decimal(0))])
def test_what_was_lost_too_often_cost_nobody_knows_what(price: str | None, cost: Decimal | None) -> None:
    order = ORDER.model_copy(update={"price": price and Decimal(price)})
    lost = Leased(
        work_id=order.replay_id,
        kind="replay.proof/standard",
        workspace=WORKSPACE,
        payload=order.model_dump_json(),
        epoch=9,
        losses=8,
    )
    assert ended(exhausted(lost, "its lease was lost 8 times")).cost == cost


async def test_what_cannot_be_compared_is_not_made_again_and_its_cost_is_booked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(first: bytes, second: bytes) -> None:
        raise RuntimeError("it ended with -9")

    monkeypatch.setattr(replays, "compare", dies)
    found = ended(await replay(tmp_path, Backend(), first=b"another", price="0.04", provider="acme"))
    assert (found.verdict, found.measure, found.cost) == (Verdict.DRIFTED, None, Decimal("0.04"))
    assert "could not be compared" in (found.detail or "") and "-9" in (found.detail or "")


async def test_a_worker_that_is_told_to_end_while_it_compares_books_what_was_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing = asyncio.Event()

    async def forever(first: bytes, second: bytes) -> None:
        comparing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(replays, "compare", forever)
    for provider in (None, "acme"):
        comparing.clear()
        again = replay(tmp_path, Backend(), first=b"another", price="0.04", provider=provider)
        running = asyncio.create_task(again)
        await comparing.wait()
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled() == (provider is None), "what nobody bills is made again by the next worker"
    assert ended(running.result()).cost == Decimal("0.04")


class TakenOver(WithoutADatabase):
    """Of a replay whose worker died after the provider had named its id."""

    async def _begin(self, lease: Leased, order: Order) -> Outcome | str | None:
        return "p-1"


class Resumed(Backend):
    async def resume(
        self, work: Generation, provider_request_id: str, *, progress: Callable[[int, int], None]
    ) -> Generated:
        self.resumed = provider_request_id
        made = await super().generate(work, progress=progress, cancelled=lambda: False)
        return dataclasses.replace(made, provider_request_id=provider_request_id)

    async def generate(self, *_: Any, **__: Any) -> Generated:
        raise AssertionError("it was ordered before")


async def test_a_call_that_can_be_asked_about_is_not_made_anew(tmp_path: Path) -> None:
    backend = Resumed()
    found = ended(await replay(tmp_path, backend, by=TakenOver, provider="cog", price="0.04", epoch=2))
    assert (backend.resumed, found.provider_request_id) == ("p-1", "p-1")
    assert (found.verdict, found.cost, found.is_uncertain) == (Verdict.EXACT, Decimal("0.04"), False)


async def test_what_it_is_made_from_may_be_gone_when_somebody_was_called_already(tmp_path: Path) -> None:
    """Whether anybody was stands in its row, which is asked as it ends."""
    found = ended(await replay(tmp_path, Backend(), readable=False, provider="acme", price="0.04", epoch=2))
    assert (found.reason, found.cost, found.is_uncertain) == (FailureReason.INVALID_REQUEST, None, True)


SILENT = BackendFailure(FailureReason.MODEL_TIMEOUT, "silence", retriable=False, uncertain=True)


@pytest.mark.parametrize(
    ("backend", "provider", "is_uncertain"),
    [
        (Backend(SILENT), "acme", True),
        (Backend(REFUSED), None, False),
        (Backend(AWAY_FOR_GOOD), "acme", False),
        (Stopped(obeys=True), "acme", True),
        (Stopped(obeys=True, billed=False), "acme", False),
    ],
)
async def test_what_may_have_been_billed_is_for_somebody_to_find_out(
    tmp_path: Path, backend: Backend, provider: str | None, *, is_uncertain: bool
) -> None:
    by = Unwanted if isinstance(backend, Stopped) else WithoutADatabase
    found = ended(await replay(tmp_path, backend, by=by, provider=provider, price="0.04"))
    assert (found.is_uncertain, found.cost is None) == (is_uncertain, is_uncertain or provider is None)


AWAY = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "503", retriable=True, billed=False)
BUSY = BackendFailure(FailureReason.BACKEND_UNAVAILABLE, "429", retriable=True, billed=False, busy=True, after=7.0)


@pytest.mark.parametrize(("failure", "delay"), [(AWAY, away_delay(4)), (BUSY, 7.0)])
async def test_a_provider_that_is_away_is_waited_for_and_that_is_no_failure(
    tmp_path: Path, failure: BackendFailure, delay: float
) -> None:
    again = await replay(tmp_path, Backend(failure), provider="acme", price="0.04", failures=2, epoch=4)
    assert (again.name, again.failed, again.delay) == ("again", False, delay)
    assert isinstance(again.record, Later) and again.record.is_free
    assert again.record.word is not None and again.record.word.away is not None, "it is said of the account"


class Impatient(WithoutADatabase):
    patient = False


async def test_a_provider_that_is_away_for_too_long_ends_it_with_what_it_said_last(tmp_path: Path) -> None:
    found = ended(await replay(tmp_path, Backend(AWAY), by=Impatient, provider="acme", price="0.04"))
    assert (found.reason, found.detail, found.cost) == (FailureReason.BACKEND_UNAVAILABLE, "503", Decimal(0))


async def test_after_a_first_try_it_is_made_with_nothing_beside_it(tmp_path: Path) -> None:
    backend = Backend()
    await replay(tmp_path, backend)
    await replay(tmp_path, backend, epoch=2)
    assert [work.alone for work in backend.works] == [False, True]


@pytest.mark.parametrize("obeys", [True, False])
async def test_what_is_cancelled_while_it_is_made_stops_or_is_discarded_and_has_no_verdict(
    tmp_path: Path, *, obeys: bool
) -> None:
    found = ended(await replay(tmp_path, Stopped(obeys=obeys), by=Unwanted))
    assert (found.state, found.verdict, found.measure, found.detail) == ("cancelled", None, None, "cancelled by rita")


def test_an_order_survives_its_row() -> None:
    assert Order.model_validate_json(ORDER.model_dump_json(exclude_none=True)) == ORDER
