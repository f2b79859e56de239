from datetime import UTC, datetime

import pytest

from services.postprocess.development import Made
from services.postprocess.domain import Cancelled, Failed, ended, ended_anew, needs_pixels, untouched
from services.postprocess.files import complete
from shared.events import DerivativesFailed, FailureReason, ImageProcessed, JobCancelled, JobFailed, Stage
from tests.postprocess.development import developed, made
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.images import asked_anew, generated

NOW = datetime(2027, 3, 1, tzinfo=UTC)
WEB = recipe(rendition("960"), version=4)


def test_the_event_carries_on_what_was_asked_and_what_was_found() -> None:
    event = generated(b"original", WEB, focal=(0.25, 0.5))
    event.__dict__["traceparent"] = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    processed, _ = complete(event, developed(made()), blocking=frozenset())
    fact = ended(event, processed, at=NOW)
    assert isinstance(fact, ImageProcessed)
    carried = (
        *("workspace", "request_id", "job_id", "run", "asset_id", "brief", "focal", "source_type", "rubric"),
        *("alt_text", "caption", "confidentiality", "client_reference", "traceparent"),
    )
    for field in carried:
        assert getattr(fact, field) == getattr(event, field), field
    assert fact.cause_id == event.event_id
    assert fact.occurred_at == NOW
    assert fact.derivatives_manifest == processed.manifest


def test_the_same_files_are_the_same_asset_version() -> None:
    event = generated(b"original", WEB)

    def version(*files: Made) -> object:
        fact = ended(event, complete(event, developed(*files), blocking=frozenset())[0], at=NOW)
        assert isinstance(fact, ImageProcessed)
        return fact.asset_version_id

    one, two = made(data=b"one"), made("480", data=b"two")
    assert version(one, two) == version(two, one)
    assert version(one, two) != version(one)
    assert version(one) == version(one, made("proxy-320", channel=None))


@pytest.mark.parametrize("again", [1, 2])
def test_the_same_fact_has_the_same_id_whenever_it_is_computed(again: int) -> None:
    event = generated(b"original", WEB)
    first, later = (ended(event, untouched(event), at=NOW.replace(day=day)) for day in (1, 1 + again))
    assert first.event_id == later.event_id


def test_a_failure_names_stage_reason_and_remedy() -> None:
    event = generated(b"original")
    fact = ended(event, Failed(reason=FailureReason.CORRUPT_OUTPUT, detail="cut short", remedy="run it again"), at=NOW)
    assert isinstance(fact, JobFailed)
    assert (fact.stage, fact.reason, fact.detail, fact.remedy) == (
        Stage.POSTPROCESS,
        FailureReason.CORRUPT_OUTPUT,
        "cut short",
        "run it again",
    )
    assert fact.confidentiality == event.confidentiality


def test_a_cancelled_job_says_who_cancelled_it() -> None:
    fact = ended(generated(b"original"), Cancelled(by="mira"), at=NOW)
    assert isinstance(fact, JobCancelled)
    assert (fact.by, fact.stage) == ("mira", Stage.POSTPROCESS)


def test_without_channels_and_proxies_the_original_passes_as_it_is() -> None:
    event = generated(b"original")
    assert not needs_pixels(event, proxies=())
    assert needs_pixels(event, proxies=(320,))
    assert needs_pixels(generated(b"original", WEB), proxies=())
    fact = ended(event, untouched(event), at=NOW)
    assert isinstance(fact, ImageProcessed)
    assert fact.original.sha256 == event.original.sha256
    assert fact.files == []


def test_files_made_anew_are_a_version_of_their_own_even_with_the_same_bytes() -> None:
    image = generated(b"original", WEB)
    asked = asked_anew(image, WEB)
    processed, _ = complete(asked.image, developed(made()), blocking=frozenset())
    first, anew = ended(image, processed, at=NOW), ended_anew(asked, processed, at=NOW)
    assert isinstance(first, ImageProcessed)
    assert isinstance(anew, ImageProcessed)
    assert (anew.cause_id, anew.supersedes) == (asked.event_id, asked.supersedes)
    assert anew.event_id != first.event_id
    assert anew.asset_id == first.asset_id
    assert anew.asset_version_id != first.asset_version_id, "going back to an earlier recipe is a version as well"
    assert [file.sha256 for file in anew.files] == [file.sha256 for file in first.files]
    changed = {"event_id", "cause_id", "asset_version_id", "supersedes"}
    assert anew.model_dump(exclude=changed) == first.model_dump(exclude=changed)


def test_the_same_ask_for_files_anew_is_the_same_fact_and_another_recipe_another() -> None:
    image = generated(b"original", WEB)
    asked, again, other = (
        asked_anew(image, WEB),
        asked_anew(image),
        asked_anew(image, recipe(rendition("64"), version=5)),
    )
    assert asked.event_id == again.event_id != other.event_id


def test_what_fails_anew_is_not_the_job() -> None:
    asked = asked_anew(generated(b"original"), WEB)
    fact = ended_anew(asked, Failed(reason=FailureReason.INVALID_REQUEST, detail="no such", remedy="mend it"), at=NOW)
    assert isinstance(fact, DerivativesFailed)
    assert (fact.supersedes, fact.cause_id, fact.detail) == (asked.supersedes, asked.event_id, "no such")
