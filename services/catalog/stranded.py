"""What ends when a refused record is given up: jobs that waited for it, and new versions that were asked for."""

import base64
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import structlog
from pydantic import ValidationError

from services.catalog.domain import COMPLETED
from services.catalog.ledger import reruns
from services.catalog.sql import queries
from shared import ids
from shared.decoding import header_text
from shared.events import Confidentiality, DerivativesFailed, DerivativesRequested, FailureReason, JobFailed, Stage
from shared.topics import (
    DERIVATIVES_REQUESTED,
    IMAGES_GENERATED,
    IMAGES_PROCESSED,
    PROMPTS_ASSEMBLED,
    REQUESTS_ACCEPTED,
)

log = structlog.get_logger()

# Where a job waits for exactly this record: dropped, it would wait for ever.
CARRIES_JOBS = {
    (REQUESTS_ACCEPTED.name, "prompt"): Stage.PROMPT,
    (PROMPTS_ASSEMBLED.name, "inference"): Stage.INFERENCE,
    (IMAGES_GENERATED.name, "postprocess"): Stage.POSTPROCESS,
    (IMAGES_PROCESSED.name, "catalog"): Stage.CATALOG,
}
# Where an ask for files anew waits for it, and the header that names the ask.
CARRIES_ASKS = {
    (DERIVATIVES_REQUESTED.name, "postprocess-anew"): "ce_id",
    (IMAGES_PROCESSED.name, "catalog"): "ce_causeid",
}


async def stranded_jobs(connection: Any, dropped: Iterable[asyncpg.Record], *, principal: str) -> list[JobFailed]:
    carried = {row["about"]: row for row in dropped if (row["topic"], row["consumer_group"]) in CARRIES_JOBS}
    if not carried:
        return []
    # `about` is a job, or a request with all of its jobs.
    rows = queries.open_jobs(connection, jobs=list(carried), requests=list(carried), completed=COMPLETED)
    return [
        _given_up(job, carried.get(job["job_id"]) or carried[job["request_id"]], principal=principal)
        async for job in rows
    ]


async def stranded_asks(
    connection: Any, dropped: Iterable[asyncpg.Record], *, principal: str
) -> list[DerivativesFailed]:
    """The version that each was to replace stays as it is, and may be asked for again."""
    letters = {asked: row for row in dropped if (asked := _asked(row))}
    if not letters:
        return []
    said: dict[UUID, list[dict[str, Any]]] = {}
    jobs = list({row["about"] for row in letters.values()})
    async for row in queries.said_of(connection, about=jobs, types=list(reruns.KINDS)):
        said.setdefault(row["about"], []).append(orjson.loads(row["body"]) | {"type": row["type"]})
    return [
        _not_made(ask, letters[str(ask.event_id)], principal=principal)
        for facts in said.values()
        for ask in under_way(facts, of=letters)
    ]


def under_way(facts: Sequence[Mapping[str, Any]], *, of: Container[str]) -> list[DerivativesRequested]:
    """Those of these asks that nothing came of; one that cannot be read is logged, and holds none of the others."""
    running = {str(ask.event_id) for ask in reruns.readable(facts) if ask.state is reruns.State.RUNNING}
    found = []
    for fact in facts:
        if fact["event_id"] in running and fact["event_id"] in of:
            try:
                found.append(DerivativesRequested.model_validate(fact))
            except ValidationError as error:
                log.warning("rerun.unreadable", fact=fact["event_id"], error=type(error).__name__)
    return found


def _asked(letter: asyncpg.Record) -> str | None:
    """The ask that the record is, or answers."""
    header = CARRIES_ASKS.get((letter["topic"], letter["consumer_group"]))
    return header and _headers(letter).get(header)


def _not_made(asked: DerivativesRequested, letter: asyncpg.Record, *, principal: str) -> DerivativesFailed:
    return DerivativesFailed.of(
        cause_id=ids.derive("dropped", letter["dead_letter_id"]),
        asked=asked.event_id,
        occurred_at=letter["ended_at"],
        traceparent=_headers(letter).get("traceparent"),
        **asked.model_dump(
            include={
                "workspace",
                "client_reference",
                "request_id",
                "job_id",
                "run",
                "asset_id",
                "supersedes",
                "confidentiality",
            }
        ),
        reason=FailureReason.INTERNAL,
        detail=_why(letter, principal=principal),
        remedy="ask for it again: calotype assets rerun",
    )


def _given_up(job: asyncpg.Record, letter: asyncpg.Record, *, principal: str) -> JobFailed:
    said = _headers(letter)
    return JobFailed.of(
        cause_id=ids.derive("dropped", letter["dead_letter_id"]),
        occurred_at=letter["ended_at"],
        workspace=job["workspace"],
        traceparent=said.get("traceparent"),
        client_reference=said.get("ce_clientreference"),
        request_id=job["request_id"],
        job_id=job["job_id"],
        run=job["run"],
        stage=CARRIES_JOBS[letter["topic"], letter["consumer_group"]],
        reason=FailureReason.INTERNAL,
        detail=_why(letter, principal=principal),
        remedy="send the request again",
        confidentiality=Confidentiality(said.get("ce_confidentiality", "unknown")),
    )


def _why(letter: asyncpg.Record, *, principal: str) -> str:
    return f"{letter['consumer_group']} refused its record ({letter['reason']}), and {principal} dropped it"


def _headers(letter: asyncpg.Record) -> dict[str, str]:
    pairs = orjson.loads(letter["headers"])
    return {name: header_text(base64.b64decode(value)) for name, value in pairs}
