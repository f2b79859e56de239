"""`GET /v1/trace/{any id}` and `GET /v1/why/{any id}`: answered by the ledger, never by a trace backend."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from services.catalog.domain import RANKED, STEPS
from services.catalog.ledger.lives import explain, find, life, unrouted
from services.catalog.ledger.routed import routed
from services.catalog.routes.assets import child_of
from services.catalog.routes.frame import Reading, answer
from services.catalog.routes.jobs import job_of
from services.catalog.sql import queries
from shared import ids
from shared.identity import Caller, May


def routes(reading: Reading) -> APIRouter:
    router = APIRouter(tags=["lives"])
    may_read = Depends(reading.gate.needs(May.READ))

    @router.get("/v1/trace/{any_id}")
    async def trace(any_id: UUID, caller: Caller = may_read) -> Response:
        """The whole life of what the id names, causes before effects; any id of ours will do."""
        async with reading.of(caller) as connection:
            found = await life(connection, any_id)
            rows = await _jobs(connection, found.found.jobs)
            whys = await explain(connection, rows, public_url=reading.public_url)
            children = await _children(connection, rows)
        facts: dict[UUID, list[Any]] = {row["job_id"]: [] for row in rows}
        for fact in found.facts:
            if fact["job_id"] is not None:
                facts.get(UUID(fact["job_id"]), []).append(fact)
        return answer(
            {
                "id": any_id,
                "kind": found.found.kind,
                "batch_id": found.found.batch,
                "requests": found.found.requests,
                "requests_left_out": found.found.left_out,
                "jobs": [
                    job_of(row)
                    | {
                        "why": whys[row["job_id"]].sentence,
                        "route": routed(facts[row["job_id"]], run=row["run"]),
                        "children": children.get(row["job_id"], []),
                    }
                    for row in rows
                ],
                "trace_ids": found.trace_ids,
                "facts": found.facts,
                "dead_letters": found.dead_letters,
            }
        )

    @router.get("/v1/why/{any_id}")
    async def why(any_id: UUID, caller: Caller = may_read) -> Response:
        """Per job: the cause, who owns it, when it moves, the one command. Jobs of one cause are counted together."""
        async with reading.of(caller) as connection:
            found = await find(connection, any_id)
            rows = await _jobs(connection, found.jobs)
            whys = await explain(connection, rows, public_url=reading.public_url)
            nowhere = await unrouted(connection, rows)
        statuses = Counter(RANKED[row["rank"]].value for row in rows)
        return answer(
            {
                "id": any_id,
                "kind": found.kind,
                "jobs_left_out": found.left_out,
                "statuses": statuses,
                "jobs": [
                    {
                        "job_id": row["job_id"],
                        "request_id": row["request_id"],
                        "variant": row["variant"],
                        "product": row["product"],
                        "template": row["template"],
                        "status": RANKED[row["rank"]],
                        "stage": STEPS[row["step"]],
                        "cause": whys[row["job_id"]].cause,
                        "since": whys[row["job_id"]].since,
                        "owner": whys[row["job_id"]].owner,
                        "moves": whys[row["job_id"]].moves,
                        "command": whys[row["job_id"]].command,
                        "runbook": whys[row["job_id"]].runbook,
                        "route": nowhere.get(row["job_id"]),
                    }
                    for row in rows
                ],
            }
        )

    return router


async def _children(connection: Any, rows: Sequence[Any]) -> dict[UUID, list[dict[str, Any]]]:
    """Job id → the jobs that were asked to be more like its asset; of a single job, for a batch is read as a list."""
    if len(rows) != 1:
        return {}
    (row,) = rows
    found = queries.children(connection, asset=ids.asset_id(row["job_id"], row["run"]))
    return {row["job_id"]: [child_of(child) async for child in found]}


async def _jobs(connection: Any, jobs: Any) -> list[Any]:
    return [row async for row in queries.jobs_by_id(connection, ids=list(jobs))]
