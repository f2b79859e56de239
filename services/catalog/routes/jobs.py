"""`GET /v1/jobs`: where everything is, as a list, as counts, and one by one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from services.catalog.domain import COMPLETED, RANKED, STEPS
from services.catalog.ledger.lives import explain, preview_of
from services.catalog.routes.frame import Filters, Reading, answer, read_cursor, steps_of, write_cursor
from services.catalog.sql import queries
from shared import ids
from shared.events import Stage, WaitingOn
from shared.http import HttpProblem
from shared.identity import Caller, May

Grouping = Literal["status", "stage", "batch", "campaign", "waiting_on"]


class JobFilters(Filters):
    stage: Annotated[list[Stage] | None, Query(description="Any of these")] = None
    waiting_on: WaitingOn | None = None
    group: Annotated[Grouping | None, Query(description="Counts by this instead of a list")] = None


def routes(reading: Reading) -> APIRouter:
    router = APIRouter(tags=["jobs"])
    may_read = Depends(reading.gate.needs(May.READ))

    @router.get("/v1/jobs")
    async def list_jobs(filters: Annotated[JobFilters, Query()], caller: Caller = may_read) -> Response:
        """Newest request first, or with `group` the counts by it. `next` is the cursor of the page after this one."""
        if filters.group is not None:
            return answer(await _counts(reading, caller, filters))
        seq, variant = read_cursor(filters.cursor, places=2)
        async with reading.of(caller) as connection:
            rows = [
                row
                async for row in queries.jobs(
                    connection,
                    **filters.named(),
                    ranks=filters.ranks(),
                    steps=steps_of(filters.stage),
                    waiting=filters.waiting_on,
                    seq=seq,
                    variant=variant,
                    many=filters.many() + 1,
                )
            ]
            page = rows[: filters.limit]
            whys = await explain(connection, page, public_url=reading.public_url)
            costs = await costs_of(connection, page)
        more = len(rows) > len(page)
        return answer(
            {
                "jobs": [job_of(row) | {"why": whys[row["job_id"]].sentence, **costs[row["job_id"]]} for row in page],
                "next": write_cursor(page[-1]["seq"], page[-1]["variant"] or 0) if more else None,
            }
        )

    @router.get("/v1/jobs/{job_id}")
    async def one_job(job_id: UUID, caller: Caller = may_read) -> Response:
        async with reading.of(caller) as connection:
            rows = [row async for row in queries.jobs_by_id(connection, ids=[job_id])]
            if not rows:
                remedy = "GET /v1/jobs lists those there are; calotype trace finds one by any id of its life"
                raise HttpProblem("not_found", "there is no such job", where=str(job_id), remedy=remedy)
            row = rows[0]
            whys = await explain(connection, [row], public_url=reading.public_url)
            attempts = [dict(a) async for a in queries.attempts(connection, jobs=[job_id])]
            publications = [
                dict(p)
                async for p in queries.publications_of(connection, requests=[row["request_id"]])
                if p["job_id"] == job_id
            ]
            costs = await costs_of(connection, [row])
        found = whys[job_id]
        return answer(
            job_of(row)
            | costs[job_id]
            | {
                "why": found.sentence,
                "cause": found.cause,
                "owner": found.owner,
                "moves": found.moves,
                "command": found.command,
                "runbook": found.runbook,
                "attempts": attempts,
                "publications": publications,
            }
        )

    return router


def job_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """One job as it is answered everywhere."""
    rank, run = row["rank"], row["run"]
    waiting = "review" if rank == COMPLETED else row["waiting_on"]
    return {
        "job_id": row["job_id"],
        "request_id": row["request_id"],
        "batch_id": row["batch_id"],
        "row_key": row["row_key"],
        "variant": row["variant"],
        "run": run,
        "status": RANKED[rank],
        "stage": STEPS[row["step"]],
        "since": row["since"],
        "reason": row["reason"],
        "waiting_on": waiting,
        "waiting_since": row["since"] if waiting == "review" else row["noted_at"] if waiting else None,
        "detail": row["detail"],
        "step": row["denoised"],
        "steps": row["denoising"],
        "preview": preview_of(row),
        "asset_id": ids.asset_id(row["job_id"], run) if rank >= COMPLETED else None,
        **{
            name: row[name]
            for name in (
                "campaign",
                "asset_type",
                "template",
                "product",
                "skus",
                "locale",
                "headline",
                "priority",
                "confidentiality",
                "principal",
                "accepted_at",
                "parent_asset_id",
            )
        },
    }


async def costs_of(connection: Any, rows: list[Any]) -> dict[UUID, dict[str, Any]]:
    """Job id → what its attempts cost together; null where one is unknown, or none is known of."""
    costs: dict[UUID, dict[str, Any]] = {row["job_id"]: {"cost": None, "currency": None} for row in rows}
    async for row in queries.costs(connection, jobs=list(costs)):
        costs[row["job_id"]] = {"cost": row["cost"], "currency": row["currency"]}
    return costs


async def _counts(reading: Reading, caller: Caller, filters: JobFilters) -> dict[str, Any]:
    groups: dict[str | None, dict[str, int]] = {}
    async with reading.of(caller) as connection:
        async for row in queries.counts(connection, grouping=filters.group, **filters.named()):
            statuses = groups.setdefault(_key(filters.group, row["key"]), {})
            statuses[RANKED[row["rank"]]] = row["jobs"]
    return {
        "groups": [{"key": key, "jobs": sum(found.values()), "statuses": found} for key, found in groups.items()],
        "jobs": sum(sum(found.values()) for found in groups.values()),
    }


def _key(grouping: str | None, key: str | None) -> str | None:
    if key is None:
        return None
    if grouping == "status":
        return RANKED[int(key)]
    return STEPS[int(key)] if grouping == "stage" else key
