"""How ids are derived, written again from the documentation: uuid5 (RFC 9562) over fields joined with U+001F."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1c9a52-7d0e-5b7c-9c1e-2f0a4c8d1b63")


def derive(*fields: object) -> str:
    return str(uuid5(NAMESPACE, "\x1f".join(map(str, fields))))


def request_over_http(workspace: str, principal: str, key: str) -> str:
    return derive("request", "http", workspace, principal, key)


def request_over_kafka(workspace: str, source: str, ce_id: str) -> str:
    return derive("request", "kafka", workspace, source, ce_id)


def request_of_row(workspace: str, batch: str, key: str, ask: Mapping[str, Any]) -> str:
    """`ask` holds what differs from the defaults."""
    text = json.dumps(ask, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return derive("request", "row", workspace, batch, key, hashlib.sha256(text.encode()).hexdigest())


def job(request: str, variant: int) -> str:
    return derive("job", request, variant)


def attempt(job_id: str, run: int, number: int) -> str:
    return derive("attempt", job_id, run, number)


def asset(job_id: str, run: int) -> str:
    return derive("asset", job_id, run)


def asset_version(asset_id: str, original: str, derivatives: Iterable[str], *, asked: str | None = None) -> str:
    """`asked`: the event that asked for it, of one that is to take an approved version's place."""
    return derive("asset-version", asset_id, original, *sorted(derivatives), *(("anew", asked) if asked else ()))


def publication(version: str, target: str) -> str:
    return derive("publication", version, target)


def decision(version: str, review: int) -> str:
    return derive("decision", version, review)


def event(kind: str, subject: str, cause: str) -> str:
    return derive("event", kind, subject, cause)


def dead_letter(origin: str, group: str) -> str:
    return derive("dead-letter", origin, group)


def drop_of(dead_letter_id: str) -> str:
    """The cause of the failure of a job whose record a person gave up."""
    return derive("dropped", dead_letter_id)
