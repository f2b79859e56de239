"""Requests from outside on Kafka: CloudEvents in binary and in structured mode, from clients that know nothing of us.

What has an id, a source and a JSON object is a readable ask and always gets an answer. The rest is a dead letter.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from services.intake.domain import Origin
from shared import ids
from shared.decoding import SetAside, text_headers
from shared.events import ImageRequested, Problem
from shared.library.asks import CONTROL, read
from shared.observability import context_of, new_traceparent
from shared.topics import Topic

TYPE = "calotype.ImageRequested"
STRUCTURED = "application/cloudevents+json"
MAX_REFERENCE = 200  # as in the body
NO_WORKSPACE = UUID(int=0)


@dataclass(kw_only=True)
class Foreign:
    """One readable ask. The bus puts its span's context into `traceparent`."""

    origin: Origin
    traceparent: str
    asked: ImageRequested | None = None
    problems: Sequence[Problem] = ()

    def current_origin(self) -> Origin:
        return replace(self.origin, traceparent=self.traceparent)


def decode_foreign(record: Any, _: Topic) -> Foreign:
    """Raises SetAside for what cannot be answered: no id, no source, or no JSON object."""
    headers = text_headers(record)
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    attributes, data = _structured(record.value) if content_type == STRUCTURED else _binary(headers, record.value)
    event_id, source = attributes.get("id"), attributes.get("source")
    if not event_id or not source:
        raise SetAside("bad_header", "a CloudEvent needs `id` and `source`: without them it could not be answered")
    if CONTROL.search(event_id) or CONTROL.search(source) or len(event_id) + len(source) > 2000:
        raise SetAside("bad_header", "`id` and `source` are text of at most 2000 characters")
    workspace, problems = _workspace(attributes)
    if attributes.get("type") != TYPE:
        what = f"{attributes.get('type')!r} is not known here"
        problems.append(Problem(code="unknown_type", what=what, where="type", remedy=f"send {TYPE}"))
    reference = attributes.get("clientreference") or None
    if reference is not None and (len(reference) > MAX_REFERENCE or CONTROL.search(reference)):
        what = f"is longer than {MAX_REFERENCE} characters, or holds what is not text"
        problems.append(Problem(code="malformed", what=what, where="clientreference", remedy="a plain short text does"))
        reference = None
    asked = read(data)
    if isinstance(asked, list):
        problems += asked
    elif asked.client_reference is None:
        asked = asked.model_copy(update={"client_reference": reference})
    else:
        reference = asked.client_reference
    traceparent = attributes.get("traceparent")
    origin = Origin(
        request_id=ids.request_id_for_kafka(workspace, source, event_id),
        workspace=workspace,
        principal=f"kafka:{source}",
        cause=event_id,
        kind="kafka",
        id=f"{source} {event_id}",
        client_reference=reference,
    )
    return Foreign(
        origin=origin,
        traceparent=traceparent if traceparent and context_of(traceparent) else new_traceparent(),
        asked=None if problems or isinstance(asked, list) else asked,
        problems=problems,
    )


def _binary(headers: Mapping[str, str], body: bytes | None) -> tuple[dict[str, str], bytes]:
    attributes = {name.removeprefix("ce_"): value for name, value in headers.items() if name.startswith("ce_")}
    if "traceparent" in headers:
        attributes["traceparent"] = headers["traceparent"]
    _object(body or b"")
    return attributes, body or b""


def _structured(body: bytes | None) -> tuple[dict[str, str], bytes]:
    envelope = _object(body or b"")
    attributes = {name: value for name, value in envelope.items() if isinstance(value, str)}
    if "data_base64" in envelope:
        try:
            data = base64.b64decode(str(envelope["data_base64"]), validate=True)
        except (binascii.Error, ValueError) as error:
            raise SetAside("bad_body", f"data_base64: {error}") from error
        _object(data)
        return attributes, data
    return attributes, orjson.dumps(envelope.get("data"))


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise SetAside("bad_body", f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise SetAside("bad_body", "not a JSON object")
    return value


def _workspace(attributes: Mapping[str, str]) -> tuple[UUID, list[Problem]]:
    given = attributes.get("workspace")
    if given is None:
        what, remedy = "the workspace is missing", "set the CloudEvents extension `workspace`"
        return NO_WORKSPACE, [Problem(code="missing_field", what=what, where="workspace", remedy=remedy)]
    try:
        return UUID(given), []
    except ValueError:
        remedy = "give the id `calotype workspace list` prints"
        problem = Problem(
            code="unknown_workspace", what=f"{given!r} is no workspace id", where="workspace", remedy=remedy
        )
        return NO_WORKSPACE, [problem]
