"""Writes a batch of facts, and says what became true by it: an asset waits for a person, a job or a request has ended.

One `Writing` is one transaction's. Rows are locked in one order (jobs, then assets that wait, then requests, the feed
last), each table's by key, so that two transactions wait for each other in one direction only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import asyncpg

from services.catalog.domain import COMPLETED, ENDED, RANK, WORDS, Body
from services.catalog.feed import Feed, News
from services.catalog.ledger.facts import Batch, Fact, Row, gather, heard
from services.catalog.review import machine
from services.catalog.sql import arrays
from shared import ids, leases
from shared.events import (
    CancelRequested,
    Confidentiality,
    Event,
    JobCancelled,
    JobStatus,
    RequestCompleted,
    ReviewNeeded,
    Stage,
)
from shared.leases import queries as tombstones
from shared.outbox import Transaction

queries = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")


@dataclass(slots=True)
class Writing:
    """What one transaction adds to the ledger. `close` before the commit."""

    transaction: Transaction
    feed: Feed
    news: list[News] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    """Requests of which a job has just ended."""
    retried: set[str] = field(default_factory=set)
    """Requests of which a job has begun a fresh run."""
    pace: Counter[tuple[str, datetime, str]] = field(default_factory=Counter)

    @property
    def connection(self) -> Any:
        return self.transaction.connection

    async def keep(self, facts: Iterable[Fact]) -> None:
        """Writes facts that were heard, and tells what follows from them."""
        batch = gather(facts)
        changed = await self._write(batch)
        told: list[Event] = []
        if batch.assets:
            told += await self._arrive(batch, changed)
        if batch.cancels:
            told += await self._cancel([CancelRequested.model_validate(cancel.body) for cancel in batch.cancels])
        if passed := [job for job, row in changed.items() if row["rank"] >= ENDED or row["run"] > 1]:
            await queries.stop_waiting(self.connection, jobs=passed, ended=ENDED)
        await self._rows(queries.stop_waiting_for, batch.decided)
        await self.tell(told)

    async def tell(self, events: Sequence[Event]) -> None:
        """Facts of the catalog's own: into the outbox and, as the catalog does not hear itself, into the ledger."""
        if events:
            self.transaction.emit(*events)
            await self.keep(map(heard, events))

    async def close(self) -> None:
        """Completes requests whose last job has ended, then tells listeners; both under locks held to the commit."""
        if self.ended or self.retried:
            await self._complete(self.ended | self.retried)
        if self.pace:
            await self._rows(queries.keep_pace, [(*minute, count) for minute, count in self.pace.items()])
        await self.feed.tell(self.transaction, self.news)

    async def _write(self, batch: Batch) -> Mapping[str, asyncpg.Record]:
        """The rows of every table; job id → row of the jobs whose standing changed."""
        written = await self._rows(queries.write_facts, batch.facts)
        if written == f"INSERT 0 {len(batch.facts)}":  # else some were heard before: then none of them is counted
            self.pace.update((row[2], row[4].replace(second=0, microsecond=0), row[3]) for row in batch.facts)
        self.retried |= batch.retried
        return await self.project(batch)

    async def project(self, batch: Batch) -> Mapping[str, asyncpg.Record]:
        """What the facts add up to, written into the tables that people read; the ledger is not touched."""
        await self._rows(queries.write_requests, batch.requests)
        changed = await self._fold(batch) if batch.standings else {}
        await self._rows(queries.note_progress, list(batch.progress.values()))
        await self._rows(queries.write_failures, list(batch.failures.values()))
        await self._rows(queries.write_attempts, list(batch.attempts.values()))
        await self._rows(queries.write_files, list(batch.files.values()))
        await self._rows(queries.write_publications, list(batch.publications.values()))
        await self._rows(queries.write_measures, batch.measures)
        await self._rows(queries.write_rejections, batch.rejections)
        return changed

    async def _rows(self, query: Any, rows: Sequence[Row]) -> str | None:
        """One statement for all rows, or none for none; answers with what Postgres says it did."""
        return await query(self.connection, **arrays(query, rows)) if rows else None

    async def _fold(self, batch: Batch) -> dict[str, asyncpg.Record]:
        rows = queries.fold_jobs(self.connection, **arrays(queries.fold_jobs, batch.standings))
        changed = {str(row["job_id"]): row async for row in rows}
        for job, row in changed.items():
            self.news.append(News(row["workspace"], "job", {"job_id": job, "status": WORDS[row["rank"]]}))
            if row["rank"] >= ENDED:
                self.ended.add(str(row["request_id"]))
        if batch.requests and len(changed) < len(batch.standings):
            # A job may have ended before its request was heard of: a standing that did not change says so.
            self.ended.update(s.request_id for s in batch.standings if s.job_id not in changed)
        # A note may say only that a job still runs: worth telling, though its standing is the same.
        for job, row in batch.progress.items():
            if job not in changed:
                status = JobStatus.RUNNING if row[5] is None else JobStatus.PENDING
                self.news.append(News(row[1], "job", {"job_id": job, "status": WORDS[RANK[status]]}))
        return changed

    # -- an asset has arrived: a check rejects it or a person can decide, unless somebody cancelled meanwhile

    async def _arrive(self, batch: Batch, changed: Mapping[str, asyncpg.Record]) -> list[Event]:
        await queries.share_cancels(self.connection)
        open_ = await self.project_assets(batch)
        arrived = [fact for fact in batch.assets if fact.body["asset_version_id"] in open_]
        rejected = {fact.body["event_id"]: fact for fact in arrived if machine.rejecting(fact.body)}
        waiting = [fact for fact in arrived if fact.body["event_id"] not in rejected]
        self.news += [_waits(fact.body) for fact in waiting]
        told: list[Event] = [review_needed(fact) for fact in waiting]
        told += [machine.rejected(fact.body, at=fact.at, trace=fact.trace) for fact in rejected.values()]
        if len(open_) < len(batch.assets):
            told += await self._drop(batch.assets, changed)
        return told

    async def project_assets(self, batch: Batch) -> set[str]:
        """Writes the assets; says which versions have just arrived, and wait for a person or are rejected at once."""
        rows = [
            (
                (body := fact.body)["asset_id"],
                body["asset_version_id"],
                body["workspace"],
                body["request_id"],
                body["job_id"],
                body.get("run", 1),
                body["event_id"],
                fact.at,
                machine.rejecting(body) is not None,
                body.get("supersedes"),
            )
            for fact in batch.assets
        ]
        if not rows:
            return set()
        found = queries.write_assets(self.connection, **arrays(queries.write_assets, rows))
        return {str(row["asset_version_id"]) async for row in found}

    async def _drop(self, assets: Sequence[Fact], changed: Mapping[str, asyncpg.Record]) -> list[Event]:
        """Of assets that have just arrived, those whose job somebody had cancelled."""
        new = [
            fact
            for fact in assets
            if not fact.body.get("supersedes")
            and _is_completed(changed.get(fact.body["job_id"]), fact.body.get("run", 1))
        ]
        cancelled = await self.buried(new)
        return [dropped(fact, by=by) for fact in new if (by := cancelled.get(fact.body["job_id"]))]

    async def buried(self, assets: Sequence[Fact]) -> dict[str, str]:
        """Job id → who asked for its end, of these assets' jobs."""
        await queries.share_cancels(self.connection)
        rows = tombstones.buried(
            self.connection,
            requests=[fact.body["request_id"] for fact in assets],
            jobs=[fact.body["job_id"] for fact in assets],
        )
        return {str(row["job_id"]): row["cancelled_by"] async for row in rows}

    async def await_review(self, asset: Fact, review_version: int) -> None:
        """From here on a person can decide on it again; their decision builds on `review_version`."""
        body = asset.body
        waits = await queries.await_review(
            self.connection,
            asset=body["asset_id"],
            version=body["asset_version_id"],
            workspace=body["workspace"],
            request=body["request_id"],
            job=body["job_id"],
            run=body.get("run", 1),
            review_version=review_version,
            supersedes=body.get("supersedes"),
        )
        if waits:
            self.news.append(_waits(body))

    # -- somebody asked for an end

    async def _cancel(self, cancels: Sequence[CancelRequested]) -> list[Event]:
        """Drops what waits here for a person; what is decided already, in its undo window, stays decided."""
        await queries.hold_cancels(self.connection)
        await leases.bury(self.connection, cancels)
        rows = queries.drop_cancelled(
            self.connection, requests=[c.request_id for c in cancels], jobs=[c.job_id for c in cancels]
        )
        return [_obeyed(row, _cancel_of(row, cancels)) async for row in rows]

    # -- every job of a request has ended

    async def _complete(self, requests: Iterable[str]) -> None:
        held = [row["request_id"] async for row in queries.hold_requests(self.connection, requests=list(requests))]
        if not held:
            return
        if self.retried:
            await queries.reopen_requests(self.connection, requests=list(self.retried), ended=ENDED)
        jobs: dict[UUID, list[asyncpg.Record]] = {}
        async for row in queries.ended_jobs(self.connection, requests=held, ended=ENDED):
            jobs.setdefault(row["request_id"], []).append(row)
        if not jobs:
            return
        costs = {
            row["job_id"]: row
            async for row in queries.cost_of(
                self.connection, jobs=[row["job_id"] for rows in jobs.values() for row in rows]
            )
        }
        await queries.complete_requests(self.connection, requests=list(jobs))
        ends = [completed(rows, costs) for rows in jobs.values()]
        known = queries.told_before(
            self.connection, abouts=[end.request_id for end in ends], ids=[end.event_id for end in ends]
        )
        told = {row["event_id"] async for row in known}
        await self.tell([end for end in ends if end.event_id not in told])


def _is_completed(row: asyncpg.Record | None, run: int) -> bool:
    return row is not None and row["run"] == run and row["rank"] == COMPLETED


def _waits(asset: Body) -> News:
    return News(asset["workspace"], "asset", {"asset_id": asset["asset_id"], "status": WORDS[COMPLETED]})


def _caused_by(asset: Fact) -> dict[str, Any]:
    """What a fact says that follows from an asset's arrival."""
    body = asset.body
    return {
        "cause_id": body["event_id"],
        "occurred_at": asset.at,
        "workspace": body["workspace"],
        "client_reference": body.get("client_reference"),
        "traceparent": asset.trace,
        "request_id": body["request_id"],
        "job_id": body["job_id"],
        "confidentiality": body.get("confidentiality", Confidentiality.UNKNOWN),
    }


def review_needed(asset: Fact) -> ReviewNeeded:
    return ReviewNeeded.of(
        **_caused_by(asset), asset_id=asset.body["asset_id"], asset_version_id=asset.body["asset_version_id"]
    )


def dropped(asset: Fact, *, by: str) -> JobCancelled:
    """The asset of a job that was cancelled before it got here."""
    return JobCancelled.of(**_caused_by(asset), run=asset.body.get("run", 1), stage=Stage.CATALOG, by=by)


def _cancel_of(row: asyncpg.Record, cancels: Sequence[CancelRequested]) -> CancelRequested:
    return next(c for c in cancels if c.request_id == row["request_id"] and c.job_id in {None, row["job_id"]})


def _obeyed(row: asyncpg.Record, cancel: CancelRequested) -> JobCancelled:
    return JobCancelled.of(
        cause_id=cancel.event_id,
        occurred_at=row["dropped_at"],
        workspace=row["workspace"],
        client_reference=cancel.client_reference,
        traceparent=row["traceparent"],
        request_id=row["request_id"],
        job_id=row["job_id"],
        run=row["run"],
        stage=Stage.CATALOG,
        by=cancel.by,
    )


def completed(jobs: Sequence[asyncpg.Record], costs: Mapping[UUID, Any]) -> RequestCompleted:
    """The fact that all of a request's jobs ended. The same ends give the same id; a fresh run gives another."""
    ends = sorted((str(row["job_id"]), row["run"], WORDS[row["rank"]]) for row in jobs)
    counts: dict[str, int] = {}
    for _, _, status in ends:
        counts[status] = counts.get(status, 0) + 1
    known = [costs[row["job_id"]] for row in jobs if row["job_id"] in costs]
    currencies = {row["currency"] for row in known}
    is_known = bool(known) and all(row["cost"] is not None and row["currencies"] == 1 for row in known)
    return RequestCompleted.of(
        cause_id=ids.digest_of(f"{job},{run},{status}" for job, run, status in ends),
        occurred_at=max(row["since"] for row in jobs),
        workspace=jobs[0]["workspace"],
        traceparent=jobs[0]["traceparent"],
        request_id=jobs[0]["request_id"],
        jobs=counts,
        cost=sum((row["cost"] for row in known), Decimal(0)) if is_known and len(currencies) == 1 else None,
        currency=currencies.pop() if len(currencies) == 1 else "USD",
    )
