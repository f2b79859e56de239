"""`GET /v1/assets`: the pictures, with what a decision on each must name, their files and who decided."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response

from services.catalog.domain import COMPLETED, RANKED
from services.catalog.ledger.facts import id_of
from services.catalog.ledger.likeness import more_like
from services.catalog.ledger.reruns import KINDS, Ask, readable
from services.catalog.routes.frame import Filters, Reading, answer, read_cursor, write_cursor
from services.catalog.routes.jobs import costs_of
from services.catalog.sql import queries
from shared import ids
from shared.events import File, ImageGenerated, ImageProcessed, RequestAccepted
from shared.http import HttpProblem
from shared.identity import Caller, May


def routes(reading: Reading) -> APIRouter:
    router = APIRouter(tags=["assets"])
    may_read = Depends(reading.gate.needs(May.READ))

    @router.get("/v1/assets")
    async def list_assets(filters: Annotated[Filters, Query()], caller: Caller = may_read) -> Response:
        """Newest first; `status=completed` are those that wait for a decision or are inside its undo window.

        Each version is listed by itself: an approved one with `superseded_by` stands no more, that one does.
        """
        (seq,) = read_cursor(filters.cursor, places=1)
        async with reading.of(caller) as connection:
            rows = [
                row
                async for row in queries.assets(
                    connection, **filters.named(), ranks=filters.ranks(), seq=seq, many=filters.many() + 1
                )
            ]
        page = rows[: filters.limit]
        more = len(rows) > len(page)
        return answer(
            {"assets": [asset_of(row) for row in page], "next": write_cursor(page[-1]["seq"]) if more else None}
        )

    @router.get("/v1/assets/{asset_id}")
    async def one_asset(asset_id: UUID, caller: Caller = may_read) -> Response:
        async with reading.of(caller) as connection:
            row = await queries.asset(connection, id=asset_id)
            if row is None:
                raise no_asset(asset_id)
            facts = await facts_of(connection, row["job_id"], run=row["run"], event=row["event_id"])
            decisions = [dict(d) async for d in queries.decisions_of(connection, asset=asset_id)]
            publications = [
                dict(p)
                async for p in queries.publications_of(connection, requests=[row["request_id"]])
                if p["job_id"] == row["job_id"]
            ]
            attempts = [dict(a) async for a in queries.attempts(connection, jobs=[row["job_id"]])]
            costs = await costs_of(connection, [row])
            children = [child_of(child) async for child in queries.children(connection, asset=asset_id)]
            versions = [version_of(version) async for version in queries.versions(connection, asset=asset_id)]
            reruns = [rerun_of(ask) for ask in await asks_of(connection, row["job_id"]) if ask.asset_id == asset_id]
        return answer(
            asset_of(row)
            | costs[row["job_id"]]
            | _described(facts, public_url=reading.public_url)
            | {"decisions": decisions, "publications": publications, "attempts": attempts, "children": children}
            | {"versions": versions, "reruns": reruns}
        )

    @router.get("/v1/assets/{asset_id}/request")
    async def asset_request(asset_id: UUID, caller: Caller = may_read) -> Response:
        """The request for this very picture: what to send to have it made again, or more like it with a change."""
        async with reading.of(caller) as connection:
            row = await queries.asset(connection, id=asset_id)
            accepted = None if row is None else await accepted_of(connection, row["request_id"])
            if row is None or accepted is None:
                raise no_asset(asset_id)
            generated, _ = await facts_of(connection, row["job_id"], run=row["run"])
        seed = generated.seed if generated is not None else accepted.seed
        return answer(more_like(accepted, asset=asset_id, variant=row["variant"] or 1, seed=seed))

    return router


def asset_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """One asset as lists answer it; `decision` is the one that holds, made or already a fact."""
    return {
        "asset_id": row["asset_id"],
        "asset_version": row["asset_version_id"],
        "review_version": row["review_version"],
        "job_id": row["job_id"],
        "request_id": row["request_id"],
        "batch_id": row["batch_id"],
        "row_key": row["row_key"],
        "variant": row["variant"],
        "run": row["run"],
        "status": RANKED[row["rank"]],
        "processed_at": row["processed_at"],
        "decision": _decision(row),
        "supersedes": row["supersedes"],
        "superseded_by": row["superseded_by"],
        **{
            name: row[name]
            for name in (
                "campaign",
                "asset_type",
                "template",
                "product",
                "skus",
                "locale",
                "confidentiality",
                "parent_asset_id",
            )
        },
    }


def no_asset(asset: UUID) -> HttpProblem:
    remedy = "GET /v1/assets lists those there are; calotype trace finds one by any id of its life"
    return HttpProblem("not_found", "there is no such asset", where=str(asset), remedy=remedy)


def child_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A job that was asked to be more like an asset; its own asset once it has one."""
    made = row["rank"] >= COMPLETED
    return {
        "job_id": row["job_id"],
        "request_id": row["request_id"],
        "status": RANKED[row["rank"]],
        "asset_id": ids.asset_id(row["job_id"], row["run"]) if made else None,
    }


async def accepted_of(connection: Any, request: UUID) -> RequestAccepted | None:
    body = await queries.accepted(connection, request=request)
    return None if body is None else RequestAccepted.model_validate_json(body)


def version_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """One of an asset's versions, as its row of `versions` has it."""
    return {
        "asset_version": row["asset_version_id"],
        "supersedes": row["supersedes"],
        "status": RANKED[row["rank"]],
        "processed_at": row["processed_at"],
        "review_version": row["review_version"],
        "decision": _decision(row),
    }


async def asks_of(connection: Any, job: UUID) -> list[Ask]:
    """Every ask for the files of this job's assets by other recipes, and what came of it."""
    rows = queries.said_of(connection, about=[job], types=list(KINDS))
    return readable([orjson.loads(row["body"]) | {"type": row["type"]} async for row in rows])


def rerun_of(ask: Ask) -> dict[str, Any]:
    return {
        "asked_at": ask.at,
        "by": ask.by,
        "recipes": {channel: pin.label for channel, pin in ask.recipes.items()},
        "supersedes": ask.supersedes,
        "state": ask.state,
        "ended_at": ask.ended_at,
        "asset_version": ask.made,
        "failure": asdict(ask.failure) if ask.failure else None,
    }


def _decision(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The decision that holds in a row, made or already a fact."""
    if row["decision_id"] is None:
        return None
    return {
        "decision_id": row["decision_id"],
        "decision": row["decision"],
        "code": row["code"],
        "reason": row["reason"],
        "by": row["principal"],
        "at": row["decided_at"],
        "undo_until": row["undo_until"],
        "state": row["decision_state"],
    }


Facts = tuple[ImageGenerated | None, ImageProcessed | None]


async def facts_of(connection: Any, job: UUID, *, run: int, event: UUID | None = None) -> Facts:
    """What inference said of this run's picture, and postprocess: in the fact `event`, else in its last."""
    generated: ImageGenerated | None = None
    processed: ImageProcessed | None = None
    async for row in queries.pictures(connection, job=job):
        if orjson.loads(row["body"]).get("run", 1) != run:
            continue
        if row["type"] == "ImageGenerated":
            generated = ImageGenerated.model_validate_json(row["body"])
        elif event in {None, row["event_id"]}:
            processed = ImageProcessed.model_validate_json(row["body"])
    return generated, processed


def _described(facts: Facts, *, public_url: str) -> dict[str, Any]:
    generated, processed = facts
    described: dict[str, Any] = {}
    if processed is not None:
        described |= {
            "files": files_in(processed.asset_id, processed.published, public_url=public_url),
            "proxies": files_in(processed.asset_id, processed.proxies, public_url=public_url),
            "checks": [check.model_dump(mode="json") for check in processed.checks],
            "rubric": processed.rubric.model_dump(),
            "alt_text": processed.alt_text,
            "caption": processed.caption,
            "source_type": processed.source_type,
            "brief": processed.brief.model_dump(mode="json"),
        }
        if processed.derivatives_manifest is not None:
            manifest = files_in(processed.asset_id, [processed.derivatives_manifest], public_url=public_url)
            described["derivatives_manifest"] = manifest[0]
    if generated is not None:
        described |= {
            "model": generated.model,
            "seed": generated.seed,
            "route": generated.route.model_dump(mode="json"),
            "manifest": files_in(generated.asset_id, [generated.manifest], public_url=public_url)[0],
        }
    return described


def files_in(asset: UUID, files: Sequence[File], *, public_url: str) -> list[dict[str, Any]]:
    return [
        {
            "file_id": (found := id_of(asset, file)),
            **file.model_dump(exclude={"key"}, exclude_none=True),
            "url": f"{public_url}/v1/files/{found}",
        }
        for file in files
    ]
