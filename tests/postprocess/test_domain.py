import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.postprocess.domain import (
    Cancelled,
    Development,
    Failed,
    Made,
    complete,
    ended,
    needs_pixels,
    order,
    untouched,
)
from shared import ids
from shared.events import FailureReason, ImageProcessed, JobCancelled, JobFailed, Stage
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.images import WORKSPACE, generated

NOW = datetime(2027, 3, 1, tzinfo=UTC)
WEB = recipe(rendition("960"), version=4)


def made(rendition: str = "960", *, channel: str | None = "web", data: bytes = b"bytes", **fields: Any) -> Made:
    told: dict[str, Any] = {
        "media_type": "image/webp",
        "width": 960,
        "height": 600,
        "wanted_type": "image/webp",
        "wanted": (960, 600),
        "exact": True,
        "max_bytes": None,
        "manifest": {"operations": [], "format": "webp", "quality": 80},
    }
    return Made(channel=channel, rendition=rendition, data=data, **(told | fields))


def developed(*files: Made, **fields: Any) -> Development:
    told: dict[str, Any] = {"media_type": "image/png", "width": 64, "height": 64, "versions": {"pillow": "13.0.0"}}
    return Development(made=list(files), **(told | fields))


def test_an_asset_version_names_every_file_by_its_bytes() -> None:
    event = generated(b"original", WEB)
    processed, stored = complete(event, developed(made(data=b"one"), made("480", data=b"two")), blocking=frozenset())
    assert [(file.rendition, file.recipe, file.width) for file in processed.files] == [
        ("960", "web@4", 960),
        ("480", "web@4", 960),
    ]
    for each in stored:
        assert each.file.sha256 == hashlib.sha256(each.data).hexdigest()
        assert each.file.key.startswith(f"ws/{WORKSPACE}/{event.asset_id}/{each.file.sha256}.")
        assert each.file.bytes == len(each.data)


def test_proxies_are_stored_and_not_published() -> None:
    processed, stored = complete(
        generated(b"original", WEB), developed(made(), made("proxy-320", channel=None)), blocking=frozenset()
    )
    assert [file.rendition for file in processed.proxies] == ["proxy-320"]
    assert [file.rendition for file in processed.files] == ["960"]
    assert {"960", "proxy-320"} <= {each.file.rendition for each in stored}


def test_files_carry_names_for_people() -> None:
    event = generated(b"original", WEB)
    processed, _ = complete(event, developed(made()), blocking=frozenset())
    tag = event.asset_id.hex[:6]
    assert processed.files[0].name == f"spring-oil-100-tile-3-v1-{tag}-web-960.webp"
    assert processed.original.name == f"spring-oil-100-tile-3-v1-{tag}-original.png"


def test_the_manifest_says_what_each_derivative_was_made_of() -> None:
    event = generated(b"original", WEB, focal=(0.25, 0.5))
    processed, stored = complete(event, developed(made(data=b"one")), blocking=frozenset())
    (manifest,) = [orjson.loads(each.data) for each in stored if each.file == processed.manifest]
    assert manifest["original_sha256"] == event.original.sha256
    assert manifest["recipes"]["web"]["digest"] == WEB.pin().digest
    assert manifest["focal"] == [0.25, 0.5]
    assert manifest["versions"] == {"pillow": "13.0.0"}
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert manifest["derivatives"] == [
        {
            "derivative_id": str(ids.derivative_id(event.asset_id, sha256, WEB.pin().digest, "960")),
            "recipe": "web@4",
            "rendition": "960",
            "sha256": sha256,
            "width": 960,
            "height": 600,
            "operations": [],
            "format": "webp",
            "quality": 80,
        }
    ]


def test_an_original_that_is_not_what_inference_said_fails_its_checks() -> None:
    event = generated(b"original", WEB)
    development = developed(made(), media_type="image/jpeg", width=32)
    failed = {
        verdict.check: verdict
        for verdict in complete(event, development, blocking=frozenset())[0].checks
        if not verdict.ok
    }
    assert failed.keys() == {"format", "dimensions"}
    assert failed["format"].sentence == "the original is image/jpeg, asked image/png."


def test_a_file_over_its_budget_blocks_where_the_rubric_says_so() -> None:
    processed, _ = complete(
        generated(b"original", WEB), developed(made(data=b"x" * 300, max_bytes=256)), blocking=frozenset({"bytes"})
    )
    (verdict,) = [verdict for verdict in processed.checks if verdict.check == "bytes"]
    assert (verdict.ok, verdict.blocking, verdict.number, verdict.limit) == (False, True, 300, 256)


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


def test_a_child_is_told_nothing_but_plain_data() -> None:
    event = generated(b"original", WEB, focal=(0.5, 0.5), live_area=(0.1, 0.1, 0.9, 0.9))
    asked = order(event, {"web": WEB}, proxies=(320,))
    assert orjson.loads(orjson.dumps(asked))["recipes"]["web"]["renditions"][0]["name"] == "960"
    assert asked["live_area"] == (0.1, 0.1, 0.9, 0.9)
