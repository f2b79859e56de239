"""AsyncAPI 3.0 of every topic, generated from `shared/topics.py` and the event schemas."""

from typing import Any

from shared.contracts.schemas import event_schema, request_schema
from shared.events.envelope import event_type
from shared.topics import IMAGE_REQUESTS, TOPICS, WITHOUT_PRODUCER, Topic

STAGES = ("intake", "prompt", "inference", "postprocess", "catalog", "publisher")


def document(version: str) -> dict[str, Any]:
    """The whole system as its neighbours see it; `send` and `receive` are from our side."""
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for topic in TOPICS:
        for event in topic.events:
            schemas[event.__name__] = _lift(event_schema(event), schemas)
            messages[event.__name__] = _message(event.__name__, event_type(event), unwritten=event in WITHOUT_PRODUCER)
    schemas["ImageRequested"] = _lift(request_schema(), schemas)
    messages["ImageRequested"] = _message("ImageRequested", "calotype.ImageRequested", unwritten=False)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Calotype",
            "version": version,
            "description": "Structured creative requests in, published images out. CloudEvents 1.0, Kafka binary mode.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {"messages": messages, "schemas": schemas},
    }


def _names(topic: Topic) -> list[str]:
    return ["ImageRequested"] if topic is IMAGE_REQUESTS else [event.__name__ for event in topic.events]


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. "
        + ("Public." if topic.public else "Ephemeral." if topic.ephemeral else "Internal."),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(topic)},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": _configuration(topic)}},
    }


def _configuration(topic: Topic) -> dict[str, Any]:
    retention = {} if topic.retention is None else {"retention.ms": int(topic.retention.total_seconds() * 1000)}
    return {"cleanup.policy": ["compact" if topic.compacted else "delete"], **retention}


def _operations() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for topic in TOPICS:
        reference = {"$ref": "#/channels/" + topic.name.replace("/", "~1")}
        for stage in STAGES:
            if stage in topic.producers:
                found[f"{stage}.sends.{topic.name}"] = {"action": "send", "channel": reference}
            if stage in topic.consumers:
                found[f"{stage}.receives.{topic.name}"] = {"action": "receive", "channel": reference}
    return found


def _message(name: str, ce_type: str, *, unwritten: bool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": name,
        "headers": {
            "type": "object",
            "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
            "properties": {"ce_type": {"const": ce_type}, "ce_specversion": {"const": "1.0"}},
        },
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    if unwritten:
        message["x-without-producer"] = True
    return message


def _lift(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Moves `$defs` to the components, where AsyncAPI looks for them."""
    for name, definition in schema.pop("$defs", {}).items():
        schemas[name] = _repoint(definition)
    repointed: dict[str, Any] = _repoint({k: v for k, v in schema.items() if k not in {"$id", "$schema"}})
    return repointed


def _repoint(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: v.replace("#/$defs/", "#/components/schemas/") if k == "$ref" else _repoint(v) for k, v in value.items()
        }
    return [_repoint(item) for item in value] if isinstance(value, list) else value
