"""Pictures that a job starts from: which backends may have them, and that they are read whole or the job ends."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, cast
from uuid import uuid4

import pytest

from services.inference.backends import Generated, Generation
from services.inference.domain import Cancelled, Ending, Failed, Made, ask_of, ended, job_of
from services.inference.progress import Progress
from services.inference.queue import Desk
from services.inference.routing import Decision, Unroutable, decide
from services.inference.worker import Maker, Settled
from shared import retry
from shared.blobs import FileBlobs
from shared.errors import Unavailable
from shared.events import (
    AttemptState,
    FailureReason,
    File,
    ImageGenerated,
    PromptAssembled,
    SourceRole,
    SourceUse,
    WaitingOn,
)
from shared.leases import Leased, Outcome
from tests.inference.listening import Heard
from tests.inference.prompts import NOW, PHOTO, WORKSPACE, assembled, routes, source

TODAY = date(2026, 11, 22)
ABLE = ["text-to-image", "image-to-image", "inpainting"]
EDITOR: dict[str, Any] = {"model": "m", "price": "0.04", "call": {"provider": "acme"}}


MASK = source("mask", b"a mask")


def route(event: PromptAssembled, kind: str = "openai", **backend: Any) -> Decision | Unroutable:
    table = routes(kind, **(EDITOR if kind == "openai" else {}) | backend)
    return decide(ask_of(event), table=table, today=TODAY, providers={"acme": "openai"})


@pytest.mark.parametrize(
    ("uses", "needed"),
    [
        ([], {"text-to-image"}),
        ([PHOTO], {"image-to-image"}),
        ([PHOTO, MASK], {"image-to-image", "inpainting"}),
    ],
)
def test_a_job_goes_where_all_can_be_done_that_its_sources_need(uses: list[SourceUse], needed: set[str]) -> None:
    event = assembled(sources=uses)
    assert ask_of(event).capabilities == needed
    assert isinstance(route(event, capabilities=ABLE), Decision)
    for lacking in needed:
        found = route(event, capabilities=[able for able in ABLE if able != lacking])
        assert isinstance(found, Unroutable) and f"it cannot do {lacking}" in found.missing


def test_what_a_role_of_a_newer_release_needs_no_backend_can_do() -> None:
    event = assembled(sources=[PHOTO.model_copy(update={"role": SourceRole("depth")})])
    assert isinstance(route(event, capabilities=[*ABLE, "depth"]), Unroutable)


@pytest.mark.parametrize("kind", ["proof", "null"])
def test_a_kind_that_starts_from_words_alone_is_refused_whatever_its_table_says(kind: str) -> None:
    found = route(assembled(sources=[PHOTO]), kind, model="m", capabilities=ABLE)
    assert isinstance(found, Unroutable) and "cannot do image-to-image" in found.missing
    assert isinstance(route(assembled(), kind, model="m", capabilities=ABLE), Decision)


class Editor:
    """A backend that remembers what it was given."""

    name = "openai"

    def __init__(self) -> None:
        self.given: list[Generation] = []

    async def generate(
        self, work: Generation, *, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> Generated:
        self.given.append(work)
        return Generated(image=b"a picture", width=96, height=64, manifest={})

    async def resume(self, work: Generation, provider_request_id: str, *, progress: Callable[[int, int], None]) -> Any:
        return await self.generate(work, progress=progress, cancelled=lambda: False)

    async def close(self) -> None:
        pass


class Bench:
    """One attempt at one job with these sources, without servers."""

    def __init__(self, folder: Any, *uses: SourceUse, **fields: Any) -> None:
        self.blobs = FileBlobs(folder, public_url="http://x", secret="s")
        self.editor, self.progress, self.desk = Editor(), Heard(), Desk()
        event = assembled(sources=list(uses), strength=0.4)
        decision = route(event, capabilities=ABLE)
        assert isinstance(decision, Decision)
        self.job = job_of(event, decision, cause_id=event.event_id)
        self.lease = Leased(
            work_id=self.job.asset_id,
            kind="openai/standard",
            workspace=WORKSPACE,
            epoch=1,
            job_id=event.job_id,
            request_id=event.request_id,
            payload=self.job.model_dump_json(),
            **fields,
        )

    async def put(self, *data: bytes) -> None:
        for each in data:
            await self.blobs.put(source("reference", each).key, each, media_type="image/png")

    async def run(self) -> Outcome:
        progress = cast("Progress", self.progress)
        maker = Maker(backends={"openai": self.editor}, blobs=self.blobs, desk=self.desk, progress=progress)
        return await maker.run(self.lease)


def ending_of(outcome: Outcome) -> Ending | None:
    assert isinstance(outcome.record, Settled)
    return outcome.record.ending


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.Backoff, "next", lambda _: 0.0)


async def test_a_backend_is_given_the_bytes_and_the_manifest_names_their_hashes(tmp_path: Any) -> None:
    bench = Bench(tmp_path, PHOTO, MASK)
    await bench.put(b"a photo", b"a mask")
    made = ending_of(await bench.run())
    assert isinstance(made, Made)
    (work,) = bench.editor.given
    assert [(given.role, given.data) for given in work.sources] == [("reference", b"a photo"), ("mask", b"a mask")]
    assert all((given.media_type, given.width, given.height) == ("image/png", 96, 64) for given in work.sources)
    assert work.strength == 0.4
    manifest = json.loads(await bench.blobs.get(made.manifest.key))
    assert [(named["role"], named["sha256"]) for named in manifest["sources"]] == [
        ("reference", PHOTO.sha256),
        ("mask", MASK.sha256),
    ]
    assert manifest["sources"][0]["source_id"] == str(PHOTO.source_id) and manifest["strength"] == 0.4


def test_an_image_made_of_a_picture_says_that_it_is_a_composite(tmp_path: Any) -> None:
    for uses, told in (([], "trainedAlgorithmicMedia"), ([PHOTO], "compositeWithTrainedAlgorithmicMedia")):
        job = Bench(tmp_path, *uses).job
        sha256 = "5a" * 32
        file = File(name="original.png", media_type="image/png", bytes=1, sha256=sha256, key="k")
        fact = ended(job, Made(original=file, manifest=file), attempts=[], at=NOW)
        assert isinstance(fact, ImageGenerated) and fact.source_type.value == told


async def test_a_job_whose_source_is_gone_ends_missing_source_and_nobody_is_called(tmp_path: Any) -> None:
    bench = Bench(tmp_path, PHOTO, MASK)
    await bench.put(b"a photo")
    outcome = await bench.run()
    failed = ending_of(outcome)
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.MISSING_SOURCE
    assert str(MASK.source_id) in failed.detail and failed.remedy
    assert not outcome.failed and not bench.editor.given
    attempt = outcome.record.attempt
    assert (attempt.state, attempt.cost) == (AttemptState.FAILED, Decimal(0))
    assert outcome.record.word is None, "a provider that nobody asked has not answered"


async def test_a_source_that_was_damaged_is_missing_too(tmp_path: Any) -> None:
    bench = Bench(tmp_path, PHOTO)
    await bench.put(b"a photo")
    bench.blobs.path(PHOTO.key).write_bytes(b"something else")
    failed = ending_of(await bench.run())
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.MISSING_SOURCE and "hash" in failed.detail
    assert not bench.editor.given


async def test_nothing_of_another_workspace_is_read_whatever_key_an_event_names(tmp_path: Any) -> None:
    theirs = source("reference", b"a photo", workspace=uuid4())
    bench = Bench(tmp_path, theirs)
    await bench.blobs.put(theirs.key, b"a photo", media_type="image/png")
    failed = ending_of(await bench.run())
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.MISSING_SOURCE and not bench.editor.given


async def test_a_store_that_is_away_is_waited_for_and_costs_no_try(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, PHOTO)
    await bench.put(b"a photo")
    away, whole = [Unavailable("blobs"), Unavailable("blobs")], bench.blobs.get

    async def moody(key: str) -> bytes:
        if away:
            raise away.pop()
        return await whole(key)

    monkeypatch.setattr(bench.blobs, "get", moody)
    assert isinstance(ending_of(await bench.run()), Made)
    assert [state.waiting_on for state in bench.progress.told] == [WaitingOn.RETRY] * 2


async def test_what_is_lost_while_the_store_is_away_is_given_up_at_no_cost(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, PHOTO)

    async def lose(key: str) -> bytes:
        bench.lease.lost = True
        raise Unavailable("blobs")

    monkeypatch.setattr(bench.blobs, "get", lose)
    outcome = await bench.run()
    assert ending_of(outcome) == Cancelled(by="another worker")
    assert outcome.record.attempt.cost == 0 and not bench.editor.given
    assert outcome.record.word is None


async def test_nobody_is_called_whose_lease_ran_out_while_the_pictures_were_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, PHOTO)
    await bench.put(b"a photo")
    whole = bench.blobs.get

    async def slow(key: str) -> bytes:
        bench.lease.good_until = 0.0
        return await whole(key)

    monkeypatch.setattr(bench.blobs, "get", slow)
    outcome = await bench.run()
    assert ending_of(outcome) is None and not bench.editor.given
    assert outcome.record.attempt.cost == 0


async def test_who_asks_for_a_call_that_is_under_way_needs_no_pictures(tmp_path: Any) -> None:
    bench = Bench(tmp_path, PHOTO)
    piece = replace(bench.desk.take(bench.lease), resumes="pred-1")
    bench.desk.put({bench.lease.work_id: piece})
    assert isinstance(ending_of(await bench.run()), Made)
    assert bench.editor.given[0].sources == ()
