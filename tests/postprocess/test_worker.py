"""The worker's rules with a store in a folder and children that are told what to do; real ones are in the live tier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.postprocess.children import ChildDied, Children, OutOfMemory, PictureRefused
from services.postprocess.development import Development
from services.postprocess.domain import Failed, Processed
from services.postprocess.handler import work_anew, work_of
from services.postprocess.worker import Finished, Processor, exhausted
from shared.blobs import FileBlobs, library_key
from shared.events import FailureReason, ImageGenerated, JobProgressed, Stage
from shared.leases import Leased, NewWork, Outcome
from shared.library.documents import Document
from shared.library.pinned import Library
from tests.postprocess.development import developed, made
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.images import RUBRIC, WORKSPACE, asked_anew, generated

WEB = recipe(rendition("960"))


class ScriptedChildren(Children):
    """Answers with what it was given, or raises it."""

    def __init__(self, answer: Development | Exception) -> None:
        super().__init__(count=1)
        self.answer = answer
        self.asked: list[tuple[bytes, Mapping[str, Any]]] = []

    async def develop(self, original: bytes, order: Mapping[str, Any], inputs: Sequence[bytes] = ()) -> Development:
        self.asked.append((original, order))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Bench:
    """One worker's surroundings."""

    def __init__(self, folder: Path, answer: Development | Exception) -> None:
        self.blobs = FileBlobs(folder, public_url="http://localhost", secret="s")
        self.children = ScriptedChildren(answer)
        self.told: list[JobProgressed] = []
        self.processor = Processor(
            blobs=self.blobs,
            library=Library(self.blobs),
            children=self.children,
            progress=self.told.append,
            proxies=(320,),
        )

    async def hold(self, event: ImageGenerated, original: bytes, *documents: Document) -> None:
        await self.blobs.put(event.original.key, original, media_type="image/png")
        for document in (RUBRIC, *documents):
            key = library_key(WORKSPACE, document.pin().digest)
            await self.blobs.put(key, document.canonical(), media_type="application/json")

    async def run(self, event: ImageGenerated, *, failures: int = 0) -> Outcome:
        return await self.processor.run(lease_of(work_of(event), failures=failures))


def lease_of(work: NewWork, *, failures: int = 0) -> Leased:
    return Leased(
        work_id=work.work_id,
        kind=work.kind,
        workspace=work.workspace,
        payload=work.payload,
        epoch=1,
        request_id=work.request_id,
        job_id=work.job_id,
        failures=failures,
        traceparent=work.traceparent,
    )


def failure(outcome: Outcome) -> Failed:
    assert isinstance(outcome.record, Finished)
    assert isinstance(outcome.record.ending, Failed)
    return outcome.record.ending


async def test_files_are_stored_before_the_outcome_names_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made(data=b"one"), made("proxy-320", channel=None, data=b"two")))
    event = generated(b"original", WEB)
    await bench.hold(event, b"original", WEB)
    outcome = await bench.run(event)
    assert isinstance(outcome.record, Finished)
    assert isinstance(outcome.record.ending, Processed)
    ending = outcome.record.ending
    assert ending.manifest is not None
    stored = [await bench.blobs.get(each.key) for each in (*ending.files, *ending.proxies)]
    assert stored == [b"one", b"two"]
    assert await bench.blobs.head(ending.manifest.key)
    assert [(told.stage, told.job_id) for told in bench.told] == [(Stage.POSTPROCESS, event.job_id)]


async def test_the_child_is_given_the_original_and_the_pinned_recipes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made()))
    event = generated(b"original", WEB)
    await bench.hold(event, b"original", WEB)
    await bench.run(event)
    ((original, order),) = bench.children.asked
    assert original == b"original"
    assert order["recipes"] == {"web": WEB.model_dump(mode="json")}
    assert order["proxies"] == [320]


async def test_what_is_made_continues_the_trace_it_was_asked_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made()))
    trace = "0af7651916cd43dd8448eb211c80319c"
    event = generated(b"original", WEB, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    await bench.hold(event, b"original", WEB)
    outcome = await bench.run(event)
    assert isinstance(outcome.record, Finished)
    version, continued, _, sampled = (outcome.record.event.traceparent or "").split("-")
    assert (version, continued, sampled) == ("00", trace, "01")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("damaged_picture", FailureReason.CORRUPT_OUTPUT), ("recipe", FailureReason.INVALID_REQUEST)],
)
async def test_a_refused_picture_fails_at_once_by_name(tmp_path: Path, code: str, reason: FailureReason) -> None:
    bench = Bench(tmp_path, PictureRefused(code, "cut short"))
    event = generated(b"original", WEB)
    await bench.hold(event, b"original", WEB)
    outcome = await bench.run(event)
    assert outcome.delay is None
    assert failure(outcome).reason is reason
    assert "cut short" in failure(outcome).detail


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ChildDied("signal 11"), FailureReason.INTERNAL), (OutOfMemory("too large"), FailureReason.OUT_OF_MEMORY)],
)
async def test_a_broken_child_is_tried_three_times_and_then_named(
    tmp_path: Path, error: Exception, reason: FailureReason
) -> None:
    bench = Bench(tmp_path, error)
    event = generated(b"original", WEB)
    await bench.hold(event, b"original", WEB)
    outcomes = [await bench.run(event, failures=failures) for failures in range(3)]
    assert [(outcome.failed, outcome.delay) for outcome in outcomes] == [(True, 1.0), (True, 2.0), (False, None)]
    assert failure(outcomes[2]).reason is reason


async def test_a_recipe_that_is_not_in_the_store_is_a_named_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made()))
    event = generated(b"original", WEB)
    await bench.hold(event, b"original")
    assert failure(await bench.run(event)).reason is FailureReason.MISSING_SOURCE
    assert "web@1" in failure(await bench.run(event)).detail


async def test_an_original_that_is_not_in_the_store_is_a_named_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made()))
    event = generated(b"original", WEB)
    await bench.hold(generated(b"another"), b"another", WEB)
    assert failure(await bench.run(event)).reason is FailureReason.MISSING_SOURCE
    assert bench.children.asked == []


async def test_a_damaged_original_is_a_named_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made()))
    event = generated(b"original", WEB)
    await bench.hold(event, b"original", WEB)
    bench.blobs.path(event.original.key).write_bytes(b"0riginal")
    assert failure(await bench.run(event)).reason is FailureReason.CORRUPT_OUTPUT


def test_a_passed_deadline_ends_as_expired() -> None:
    event = generated(b"original")
    assert failure(exhausted(lease_of(work_of(event)), "expired")).reason is FailureReason.EXPIRED
    assert failure(exhausted(lease_of(work_of(event)), "its lease was lost 8 times")).reason is FailureReason.INTERNAL


def test_dedicated_work_goes_first_and_bulk_last() -> None:
    lanes = ("dedicated", "standard", "bulk")
    route = {"backend": "proof", "rule": "all", "reason": "x"}
    priorities = [work_of(generated(b"o", route={**route, "lane": lane})).priority for lane in lanes]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == 3


async def test_files_made_anew_say_nothing_of_their_job_and_fail_apart_from_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, developed(made(data=b"one")))
    image = generated(b"original")
    await bench.hold(image, b"original", WEB)
    asked = asked_anew(image, WEB)
    work = work_anew(asked)
    assert (work.request_id, work.job_id) == (None, None), "a cancel of its request is not meant for it"
    outcome = await bench.processor.run(lease_of(work))
    assert outcome.record.anew == asked
    assert [file.recipe for file in outcome.record.ending.files] == ["web@1"]
    assert bench.told == [], "its job has ended, and does not run again"
    bench.children.answer = PictureRefused("recipe", "web@1, 960: there is no operation 'crpo'")
    outcome = await bench.processor.run(lease_of(work))
    assert failure(outcome).reason is FailureReason.INVALID_REQUEST
    assert outcome.record.anew == asked


async def test_a_picture_made_anew_is_not_asked_whether_it_came_before(tmp_path: Path) -> None:
    """All that came after it would count: its own row may have been forgotten."""
    bench = Bench(tmp_path, developed(made(data=b"one")))
    rubric = RUBRIC.model_copy(update={"name": "tile", "blocking_checks": ["twin"]})
    image = generated(b"original", WEB, rubric=rubric.pin())
    await bench.hold(image, b"original", WEB, rubric)
    first, again = [
        await bench.processor.run(lease_of(work)) for work in (work_of(image), work_anew(asked_anew(image, WEB)))
    ]
    checks = [[check.check for check in outcome.record.ending.checks] for outcome in (first, again)]
    assert [names.count("twin") for names in checks] == [1, 0]
