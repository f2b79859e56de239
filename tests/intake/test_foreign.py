import base64
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest
from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from services.intake.foreign import Foreign, decode_foreign
from shared import ids
from shared.decoding import SetAside
from shared.topics import IMAGE_REQUESTS
from tests.intake.asks import GOOD

WORKSPACE = UUID(int=7)


@dataclass
class Record:
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def binary(body: Any = GOOD, **changes: str | None) -> Record:
    attributes: dict[str, str | None] = {"specversion": "1.0", "id": "1", "source": "/shop"}
    attributes |= {"type": "calotype.ImageRequested", "workspace": str(WORKSPACE)} | changes
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if value is not None]
    return Record(body if isinstance(body, bytes) else orjson.dumps(body), headers)


def structured(**changes: Any) -> Record:
    event = {
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "calotype.ImageRequested",
        "workspace": str(WORKSPACE), "data": GOOD,
    }  # fmt: skip
    event = {name: value for name, value in (event | changes).items() if value is not None}
    return Record(orjson.dumps(event), [("content-type", b"application/cloudevents+json")])


def decoded(record: Record) -> Foreign:
    return decode_foreign(record, IMAGE_REQUESTS)


def faults(record: Record) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.where) for problem in decoded(record).problems]


def test_both_modes_mean_the_same() -> None:
    one, other = decoded(binary()), decoded(structured())
    assert one.asked == other.asked and one.asked is not None
    assert one.origin == other.origin
    assert one.origin.request_id == ids.request_id_for_kafka(WORKSPACE, "/shop", "1")
    encoded = base64.b64encode(orjson.dumps(GOOD)).decode()
    assert decoded(structured(data=None, data_base64=encoded)).asked == one.asked


@pytest.mark.parametrize("to_message", [to_binary_event, to_structured_event])
def test_the_official_sdk_is_understood(to_message: Any) -> None:
    attributes = {"id": "1", "source": "/shop", "type": "calotype.ImageRequested", "workspace": str(WORKSPACE)}
    message = to_message(CloudEvent({**attributes, "specversion": "1.0"}, GOOD), JSONFormat())
    headers = [(name, value if isinstance(value, bytes) else value.encode()) for name, value in message.headers.items()]
    assert decoded(Record(message.value, headers)).asked == decoded(binary()).asked


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (binary(GOOD | {"colour": 1}), ("unknown_field", "colour")),
        (binary(workspace=None), ("missing_field", "workspace")),
        (binary(workspace="mine"), ("unknown_workspace", "workspace")),
        (binary(type="com.example.Other"), ("unknown_type", "type")),
        (structured(data=None), ("wrong_type", "")),
        (structured(data=[1]), ("wrong_type", "")),
    ],
)
def test_a_readable_ask_is_answered_with_the_place(record: Record, fault: tuple[str, str]) -> None:
    found = decoded(record)
    assert found.asked is None
    assert [(problem.code, problem.where) for problem in found.problems] == [fault]
    assert all(problem.remedy for problem in found.problems)


@pytest.mark.parametrize(
    "record",
    [
        binary(b"{"),
        binary(b"[]"),
        binary(b"\xff"),
        Record(None),
        binary(id=None),
        binary(source=None),
        binary(id="a\x1fb"),
        binary(id="x" * 3000),
        structured(data=None, data_base64="!"),
        Record(b"{", [("content-type", b"application/cloudevents+json")]),
        Record(b"{}", [("ce_id", b"\xff")]),
    ],
)
def test_what_cannot_be_answered_is_set_aside(record: Record) -> None:
    with pytest.raises(SetAside):
        decoded(record)


def test_a_callers_trace_goes_on_and_a_broken_one_begins_anew() -> None:
    trace = f"00-{1:032x}-{2:016x}-01"
    assert (
        decoded(Record(orjson.dumps(GOOD), [*binary().headers, ("traceparent", trace.encode())])).traceparent == trace
    )
    assert decoded(binary(traceparent=trace)).traceparent == trace
    assert decoded(binary(traceparent="rubbish")).traceparent != "rubbish"


def test_a_reference_of_the_sender_is_kept() -> None:
    asked = decoded(binary(clientreference="order 7")).asked
    assert asked is not None and asked.client_reference == "order 7"
    asked = decoded(binary(GOOD | {"client_reference": "mine"}, clientreference="order 7")).asked
    assert asked is not None and asked.client_reference == "mine"
    assert decoded(binary({"nonsense": 1}, clientreference="order 7")).origin.client_reference == "order 7"


@pytest.mark.parametrize("reference", ["a\x00b", "x" * 201])
def test_a_reference_that_no_event_could_carry_is_refused(reference: str) -> None:
    found = decoded(binary(clientreference=reference))
    assert faults(binary(clientreference=reference)) == [("malformed", "clientreference")]
    assert (found.asked, found.origin.client_reference) == (None, None)
