"""From any id to the whole life: every fact in order, what was refused on the way, and why it stands where it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from services.catalog.domain import RANKED, STEPS
from services.catalog.ledger.routed import Routed, routed
from services.catalog.ledger.why import Note, Placed, Refusal, Ruled, Situation, Why, why
from services.catalog.ledger.words import stage_of, words
from services.catalog.review.machine import named
from services.catalog.sql import queries
from shared import ids
from shared.errors import Rejected
from shared.events import FailureReason, JobStatus, PublicationState, WaitingOn
from shared.postgres import Connection

REQUESTS_SHOWN = 50  # of a batch: a life is for reading, and every request can be asked for by itself
HIDDEN = frozenset({"WorkspaceChanged"})  # names the hashes of keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an id names: `jobs` and `requests` are whose facts are its life."""

    kind: str
    requests: Sequence[UUID]
    jobs: Sequence[UUID]
    batch: UUID | None = None
    left_out: int = 0
    """Requests of a batch that are not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    found: Found
    facts: Sequence[Mapping[str, Any]]
    dead_letters: Sequence[Mapping[str, Any]]
    trace_ids: Sequence[str] = field(default_factory=list)


async def find(connection: Connection, asked: UUID) -> Found:
    """What the id names in the caller's workspace.

    Raises:
        Rejected: it names nothing there.
    """
    row = await queries.find(connection, id=asked) or await queries.find_by_reading(connection, id=asked)
    if row is None:
        raise Rejected("not_found", "this id names nothing here", str(asked), "check the id and the workspace")
    if row["kind"] == "batch":
        rows = [r async for r in queries.requests_of_batch(connection, batch=asked, many=REQUESTS_SHOWN)]
        requests = [r["request_id"] for r in rows]
        jobs = await _jobs(connection, requests)
        return Found(kind="batch", requests=requests, jobs=jobs, batch=asked, left_out=rows[0]["requests"] - len(rows))
    if row["job_id"] is None:
        requests = [row["request_id"]] if row["request_id"] else []
        return Found(kind=row["kind"], requests=requests, jobs=await _jobs(connection, requests))
    requests = [row["request_id"]] if row["request_id"] else []
    return Found(kind=row["kind"], requests=requests, jobs=[row["job_id"]])


async def life(connection: Connection, asked: UUID) -> Life:
    """Every fact of what the id names, causes before effects."""
    found = await find(connection, asked)
    abouts = [*found.requests, *found.jobs]
    facts = [_fact(row) async for row in queries.life(connection, abouts=abouts)]
    letters = [dict(row) async for row in queries.dead_letters_of(connection, abouts=abouts)]
    facts = causes_first(facts)
    traces = list(dict.fromkeys(f["trace_id"] for f in facts if f["trace_id"]))
    return Life(found=found, facts=facts, dead_letters=letters, trace_ids=traces)


def causes_first(facts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The order of time, except that no fact stands before its cause: clocks of two machines may differ."""
    by_id = {fact["event_id"]: fact for fact in facts}
    placed: dict[str, dict[str, Any]] = {}
    for fact in facts:
        chain = [fact]
        while (cause := by_id.get(chain[-1]["cause_id"])) is not None and cause not in chain:
            chain.append(cause)
        for link in reversed(chain):
            placed.setdefault(link["event_id"], link)
    return list(placed.values())


def _fact(row: asyncpg.Record) -> dict[str, Any]:
    body = orjson.loads(row["body"])
    trace = row["traceparent"] or ""
    return {
        "event_id": str(row["event_id"]),
        "type": row["type"],
        "at": row["occurred_at"],
        "stage": stage_of(row["type"], body),
        "request_id": body.get("request_id"),
        "job_id": body.get("job_id"),
        "run": body.get("run"),
        "cause_id": str(body.get("cause_id")),
        "trace_id": trace[3:35] or None,
        "span_id": trace[36:52] or None,
        "words": words(row["type"], body),
        "body": None if row["type"] in HIDDEN else body,
    }


async def _jobs(connection: Connection, requests: Sequence[UUID]) -> list[UUID]:
    return [row["job_id"] async for row in queries.jobs_of_requests(connection, requests=list(requests))]


# -- why


async def explain(connection: Connection, jobs: Sequence[Mapping[str, Any]], *, public_url: str) -> dict[UUID, Why]:
    """Job id → why, for rows of `job` or `jobs`: one statement a table, however many jobs."""
    return {situation.job_id: why(situation) for situation in await situations(connection, jobs, public_url=public_url)}


async def situations(connection: Connection, jobs: Sequence[Mapping[str, Any]], *, public_url: str) -> list[Situation]:
    wanted = [row["job_id"] for row in jobs]
    requests = list({row["request_id"] for row in jobs})
    failures = {row["job_id"]: row async for row in queries.failures_of(connection, jobs=wanted)}
    refused: dict[UUID, list[Refusal]] = {}
    async for row in queries.dead_letters_of(connection, abouts=[*wanted, *requests]):
        if row["state"] in {"waiting", "replaying"}:
            letter = Refusal(
                dead_letter_id=row["dead_letter_id"],
                group=row["consumer_group"],
                reason=row["reason"],
                detail=row["detail"],
            )
            refused.setdefault(row["about"], []).append(letter)
    placed: dict[UUID, list[Placed]] = {}
    async for row in queries.publications_of(connection, requests=requests):
        words_of = ", ".join(filter(None, (row["location"], row["detail"]))) or None
        placed.setdefault(row["job_id"], []).append(Placed(target=row["target"], state=row["state"], words=words_of))
    placed = {job: standing(found) for job, found in placed.items()}
    ruled = await _ruled(connection, jobs)
    return [
        _situation(
            row,
            failure=failures.get(row["job_id"]),
            refused=[*refused.get(row["job_id"], ()), *refused.get(row["request_id"], ())],
            placed=placed.get(row["job_id"], ()),
            ruled=ruled.get(row["job_id"]),
            public_url=public_url,
        )
        for row in jobs
    ]


def standing(placed: Sequence[Placed]) -> list[Placed]:
    """Of each target what was said last, but not of a version whose place another has taken there."""
    last: dict[str, Placed] = {}
    for one in placed:
        if one.target not in last or one.state != PublicationState.SUPERSEDED:
            last[one.target] = one
    return list(last.values())


async def _ruled(connection: Connection, jobs: Sequence[Mapping[str, Any]]) -> dict[UUID, Ruled]:
    assets = {ids.asset_id(row["job_id"], row["run"]): row["job_id"] for row in jobs}
    rows = queries.decisions_that_hold(connection, assets=list(assets))
    return {
        assets[row["asset_id"]]: Ruled(
            decision=row["decision"],
            by=named(row["principal"]),
            at=row["decided_at"],
            undo_until=row["undo_until"],
            state=row["state"],
            code=row["code"],
            reason=row["reason"],
        )
        async for row in rows
    }


async def unrouted(connection: Connection, jobs: Sequence[Mapping[str, Any]]) -> dict[UUID, Routed]:
    """Job id → why no backend may take it, of the rows of `job` or `jobs` that failed so."""
    runs = {
        row["job_id"]: row["run"]
        for row in jobs
        if RANKED[row["rank"]] is JobStatus.FAILED and row["reason"] == FailureReason.UNROUTABLE
    }
    found: dict[UUID, Routed] = {}
    async for row in queries.failed_runs(connection, jobs=list(runs)):
        fact = {"type": row["type"], "body": orjson.loads(row["body"])}
        if (route := routed([fact], run=runs[row["job_id"]])) is not None:
            found[row["job_id"]] = route
    return found


def _situation(
    row: Mapping[str, Any],
    *,
    failure: Mapping[str, Any] | None,
    refused: Sequence[Refusal],
    placed: Sequence[Placed],
    ruled: Ruled | None,
    public_url: str,
) -> Situation:
    status = RANKED[row["rank"]]
    ended = failure if failure is not None and status is JobStatus.FAILED and failure["run"] == row["run"] else None
    return Situation(
        job_id=row["job_id"],
        status=status,
        stage=STEPS[row["step"]],
        since=row["since"],
        reason=row["reason"],
        detail=ended["detail"] if ended else None,
        remedy=ended["remedy"] if ended else None,
        note=note_of(row),
        ruled=ruled,
        refused=refused,
        placed=placed,
        asset_id=ids.asset_id(row["job_id"], row["run"]),
        public_url=public_url,
    )


def preview_of(row: Mapping[str, Any]) -> str | None:
    """Where what is being made can be seen; it changes with every thumbnail, so that a page asks for the next one."""
    return f"/v1/previews/{row['job_id']}?step={row['preview']}" if row["preview"] else None


def note_of(row: Mapping[str, Any]) -> Note | None:
    """The latest progress in a row of `job` or `jobs`."""
    if row["noted_at"] is None:
        return None
    return Note(
        waiting_on=WaitingOn(row["waiting_on"]) if row["waiting_on"] else None,
        detail=row["detail"],
        at=row["noted_at"],
        attempt=row["attempt"],
        step=row["denoised"],
        steps=row["denoising"],
    )
