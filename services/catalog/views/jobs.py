"""The Jobs page: the strip of stages, contact sheets, what is waited for, and who is needed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.catalog.domain import COMPLETED, ENDED, RANK, RANKED, STEP
from services.catalog.ledger.lives import explain
from services.catalog.ledger.why import WAITS, Why
from services.catalog.routes.frame import read_cursor, write_cursor
from services.catalog.sql import queries as catalog
from services.catalog.views.drawing import done_at, mark_of, money_of, row_title, spoken
from services.catalog.views.life import job_detail
from services.catalog.views.sql import queries
from services.catalog.web.view import (
    SQUARES,
    SQUARES_A_SHEET,
    Batch,
    Cause,
    Choice,
    Entry,
    Jobs,
    JobsQuery,
    Mark,
    StageKey,
    StageNow,
    Viewer,
)
from shared import ids
from shared.errors import Rejected
from shared.events import JobStatus, Stage, WaitingOn
from shared.postgres import Connection

BATCHES = 5
ENTRIES = 50
MINUTES = 30
LATELY = 10  # minutes that the pace is taken over
# The column a fact leaves, and the stage that fails in it.
LEAVES: dict[StageKey, tuple[str, ...]] = {
    "intake": ("RequestAccepted",),
    "prompt": ("PromptAssembled",),
    "inference": ("ImageGenerated",),
    "postprocess": ("ImageProcessed",),
    "review": ("AssetApproved", "AssetRejected"),
    "publish": ("AssetPublished",),
}
COLUMN: dict[int, StageKey] = {
    STEP[Stage.INTAKE]: "intake",
    STEP[Stage.PROMPT]: "prompt",
    STEP[Stage.INFERENCE]: "inference",
    STEP[Stage.POSTPROCESS]: "postprocess",
    STEP[Stage.CATALOG]: "review",
    STEP[Stage.PUBLISHER]: "publish",
}
RANKS_OF = {
    "waiting": [RANK[JobStatus.PENDING], COMPLETED],
    "running": [RANK[JobStatus.RUNNING]],
    "failed": [RANK[JobStatus.FAILED]],
    "all": None,
}
SHOWS = (
    ("needs", "Needs someone"),
    ("waiting", "Waiting"),
    ("running", "Running"),
    ("failed", "Failed"),
    ("all", "All"),
)


async def jobs(connection: Connection, viewer: Viewer, query: JobsQuery, *, cursor: int, public_url: str) -> Jobs:
    flying = [row async for row in queries.in_flight(connection)]
    minutes = [row async for row in queries.minutes(connection)]
    failed = {row["stage"]: row["jobs"] async for row in queries.failed_by_stage(connection)}
    publishing = await queries.publishing(connection)
    in_flight = sum(row["jobs"] for row in flying if row["rank"] < COMPLETED)
    per_minute = sum(row["facts"] for row in minutes if row["type"] == "ImageProcessed" and row["ago"] < LATELY)
    pace = round(per_minute / LATELY, 1)
    batches = await _batches(connection, viewer, query)
    entries, after = await _entries(connection, query, public_url=public_url)
    return Jobs(
        in_flight=in_flight,
        per_minute=pace,
        done_at=done_at(in_flight, pace, datetime.now(UTC)),
        stages=tuple(_stage(key, flying, minutes, failed, publishing) for key in LEAVES),
        batches=batches,
        waiting_on=_causes(flying),
        shows=await _shows(connection, flying, failed, batches),
        entries=entries,
        cursor=cursor,
        job=await job_detail(connection, query.job, public_url=public_url) if query.job else None,
        next_entry=after,
    )


async def job_at(connection: Connection, viewer: Viewer, batch: UUID, place: int) -> UUID | None:
    single = batch == viewer.workspace_id
    found: UUID | None = await queries.square(connection, batch=batch, single=single, place=place)
    return found


# -- the strip


def _stage(
    key: StageKey,
    flying: Sequence[Mapping[str, Any]],
    minutes: Sequence[Mapping[str, Any]],
    failed: Mapping[str, int],
    publishing: Mapping[str, Any],
) -> StageNow:
    here = [row for row in flying if COLUMN[row["step"]] == key and row["rank"] <= COMPLETED]
    running = sum(row["jobs"] for row in here if row["note"] == "running")
    waiting = [row for row in here if row["note"] != "running"]
    left = [0] * MINUTES
    for row in minutes:
        if row["type"] in LEAVES[key] and 0 <= row["ago"] < MINUTES:
            left[MINUTES - 1 - row["ago"]] += row["facts"]
    if key == "publish":
        return StageNow(
            key=key,
            waiting=publishing["waiting"],
            running=0,
            failed=publishing["failed"],
            per_minute=tuple(left),
            oldest_seconds=publishing["oldest"],
        )
    stage = "catalog" if key == "review" else key
    return StageNow(
        key=key,
        waiting=sum(row["jobs"] for row in waiting),
        running=running,
        failed=failed.get(stage, 0),
        per_minute=tuple(left),
        oldest_seconds=max((row["oldest"] for row in waiting), default=None),
    )


def _causes(flying: Sequence[Mapping[str, Any]]) -> tuple[Cause, ...]:
    """Jobs in flight by what they wait for; those that said nothing wait for their stage."""
    counts: dict[str, int] = {}
    details: dict[str, str] = {}
    for row in flying:
        if row["rank"] == COMPLETED:
            key = WaitingOn.REVIEW.value
        elif row["rank"] == RANK[JobStatus.PENDING] and row["note"] not in {"", "running"}:
            key = row["note"]
        else:
            continue
        counts[key] = counts.get(key, 0) + row["jobs"]
        details[key] = row["detail"] or details.get(key, "")
    return tuple(
        Cause(key=key, words=_cause_words(key, details[key]), count=count)
        for key, count in sorted(counts.items(), key=lambda item: -item[1])
    )


def _cause_words(key: str, detail: str) -> str:
    words = WAITS.get(WaitingOn(key), (key, "", ""))[0].removeprefix("waits for ")
    return f"{words} ({detail})" if detail else words


async def _shows(
    connection: Connection,
    flying: Sequence[Mapping[str, Any]],
    failed: Mapping[str, int],
    batches: Sequence[Batch],
) -> tuple[Choice, ...]:
    needed = [row["listed"] async for row in queries.needs_someone(connection, skipped=0, many=1)]
    counts = {
        "needs": needed[0] if needed else 0,
        "waiting": sum(r["jobs"] for r in flying if r["rank"] in {0, COMPLETED} and r["note"] != "running"),
        "running": sum(r["jobs"] for r in flying if r["rank"] == RANK[JobStatus.RUNNING] or r["note"] == "running"),
        "failed": sum(failed.values()),
        "all": sum(batch.total for batch in batches),
    }
    return tuple(Choice(key=key, words=words, count=counts[key]) for key, words in SHOWS)


# -- contact sheets


async def _batches(connection: Connection, viewer: Viewer, query: JobsQuery) -> tuple[Batch, ...]:
    if query.batch is not None:
        single = query.batch == viewer.workspace_id
        rows = [await queries.batch(connection, batch=query.batch, single=single)]
    else:
        rows = [row async for row in queries.batches(connection, many=BATCHES)]
    return tuple([await _batch(connection, row, first=query.first if query.batch else 0) for row in rows if row])


async def _batch(connection: Connection, row: Mapping[str, Any], *, first: int) -> Batch:
    batch, single = row["batch_id"], row["single"]
    squares = [
        SQUARES[mark_of(square["rank"], waits=square["waits"])]
        async for square in queries.squares(connection, batch=batch, single=single, first=first, many=SQUARES_A_SHEET)
    ]
    counts: dict[Mark, int] = {}
    async for count in queries.batch_counts(connection, batch=batch, single=single):
        mark = mark_of(count["rank"], waits=count["waits"])
        counts[mark] = counts.get(mark, 0) + count["jobs"]
    return Batch(
        batch_id=batch,
        name="Single requests" if single else spoken(row["campaign"]) or f"Batch {str(batch)[:8]}",
        total=sum(counts.values()),
        counts=counts,
        squares="".join(squares),
        first=first,
        spent=money_of(await queries.spent(connection, batch=batch, single=single)),
    )


# -- the list


async def _entries(
    connection: Connection, query: JobsQuery, *, public_url: str
) -> tuple[tuple[Entry, ...], str | None]:
    if query.show == "needs" and not (query.stage or query.waiting or query.batch or query.state):
        rows, after = await _needed(connection, query)
    else:
        rows, after = await _listed(connection, query)
    whys = await explain(connection, rows, public_url=public_url)
    return tuple(_entry(row, whys[row["job_id"]]) for row in rows), after


async def _needed(connection: Connection, query: JobsQuery) -> tuple[list[Any], str | None]:
    (skipped,) = read_cursor(query.after, places=1)
    found = [row["job_id"] async for row in queries.needs_someone(connection, skipped=skipped or 0, many=ENTRIES + 1)]
    page = found[:ENTRIES]
    rows = {row["job_id"]: row async for row in catalog.jobs_by_id(connection, ids=page)}
    after = write_cursor((skipped or 0) + ENTRIES) if len(found) > ENTRIES else None
    return [rows[job] for job in page if job in rows], after


async def _listed(connection: Connection, query: JobsQuery) -> tuple[list[Any], str | None]:
    seq, variant = read_cursor(query.after, places=2)
    found = [
        row
        async for row in catalog.jobs(
            connection,
            batch=query.batch,
            request=None,
            campaign=None,
            sku=None,
            ranks=_ranks(query),
            steps=_steps(query),
            waiting=query.waiting,
            seq=seq,
            variant=variant,
            many=ENTRIES + 1,
        )
    ]
    page = found[:ENTRIES]
    more = len(found) > ENTRIES
    return page, write_cursor(page[-1]["seq"], page[-1]["variant"] or 0) if more else None


def _ranks(query: JobsQuery) -> list[int] | None:
    if query.state is not None:
        return [RANK[JobStatus.PENDING if query.state is Mark.WAITING else JobStatus(query.state.value)]]
    if query.show == "all" and query.stage:
        return [rank for rank in range(len(RANKED)) if rank < ENDED or query.stage in {"review", "publish"}]
    return RANKS_OF.get(query.show)


def _steps(query: JobsQuery) -> list[int] | None:
    if query.stage is None:
        return None
    steps = [step for step, column in COLUMN.items() if column == query.stage]
    if not steps:
        raise Rejected("invalid_request", f"there is no stage {query.stage!r}", "stage", f"one of {', '.join(LEAVES)}")
    return steps


def _entry(row: Mapping[str, Any], why: Why) -> Entry:
    mark = mark_of(row["rank"], waits=row["waiting_on"] is not None)
    return Entry(
        job_id=row["job_id"],
        name=row_title(row),
        state=mark,
        cause=why.said,
        act=_act(row, mark),
    )


def _act(row: Mapping[str, Any], mark: Mark) -> tuple[str, str] | None:
    asset = ids.asset_id(row["job_id"], row["run"])
    if mark is Mark.COMPLETED:
        return "review", f"/review?asset={asset}"
    if mark in {Mark.APPROVED, Mark.REJECTED}:
        return "its life", f"/assets/{asset}"
    return "look", f"/jobs?job={row['job_id']}"
