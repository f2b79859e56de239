"""From a Kafka record to an event, record by record: what cannot be read is set aside, never raised."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from shared.errors import unreadable
from shared.events import BY_TYPE, Event
from shared.topics import Topic

REPLAY_HEADER = "calotype-replay-group"
CUT_HEADER = "calotype-cut"  # on a dead letter that is not whole: how many bytes it had
MARGIN = timedelta(days=1)
RawRecord = ConsumerRecord


@dataclass(frozen=True, slots=True)
class Bad:
    """Why a record was set aside: `bad_header`, `bad_body`, `unknown_type`, `stale` or `handler_failed`."""

    reason: str
    detail: str


class SetAside(Exception):
    """Raised by a decoder: this record goes to the dead letters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.bad = Bad(reason, detail)


def header_text(value: bytes | None) -> str:
    """What of a header, which may be anybody's bytes, can be told and stored."""
    return (value or b"").decode(errors="replace").replace("\x00", "�")


Decoder = Callable[[Any, Topic], Any]


def text_headers(record: Any) -> dict[str, str]:
    """The record's headers as text.

    Raises:
        SetAside: a header is not UTF-8 (the stock parser would raise before anybody could set the record aside).
    """
    try:
        return {name: (value or b"").decode() for name, value in record.headers}
    except UnicodeDecodeError as error:
        raise SetAside("bad_header", str(error)) from error


def decode_event(record: Any, topic: Topic) -> Event:
    """One internal event.

    Raises:
        SetAside: unreadable, of a type the topic does not carry, or older than anything still deduplicated.
    """
    headers = dict(record.headers)
    try:
        name = headers["ce_type"].decode()
        traceparent = headers["traceparent"].decode() if "traceparent" in headers else None
    except KeyError as error:
        raise SetAside("bad_header", "the record has no ce_type") from error
    except (UnicodeDecodeError, AttributeError) as error:
        raise SetAside("bad_header", str(error)) from error
    event_class = BY_TYPE.get(name)
    if event_class is None or event_class not in topic.events:
        raise SetAside("unknown_type", f"{name!r} does not travel on {topic.name}")
    body = record.value or b""
    if b"\\u0000" in body and holds_nul(body):
        raise SetAside("bad_body", "U+0000 cannot be stored as text")
    try:
        event = event_class.model_validate_json(body)
    except ValidationError as error:
        raise SetAside("bad_body", unreadable(error)) from error
    if topic.retention and record.timestamp / 1000 - event.occurred_at.timestamp() > _horizon(topic):
        raise SetAside("stale", f"the fact of {event.occurred_at.isoformat()} is older than what is deduplicated")
    if traceparent:
        event.__dict__["traceparent"] = traceparent  # set once here, before anybody sees the frozen event
    return event


def holds_nul(body: bytes) -> bool:
    """Whether a string really holds U+0000: the same six characters after a backslash are only text."""

    def holds(value: Any) -> bool:
        if isinstance(value, str):
            return "\x00" in value
        if isinstance(value, dict):
            return any(holds(part) for pair in value.items() for part in pair)
        return isinstance(value, list) and any(holds(part) for part in value)

    try:
        return holds(orjson.loads(body))
    except orjson.JSONDecodeError:
        return False  # what is not JSON is refused as that


def _horizon(topic: Topic) -> float:
    assert topic.retention is not None
    return (topic.retention + MARGIN).total_seconds()
