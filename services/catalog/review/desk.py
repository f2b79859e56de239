"""Where people decide: one transaction a call, whether it decides on one asset or on a thousand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import structlog
from opentelemetry.trace import SpanContext

from services.catalog.feed import Feed, News
from services.catalog.ledger.facts import heard
from services.catalog.ledger.writing import Writing, dropped
from services.catalog.review.machine import REVIEW
from services.catalog.review.rules import (
    STATUS_AFTER,
    AssetVerdict,
    concluded,
    conflict,
    decision_id,
    recorded,
)
from shared.events import Event, ImageProcessed, JobStatus
from shared.http import HttpProblem
from shared.leases import Leased, NewWork, Outcome, enqueue
from shared.observability import ended_span
from shared.outbox import Outbox, Transaction
from shared.postgres import role_of

log = structlog.get_logger()
queries = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")

KIND = "decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who decides, in which workspace; `context` is the span of the HTTP request."""

    principal: str
    workspace: UUID
    context: SpanContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    asset_id: UUID
    decision_id: UUID
    undo_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """`code` is `conflict` or `not_found`; `named` says the same as `what` in fields."""

    asset_id: UUID
    code: str
    what: str
    named: Mapping[str, Any]

    def problem(self) -> HttpProblem:
        return HttpProblem(self.code, self.what, where=str(self.asset_id), **self.named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    asset_id: UUID
    review_version: int


class Desk:
    """`public_url` is where the files of an approved asset are fetched."""

    def __init__(self, outbox: Outbox, feed: Feed, *, public_url: str) -> None:
        self._outbox = outbox
        self._feed = feed
        self._public_url = public_url.rstrip("/")

    @asynccontextmanager
    async def acting(self, person: Person) -> AsyncIterator[Writing]:
        """A transaction for one person: rows of other workspaces do not exist in it."""
        async with self._outbox.transaction() as running:
            await running.connection.execute(
                "select set_config('role', $1, true), set_config('calotype.workspace', $2, true)",
                f"{role_of('catalog')}_http",
                str(person.workspace),
            )
            writing = Writing(running, self._feed)
            yield writing
            await writing.close()

    # -- deciding

    async def decide(self, person: Person, verdicts: Sequence[AssetVerdict]) -> list[Taken | Refused]:
        """Decides on each asset that still waits in the version and review the person saw; says why not on the rest."""
        wanted = {verdict.asset_id: verdict for verdict in verdicts}
        async with self.acting(person) as writing:
            answers: dict[UUID, Taken | Refused] = await self._replaced(writing, list(wanted.values()))
            taken = await self._take(writing, [v for asset, v in wanted.items() if asset not in answers])
            if taken:
                answers |= await self._record(writing, person, {row["asset_id"]: row for row in taken}, wanted)
            if missed := [verdict for asset, verdict in wanted.items() if asset not in answers]:
                answers |= await self._explain(writing, person, missed)
        return [answers[verdict.asset_id] for verdict in wanted.values()]

    async def _replaced(self, writing: Writing, verdicts: Sequence[AssetVerdict]) -> dict[UUID, Any]:
        """Refuses to approve what was made from a version that no longer stands: it would undo what replaced that."""
        approvals = [v for v in verdicts if v.decision == "approve"]
        named = {"assets": [v.asset_id for v in approvals], "versions": [v.asset_version for v in approvals]}
        if not [row async for row in queries.hold_versions(writing.connection, **named)]:
            return {}
        rows = [row async for row in queries.replaced(writing.connection, **named)]
        what = "it was made from a version that has been replaced"
        remedy = "run the recipe again over the version that stands"
        return {
            row["asset_id"]: Refused(
                asset_id=row["asset_id"],
                code="conflict",
                what=what,
                named={"remedy": remedy, "asset_version": str(row["stands"])},
            )
            for row in rows
        }

    async def _take(self, writing: Writing, verdicts: Sequence[AssetVerdict]) -> list[Any]:
        if overruling := [v for v in verdicts if v.decision == "approve" and v.review_version > REVIEW]:
            await self._overrule(writing, overruling)
        rows = queries.take(
            writing.connection,
            assets=[v.asset_id for v in verdicts],
            versions=[v.asset_version for v in verdicts],
            review_versions=[v.review_version for v in verdicts],
        )
        return [row async for row in rows]

    async def _overrule(self, writing: Writing, approvals: Sequence[AssetVerdict]) -> None:
        """An approval holds against a check's rejection, which is a fact and so is not taken back."""
        assets = [v.asset_id for v in approvals]
        _ = [row async for row in queries.hold_rejections(writing.connection, assets=assets)]
        await queries.overrule(
            writing.connection,
            assets=assets,
            versions=[v.asset_version for v in approvals],
            review_versions=[v.review_version for v in approvals],
        )

    async def _record(
        self, writing: Writing, person: Person, taken: Mapping[UUID, Any], verdicts: Mapping[UUID, AssetVerdict]
    ) -> dict[UUID, Taken | Refused]:
        """Writes the decisions, tells that they were made, and lets them become facts now or after the undo window."""
        assets = await self._documents(writing, taken.values())
        window = await queries.undo_seconds(writing.connection, workspace=person.workspace) or 0.0
        made = [self._decision(person, row, verdicts[asset], assets) for asset, row in taken.items()]
        rows = queries.write_decisions(
            writing.connection,
            ids=[d["decision_id"] for d in made],
            workspaces=[d["workspace"] for d in made],
            assets=[d["asset_id"] for d in made],
            versions=[d["asset_version_id"] for d in made],
            requests=[d["request_id"] for d in made],
            jobs=[d["job_id"] for d in made],
            runs=[d["run"] for d in made],
            review_versions=[d["review_version"] for d in made],
            decisions=[d["decision"] for d in made],
            codes=[d["code"] for d in made],
            reasons=[d["reason"] for d in made],
            rubrics=["\x1f".join(d["rubric"]) for d in made],
            principal=person.principal,
            window=window,
            traces=[d["traceparent"] for d in made],
        )
        times = {row["decision_id"]: dict(row) async for row in rows}
        made = [d | times[d["decision_id"]] for d in made]
        await writing.tell([recorded(d, assets[d["asset_version_id"]]) for d in made])
        writing.news += [_news(d, STATUS_AFTER[d["decision"]], by=d["principal"], at=d["decided_at"]) for d in made]
        if window > 0:
            await enqueue(writing.connection, [_due(d, delay=window) for d in made])
        else:
            await self.conclude(writing, [d["decision_id"] for d in made], assets)
        return {
            d["asset_id"]: Taken(asset_id=d["asset_id"], decision_id=d["decision_id"], undo_until=d["undo_until"])
            for d in made
        }

    def _decision(
        self, person: Person, row: Any, verdict: AssetVerdict, assets: Mapping[UUID, ImageProcessed]
    ) -> dict[str, Any]:
        asset = assets[row["asset_version_id"]]
        return {
            **{
                name: row[name] for name in ("workspace", "asset_id", "asset_version_id", "request_id", "job_id", "run")
            },
            "decision_id": decision_id(row["asset_version_id"], row["review_version"]),
            "review_version": row["review_version"],
            "decision": verdict.decision,
            "code": verdict.code,
            "reason": verdict.reason,
            "rubric": verdict.rubric,
            "principal": person.principal,
            "traceparent": _decided_under(asset, person, verdict),
        }

    async def _documents(self, writing: Writing, rows: Any) -> dict[UUID, ImageProcessed]:
        """Version → the fact it came from."""
        wanted = list(rows)
        found = queries.documents(
            writing.connection,
            assets=[row["asset_id"] for row in wanted],
            versions=[row["asset_version_id"] for row in wanted],
        )
        documents = {}
        async for row in found:
            asset = ImageProcessed.model_validate_json(row["body"])
            asset.__dict__["traceparent"] = row["traceparent"]  # a header, so not part of the body
            documents[row["asset_version_id"]] = asset
        return documents

    async def _explain(
        self, writing: Writing, person: Person, missed: Sequence[AssetVerdict]
    ) -> dict[UUID, Taken | Refused]:
        rows = queries.standing_of(writing.connection, assets=[v.asset_id for v in missed])
        standing = {row["asset_id"]: row async for row in rows}
        return {v.asset_id: _answer(v, standing.get(v.asset_id), person) for v in missed}

    # -- taking back

    async def undo(self, person: Person, decision: UUID) -> Undone:
        """Takes a decision back while it is not a fact.

        Raises:
            HttpProblem: it is a fact or was taken back (409), or there is none of that id (404).
        """
        async with self.acting(person) as writing:
            row = await queries.take_back(writing.connection, id=decision, principal=person.principal)
            if row is None:
                raise _not_undone(decision, await queries.decision(writing.connection, id=decision))
            asset = (await self._documents(writing, [row]))[row["asset_version_id"]]
            told: list[Event] = [recorded(row, asset, word="undo")]
            fact = heard(asset)
            # What was approved before stays so; a cancel says nothing of a version made anew.
            cancelled = await writing.buried([fact] if asset.supersedes is None else [])
            if by := cancelled.get(str(asset.job_id)):
                told.append(dropped(fact, by=by))
            else:
                await writing.await_review(fact, row["review_version"] + 1)
            await writing.tell(told)
            writing.news.append(_news(row, JobStatus.COMPLETED, by=person.principal, at=row["ended_at"]))
        return Undone(asset_id=row["asset_id"], review_version=row["review_version"] + 1)

    # -- becoming facts

    async def conclude(
        self, writing: Writing, decisions: Sequence[UUID], assets: Mapping[UUID, ImageProcessed] | None = None
    ) -> None:
        """Open decisions become AssetApproved and AssetRejected; those taken back stay taken back."""
        rows = [row async for row in queries.conclude(writing.connection, ids=list(decisions))]
        if not rows:
            return
        known = assets if assets is not None else await self._documents(writing, rows)
        facts = [concluded(row, known[row["asset_version_id"]], public_url=self._public_url) for row in rows]
        await writing.tell(facts)

    async def run_due(self, leases: Sequence[Leased]) -> list[Outcome]:
        """All the work is in the settlement, where the decision becomes a fact in one transaction with its lease."""
        return [Outcome(name="concluded", record=lease.work_id) for lease in leases]

    async def record_due(self, running: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
        writing = Writing(running, self._feed)
        await self.conclude(writing, [outcome.record for _, outcome in settled if outcome.record is not None])
        await writing.close()


def given_up(lease: Leased, why: str) -> Outcome:
    """A decision that could not be concluded stays open, so that a person can take it back and decide again."""
    log.critical("decision.stuck", decision=str(lease.work_id), why=why)
    return Outcome(name="stuck", detail=why)


def _due(decision: Mapping[str, Any], *, delay: float) -> NewWork:
    # Without its request: a cancel pulls a request's waiting work forward, and an undo window is not to be cut short.
    return NewWork(
        work_id=decision["decision_id"],
        asked_at=decision["decided_at"],
        kind=KIND,
        workspace=decision["workspace"],
        payload="",
        delay=delay,
    )


def _news(decision: Mapping[str, Any], status: JobStatus, *, by: str, at: datetime) -> News:
    what = {"asset_id": decision["asset_id"], "status": status, "by": by, "at": at}
    return News(decision["workspace"], "decision", what)


def _decided_under(asset: ImageProcessed, person: Person, verdict: AssetVerdict) -> str | None:
    """The trace goes on: a span under the asset's own context, however long ago, linked to the person's request."""
    attributes = {"calotype.asset": str(asset.asset_id), "calotype.decision": verdict.decision}
    return ended_span("asset decide", parent=asset.traceparent, link=person.context, attributes=attributes)


def _answer(verdict: AssetVerdict, row: Mapping[str, Any] | None, person: Person) -> Taken | Refused:
    if row is None:
        named = {"remedy": "GET /v1/assets lists those there are"}
        return Refused(asset_id=verdict.asset_id, code="not_found", what="there is no such asset", named=named)
    same = (row["principal"], row["decision"], row["code"], row["review_version"], row["decided_version"])
    if same == (person.principal, verdict.decision, verdict.code, verdict.review_version, verdict.asset_version):
        # The same decision, sent again: an answer got lost on its way.
        return Taken(asset_id=verdict.asset_id, decision_id=row["decision_id"], undo_until=row["undo_until"])
    what, named = conflict(row, verdict)
    return Refused(asset_id=verdict.asset_id, code="conflict", what=what, named=named)


def _not_undone(decision: UUID, row: Mapping[str, Any] | None) -> HttpProblem:
    if row is None:
        remedy = "take its id from GET /v1/assets/{id}"
        return HttpProblem("not_found", "there is no such decision", where=str(decision), remedy=remedy)
    at: datetime = row["ended_at"]
    if row["state"] == "undone":
        what, remedy = f"{row['ended_by']} took it back at {at:%H:%M} UTC", "look at the asset again"
    else:
        what, remedy = f"it became a fact at {at:%H:%M} UTC", "taking back a fact is a recall"
    return HttpProblem("conflict", what, where=str(decision), remedy=remedy, state=row["state"], at=at.isoformat())
