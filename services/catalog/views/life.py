"""One job's drawer and one asset's life: everything the ledger says, in the order a person reads it."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from services.catalog.domain import COMPLETED, PENDING
from services.catalog.ledger.likeness import more_like
from services.catalog.ledger.lives import explain, life, preview_of
from services.catalog.ledger.routed import Routed, routed
from services.catalog.sql import queries as catalog
from services.catalog.views.drawing import (
    check_of,
    decision,
    file_lines,
    made_by,
    mark_of,
    mark_of_frame,
    money_of,
    picture_of,
    publication_lines,
    row_title,
    spoken,
    title,
)
from services.catalog.views.review import apart_words, missing_words, rubric_lines
from services.catalog.views.rubrics import Rubrics
from services.catalog.views.sets import Sets
from services.catalog.views.spans import spans, waits_for
from services.catalog.views.sql import queries
from services.catalog.views.versions import rerun_lines, version_lines
from services.catalog.web.view import (
    AssetLife,
    AttemptLine,
    Child,
    Fact,
    FileLine,
    JobDetail,
    Money,
    Routing,
    Viewer,
)
from shared import ids
from shared.blobs import Blobs
from shared.events import (
    BY_TYPE,
    Event,
    ImageGenerated,
    ImageProcessed,
    PromptAssembled,
    RequestAccepted,
)
from shared.postgres import Connection

Facts = Mapping[str, Any]


async def job_detail(connection: Connection, job: UUID, *, public_url: str) -> JobDetail | None:
    rows = [row async for row in catalog.jobs_by_id(connection, ids=[job])]
    if not rows:
        return None
    row = rows[0]
    why = (await explain(connection, rows, public_url=public_url))[job]
    asset = await catalog.asset(connection, id=ids.asset_id(job, row["run"]))
    facts = await _facts(connection, row, event=asset and asset["event_id"])
    told = (await life(connection, job)).facts
    prompt, generated, processed = (facts.get(kind) for kind in ("PromptAssembled", "ImageGenerated", "ImageProcessed"))
    return JobDetail(
        job_id=job,
        name=row_title(row),
        state=mark_of(row["rank"], waits=row["waiting_on"] is not None),
        why=f"{why.sentence[:1].upper()}{why.sentence[1:]}.",
        command=why.command,
        spans=tuple(spans(told, now=datetime.now(UTC), waiting=waits_for(row, decided=_decided(told)))),
        prompt=prompt.prompt if prompt else None,
        negative_prompt=prompt.negative_prompt or None if prompt else None,
        manifest=_parameters(prompt, generated),
        files=file_lines(processed) if processed else (),
        publications=publication_lines(await _publications(connection, row)),
        asset_id=processed.asset_id if processed else None,
        thumb=picture_of(processed).thumb if processed else None,
        preview=preview_of(row),
        routing=_routing(routed(told, run=row["run"])),
        waits_in=row["request_id"] if row["rank"] == PENDING else None,
    )


async def asset_life(
    connection: Connection, asset: UUID, viewer: Viewer, *, blobs: Blobs, rubrics: Rubrics, statistics: Sets
) -> AssetLife | None:
    row = await catalog.asset(connection, id=asset)
    if row is None:
        return None
    facts = await _facts(connection, row, event=row["event_id"])
    processed: ImageProcessed = facts["ImageProcessed"]
    accepted: RequestAccepted | None = facts.get("RequestAccepted")
    prompt: PromptAssembled | None = facts.get("PromptAssembled")
    generated: ImageGenerated | None = facts.get("ImageGenerated")
    told = await life(connection, row["job_id"])
    missing = await missing_words(blobs, processed)
    cost = [c async for c in catalog.costs(connection, jobs=[row["job_id"]])]
    spent = money_of(cost[0] if cost else None)
    name = title(processed.brief)
    decisions = [d async for d in catalog.decisions_of(connection, asset=asset)]
    holds = [d for d in decisions if d["state"] != "undone"]
    here = [d for d in holds if d["asset_version_id"] == row["asset_version_id"]]
    publications = await _publications(connection, row)
    return AssetLife(
        asset_id=asset,
        asset_version_id=row["asset_version_id"],
        job_id=row["job_id"],
        request_id=row["request_id"],
        name=name,
        state=mark_of_frame(row),
        picture=picture_of(processed) if missing is None else None,
        missing=missing,
        asked_by=accepted.principal if accepted else "somebody",
        asked_at=accepted.occurred_at if accepted else processed.occurred_at,
        asked_through=_through(accepted),
        campaign=spoken(processed.brief.campaign) if processed.brief.campaign else None,
        template=processed.brief.template,
        confidentiality=processed.confidentiality,
        variables=tuple((name, str(value)) for name, value in (accepted.variables if accepted else {}).items()),
        channels=tuple(processed.brief.channels),
        prompt=prompt.prompt if prompt else "",
        negative_prompt=prompt.negative_prompt if prompt else "",
        parameters=_parameters(prompt, generated),
        made_by=made_by(generated, spent),
        refused_routes=tuple(generated.route.refused.items()) if generated else (),
        attempts=await _attempts(connection, row["job_id"]),
        cost=spent,
        files=_with_manifest(processed, generated),
        checks=tuple(map(check_of, processed.checks)),
        apart=await apart_words(connection, processed, statistics),
        rubric_label=processed.rubric.label,
        rubric=await rubric_lines(rubrics, processed, met=here[-1]["rubric"] if here else ()),
        decisions=tuple(decision(d, asset=asset, state=d["state"], name=name, viewer=viewer.name) for d in holds),
        publications=publication_lines(publications),
        versions=await version_lines(connection, row, told.facts, publications),
        reruns=tuple(rerun_lines(told.facts, asset=asset)),
        facts=tuple(
            Fact(
                at=fact["at"],
                stage=fact["stage"],
                words=f"{said(fact['type'])}: {fact['words']}",
                event_id=UUID(fact["event_id"]),
            )
            for fact in told.facts
        ),
        spans=tuple(spans(told.facts, now=datetime.now(UTC), waiting=waits_for(row, decided=bool(holds)))),
        trace_id=told.trace_ids[0] if told.trace_ids else None,
        manifest=generated.manifest.sha256 if generated else None,
        derivatives=processed.derivatives_manifest.sha256 if processed.derivatives_manifest else None,
        signed=tuple(f"{each.unsigned_sha256}:{each.sha256}" for each in processed.files if each.unsigned_sha256),
        recipes=tuple(dict.fromkeys(each.recipe for each in processed.files if each.recipe)),
        more_like=_more_like(accepted, generated, row),
        parent=row["parent_asset_id"],
        children=tuple([_child(child) async for child in catalog.children(connection, asset=asset)]),
    )


def _more_like(accepted: RequestAccepted | None, generated: ImageGenerated | None, row: Mapping[str, Any]) -> str:
    if accepted is None or generated is None:
        return ""
    asked = more_like(accepted, asset=row["asset_id"], variant=row["variant"] or 1, seed=generated.seed)
    return orjson.dumps(asked).decode()


def _child(row: Mapping[str, Any]) -> Child:
    made = ids.asset_id(row["job_id"], row["run"]) if row["rank"] >= COMPLETED else None
    return Child(job_id=row["job_id"], asset_id=made, state=mark_of(row["rank"]))


async def _facts(connection: Connection, row: Mapping[str, Any], *, event: UUID | None = None) -> dict[str, Any]:
    """The facts of the row's run that describe its picture, by kind; of its versions the one that `event` made."""
    wanted = ["RequestAccepted", "PromptAssembled", "ImageGenerated", "ImageProcessed"]
    found: dict[str, Event] = {}
    async for fact in queries.facts_about(connection, abouts=[row["request_id"], row["job_id"]], types=wanted):
        if fact["type"] == "ImageProcessed" and event not in {None, fact["event_id"]}:
            continue
        told = BY_TYPE[f"calotype.{fact['type']}"].model_validate_json(fact["body"])
        if getattr(told, "run", row["run"]) in {row["run"], 1}:  # a prompt is assembled once, in the first run
            found[fact["type"]] = told
    return found


def _decided(facts: Sequence[Facts]) -> bool:
    """Whether a decision holds, made and not taken back."""
    made = [fact["body"]["decision"] for fact in facts if fact["type"] == "ReviewRecorded"]
    return bool(made) and made[-1] != "undo"


def said(kind: str) -> str:
    """`ImageGenerated` as words."""
    return re.sub(r"(?<=.)([A-Z])", r" \1", kind).lower()


async def _publications(connection: Connection, row: Mapping[str, Any]) -> list[Any]:
    rows = catalog.publications_of(connection, requests=[row["request_id"]])
    return [p async for p in rows if p["job_id"] == row["job_id"]]


async def _attempts(connection: Connection, job: UUID) -> tuple[AttemptLine, ...]:
    return tuple(
        [
            AttemptLine(
                number=row["number"],
                backend=row["backend"],
                state=row["state"],
                seconds=row["seconds"],
                cost=Money(amount=row["cost"], currency=row["currency"]),
                call=row["provider_request_id"],
                called_for=row["latency_seconds"],
                price_list=row["price_list"],
                device_seconds=row["device_seconds"],
            )
            async for row in catalog.attempts(connection, jobs=[job])
        ]
    )


def _parameters(prompt: PromptAssembled | None, generated: ImageGenerated | None) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    if generated is not None:
        pairs += [("backend", generated.route.backend), ("model", generated.model), ("seed", str(generated.seed))]
        if generated.route.version:
            pairs.append(("version", generated.route.version))
        if generated.route.table:
            pairs.append(("routed by", generated.route.table.label))
    if prompt is not None:
        p = prompt.parameters
        pairs += [
            ("size", f"{p.width} × {p.height}"),
            ("steps", str(p.steps)),
            ("guidance", f"{p.guidance:g}"),
            ("scheduler", p.scheduler),
        ]
    return tuple(pairs)


def _with_manifest(processed: ImageProcessed, generated: ImageGenerated | None) -> tuple[FileLine, ...]:
    lines = file_lines(processed)
    if generated is None:
        return lines
    manifest = processed.model_copy(update={"original": generated.manifest, "files": []})
    return (*lines, *file_lines(manifest))


def _routing(found: Routed | None) -> Routing | None:
    if found is None:
        return None
    refused = tuple(found.refused.items())
    return Routing(chosen=found.backend, why=found.reason, table=found.table, refused=refused)


def _through(accepted: RequestAccepted | None) -> str:
    if accepted is None:
        return "a way that is not known yet"
    if accepted.brief.row_key:
        return f"row {accepted.brief.row_key} of its batch"
    return "a request of its own"
