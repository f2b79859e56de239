"""The contract with the outside: what is committed is what the code says, and stays what a release promised."""

import functools
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from services.intake.foreign import decode_foreign
from shared.contracts import golden
from shared.contracts.__main__ import FOLDER
from shared.contracts.__main__ import generated as generate
from shared.contracts.compatibility import breaks
from shared.contracts.schemas import all_schemas
from shared.decoding import decode_event
from shared.events import ALL, Event, ImageRequested
from shared.library.asks import read
from shared.topics import IMAGE_REQUESTS, TOPIC_OF

generated = functools.cache(generate)
RELEASES = sorted((FOLDER / "released").iterdir())
LAST_RELEASE = RELEASES[-1]
RELEASED_GOLDEN = sorted(path for release in RELEASES for path in (release / "golden").glob("*.json"))


def record_of(example: dict[str, Any], topic: str) -> Any:
    headers = [(name, value.encode()) for name, value in example["headers"].items()]
    return ConsumerRecord(topic, 0, 0, 0, 0, b"key", orjson.dumps(example["body"]), None, 0, 0, headers)


@pytest.mark.parametrize("path", sorted(generated()), ids=lambda path: str(path.relative_to(FOLDER)))
def test_what_is_committed_is_what_the_code_generates(path: Path) -> None:
    assert path.read_bytes() == generated()[path], "run `python -m shared.contracts`"


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.__name__)
def test_a_golden_event_fits_its_schema_and_comes_back_from_the_wire_unchanged(event: type[Event]) -> None:
    example = golden.golden_record(event)
    jsonschema.validate(example["body"], all_schemas()[event.__name__])
    decoded = decode_event(record_of(example, TOPIC_OF[event].name), TOPIC_OF[event])
    assert decoded == golden.golden(event)
    assert decoded.headers() == golden.golden(event).headers()


def test_the_golden_request_fits_its_schema_and_is_what_intake_reads() -> None:
    example = golden.golden_request()
    jsonschema.validate(example["body"], all_schemas()["ImageRequested"])
    foreign = decode_foreign(record_of(example, IMAGE_REQUESTS.name), IMAGE_REQUESTS)
    assert not foreign.problems
    assert foreign.asked == ImageRequested.model_validate(example["body"])


@pytest.mark.parametrize("path", RELEASED_GOLDEN, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_every_released_golden_event_still_decodes(path: Path) -> None:
    example = orjson.loads(path.read_bytes())
    if path.stem == "ImageRequested":
        assert isinstance(read(orjson.dumps(example["body"])), ImageRequested)
        return
    event = next(event for event in ALL if event.__name__ == path.stem)
    assert (
        str(decode_event(record_of(example, TOPIC_OF[event].name), TOPIC_OF[event]).event_id)
        == example["headers"]["ce_id"]
    )


@pytest.mark.parametrize("name", sorted(all_schemas()))
def test_no_schema_breaks_what_the_last_release_promised(name: str) -> None:
    old = LAST_RELEASE / "schemas" / f"{name}.json"
    if old.exists():
        assert breaks(orjson.loads(old.read_bytes()), all_schemas()[name]) == []


def test_no_event_of_the_last_release_is_gone() -> None:
    assert {path.stem for path in (LAST_RELEASE / "schemas").glob("*.json")} <= set(all_schemas())


OLD: dict[str, Any] = {
    "type": "object",
    "required": ["a"],
    "properties": {"a": {"type": "string", "maxLength": 10}, "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
}


@pytest.mark.parametrize(
    ("new", "finding"),
    [
        ({"properties": {"a": OLD["properties"]["a"]}}, ".b: was removed"),
        ({"properties": OLD["properties"] | {"a": {"type": "string", "maxLength": 9}}}, ".a: maxLength is narrower"),
        ({"properties": OLD["properties"] | {"a": {"type": "integer"}}}, ".a: no longer allows string"),
        ({"required": ["a", "b"]}, ".b: has become required, so older events no longer decode"),
        ({"required": []}, ".a: is no longer always there, so older readers may miss it"),
        ({"properties": OLD["properties"] | {"b": {"type": "string"}}}, ".b: no longer allows integer"),
    ],
)
def test_a_change_that_breaks_somebody_is_found(new: dict[str, Any], finding: str) -> None:
    assert finding in breaks(OLD, OLD | new)


def test_a_new_field_with_a_default_breaks_nobody() -> None:
    new = OLD | {"properties": OLD["properties"] | {"c": {"type": "string", "default": ""}}}
    assert breaks(OLD, new) == []
