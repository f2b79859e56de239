"""JSON Schema of every event's body."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from shared.events import ALL, Event, ImageRequested
from shared.events.envelope import EXTENSIONS, event_type

Schema = dict[str, Any]


def event_schema(event: type[Event]) -> Schema:
    """Draft 2020-12 schema of the body; what an older reader does not know it ignores."""
    schema = event.model_json_schema(mode="validation")
    for part in (schema, *schema.get("$defs", {}).values()):
        part.get("properties", {}).pop("traceparent", None)  # travels as a header only
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:calotype:event:{event.__name__}:{event.VERSION}",
        "x-ce-type": event_type(event),
        "x-key": event.KEY,
        "x-subject": event.SUBJECT,
        "x-extensions": sorted(name.removeprefix("ce_") for name, field in EXTENSIONS if field in event.model_fields),
        **schema,
    }


def request_schema() -> Schema:
    """Schema of the one foreign event; there unknown fields are refused."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": "urn:calotype:event:ImageRequested:1",
        "x-ce-type": "calotype.ImageRequested",
        **ImageRequested.model_json_schema(mode="validation"),
    }


def all_schemas() -> dict[str, Schema]:
    return {event.__name__: event_schema(event) for event in ALL} | {"ImageRequested": request_schema()}
