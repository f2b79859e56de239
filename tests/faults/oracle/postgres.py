"""The tables that invariants look at, each with the columns they need, ids as text."""

from typing import Any

import asyncpg

from tests.faults.oracle.evidence import ENDS, Kept, Row
from tests.faults.oracle.reading import NEXT_VERSION, trace_of
from tests.faults.oracle.world import World

STAGES = ("intake", "inference", "postprocess", "catalog", "publisher")
TABLES = {
    "intake.workspaces": "workspace::text, name",
    "intake.requests": "request_id::text, workspace::text, state, jobs, batch_id::text, day::text",
    "intake.batches": "batch_id::text, workspace::text, name, state",
    "intake.quotas": "workspace::text, day::text, jobs, ended, released",
    "intake.job_ends": "job_id::text, run, workspace::text, request_id::text, released",
    "intake.attempts": """attempt_id::text, workspace::text, job_id::text, state, cost, currency,
        (settled_at at time zone 'utc')::date::text as day""",
    "intake.spending": "workspace::text, day::text, currency, cost, attempts, unpriced",
    "inference.attempts": """attempt_id::text, workspace::text, job_id::text, run, number, backend, state, cost,
        currency, reserved, (started_at at time zone 'utc')::date::text as day""",
    "inference.replays": """replay_id::text, workspace::text, asset_id::text, backend, verdict, cost, currency,
        reserved,
        case when is_uncertain then 'uncertain' else state end as state,
        (started_at at time zone 'utc')::date::text as day""",
    "inference.spend": "workspace::text, day::text, currency, settled, reserved",
    "postprocess.likenesses": "asset_id::text, workspace::text, job_id::text, seq, fingerprint",
    "catalog.requests": "request_id::text, workspace::text, variants, completed_at is not null as completed",
    "catalog.jobs": "job_id::text, request_id::text, workspace::text, run, rank, reason",
    "catalog.assets": "asset_id::text, asset_version_id::text, workspace::text, job_id::text, run",
    "catalog.attempts": "attempt_id::text, workspace::text, job_id::text, run, state, cost, currency",
    "catalog.publications": "publication_id::text, workspace::text, asset_version_id::text, target, state",
    "catalog.decisions": """decision_id::text, workspace::text, asset_id::text, asset_version_id::text, job_id::text,
        run, decision, state""",
    "catalog.dead_letters": """dead_letter_id::text, workspace::text, topic, consumer_group, reason, origin,
        about::text, state""",
    "publisher.publications": """publication_id::text, workspace::text, asset_version_id::text, target, state, run,
        code, detail""",
    "publisher.targets": "workspace::text, name, state, document, extract(epoch from since)::float8 as since",
    "publisher.assets": """asset_version_id::text, workspace::text,
        extract(epoch from approved_at)::float8 as approved_at""",
}
ENDING = ", ".join(f"'{name}'" for name in ENDS)
LEDGER = f"""
select event_id::text, type, about::text, workspace::text, traceparent, extract(epoch from recorded_at)::float8 as at,
       encode(sha256(convert_to(replace(body, '{NEXT_VERSION}', ''), 'UTF8')), 'hex') as digest,
       case when type in ({ENDING}) then coalesce((body::json ->> 'run')::int, 1) end as run
from catalog.ledger
"""
UNFINISHED = " union all ".join(
    [f"select '{stage}.outbox: not sent', count(*) from {stage}.outbox where refused is null" for stage in STAGES]
    + [f"select '{stage}.outbox: refused', count(*) from {stage}.outbox where refused is not null" for stage in STAGES]
    + [f"select '{stage}.work: not ended', count(*) from {stage}.work where ready_at is not null" for stage in STAGES]
    + [
        "select 'catalog.awaiting_review: nobody decided', count(*) from catalog.awaiting_review",
        "select 'catalog.decisions: open', count(*) from catalog.decisions where state = 'open'",
        "select 'intake.batches: not read', count(*) from intake.batches where state in ('expanding', 'cancelling')",
    ]
)


async def tables(world: World) -> tuple[dict[str, list[Row]], list[Kept], dict[str, int]]:
    """Rows by table, the ledger, and what is not finished."""
    connection = await asyncpg.connect(world.database_url, timeout=30)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows: dict[str, list[Row]] = {
                name: [dict(row) for row in await connection.fetch(f"select {columns} from {name}")]
                for name, columns in TABLES.items()
            }
            kept = [_kept(row) async for row in connection.cursor(LEDGER, prefetch=2000)]
            unfinished = {name: many for name, many in await connection.fetch(UNFINISHED) if many}
    finally:
        await connection.close()
    return rows, kept, unfinished


def _kept(row: Any) -> Kept:
    return Kept(
        id=row["event_id"],
        type=row["type"],
        about=row["about"],
        workspace=row["workspace"],
        digest=row["digest"],
        at=row["at"],
        run=row["run"] or 1,
        trace=trace_of(row["traceparent"]),
    )
