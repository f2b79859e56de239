"""The envelope: what every event carries, and how a CloudEvent in Kafka binary mode becomes an event and back.

Internal edge: unknown fields are ignored and an unknown enum value decodes to `unknown`, which no rule may treat as
success. Headers hold the CloudEvents attributes; the same ids stand in the body, so a body alone is complete.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared import ids

MAX_EVENT_BYTES = 256 * 1024
Headers = list[tuple[str, bytes]]


class OpenEnum(StrEnum):
    """An enum of an internal event: a value from a newer release decodes to the member `UNKNOWN`."""

    @classmethod
    def _missing_(cls, _value: object) -> Self:
        return cls("unknown")


class Body(BaseModel):
    """Part of an event: frozen, and deaf to fields of newer releases."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Body):
    """A fact in the past tense.

    `SUBJECT` names the field whose id the fact is about, `KEY` the field that chooses the partition; both are part of
    the contract in `shared/topics.py`.
    """

    SUBJECT: ClassVar[str] = "job_id"
    KEY: ClassVar[str] = "job_id"
    SOURCE: ClassVar[str]
    VERSION: ClassVar[int] = 1

    event_id: UUID
    occurred_at: datetime
    workspace: UUID
    cause_id: UUID | str
    client_reference: str | None = None
    traceparent: str | None = Field(default=None, exclude=True)

    @classmethod
    def of(cls, *, cause_id: UUID | str, occurred_at: datetime, **fields: Any) -> Self:
        """The fact with its derived id: type, subject, cause. Give the same time for the same fact."""
        subject = fields[cls.SUBJECT]
        event_id = ids.event_id(cls.__name__, subject, cause_id)
        return cls(event_id=event_id, cause_id=cause_id, occurred_at=occurred_at, **fields)

    @property
    def key(self) -> bytes:
        return str(getattr(self, self.KEY)).encode()

    def headers(self) -> Headers:
        """CloudEvents 1.0 attributes as Kafka headers (binary mode), `ce_time` fixed by the fact."""
        found: dict[str, object] = {
            "ce_specversion": "1.0",
            "ce_id": self.event_id,
            "ce_source": self.SOURCE,
            "ce_type": event_type(type(self)),
            "ce_time": self.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "ce_subject": getattr(self, self.SUBJECT),
            "ce_dataschema": f"urn:calotype:event:{type(self).__name__}:{self.VERSION}",
            "ce_partitionkey": getattr(self, self.KEY),
            "content-type": "application/json",
            "ce_workspace": self.workspace,
            "ce_causeid": self.cause_id,
        }
        for attribute, field in EXTENSIONS.items():
            value = getattr(self, field, None)
            if value is not None:
                found[attribute] = value
        if self.traceparent:
            found["traceparent"] = found["ce_traceparent"] = self.traceparent
        return [(name, str(value).encode()) for name, value in found.items()]

    def body(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


EXTENSIONS = {
    "ce_requestid": "request_id",
    "ce_jobid": "job_id",
    "ce_run": "run",
    "ce_clientreference": "client_reference",
    "ce_confidentiality": "confidentiality",
}


def event_type(event: type[Event]) -> str:
    """`ce_type`: the name of the fact under our prefix."""
    return f"calotype.{event.__name__}"
