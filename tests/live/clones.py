"""Many copies of one campaign's facts, each with ids of its own, and their catalog rows with the copy's ids taken out.

An id of copy n is the original's with n in its last eight digits, which costs one replacement in a text; only a job's
id is derived anew, because the catalog derives it too. So thousands of orders go through the real SQL in large
batches, and every copy must leave the rows that the first one left.
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from services.catalog.feed import Feed
from services.catalog.ledger.facts import Fact, file_id, files_of, heard
from services.catalog.ledger.writing import Writing
from shared import ids
from shared.events import Event
from shared.kafka import Producer
from shared.outbox import Outbox
from shared.postgres import Pool, open_pool
from shared.settings import KafkaSettings
from tests.catalog.facts import WORKSPACE, Request

UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TAIL = "<<tail>>"

Rows = dict[str, frozenset[str]]

# What each table says of a campaign. Left out: order of arrival (`seq`), when this database heard of it, and what is
# told to listeners or drawn as a line (`feed`, `pace`). Of the ledger the facts that were heard; what the catalog told
# on the way says what was true then, so it may differ with the order and has rules of its own.
TABLES = {
    "jobs": "job_id, request_id, run, variant, rank, step, reason, "
    "case when rank = 3 and step = 4 then null else since end as since",
    "requests": "request_id, campaign, variants, accepted_at, completed_at is not null as completed",
    "progress": "job_id, run, noted_at, step, waiting_on, detail",
    "failures": "job_id, run, request_id, failed_at, stage, reason, detail, remedy",
    "attempts": "job_id, attempt_id, run, number, backend, state, cost, currency, seconds, settled",
    "assets": "asset_id, asset_version_id, request_id, job_id, run, event_id, processed_at, supersedes",
    "measures": "asset_id, asset_version_id, job_id, run, campaign, asset_type, exposure, product_scale, centre_x, "
    "centre_y, colours",
    "files": "file_id, job_id, event_id",
    "publications": "publication_id, request_id, job_id, asset_version_id, target, rank, state, location, detail, "
    "changed_at",
    "awaiting_review": "asset_id, asset_version_id, request_id, job_id, run, review_version, supersedes",
    "decisions": "asset_id, asset_version_id, request_id, job_id, run, review_version, decision, code, reason, "
    "principal, decided_at, undo_until, state, ended_at",
    "tombstones": "request_id, job_id, cancelled_by, reason",
    "ledger": "about, event_id, type, occurred_at, traceparent, length(body) as length",
}
TOLD = (
    "type in ('ReviewNeeded', 'RequestCompleted') or (type = 'JobCancelled' and body::jsonb ->> 'stage' = 'catalog')"
    " or (type = 'AssetRejected' and body::jsonb -> 'by' ->> 'principal' like 'check:%')"
)


@dataclass(frozen=True, slots=True)
class Original:
    """The facts that are copied, as one text with a hole wherever an id ends."""

    facts: Sequence[Event]
    text: str
    heard: Sequence[Fact]
    jobs: Sequence[tuple[UUID, int, str]]
    """Of each job: its request, its variant, and its id in `text`."""

    @classmethod
    def of(cls, requests: Sequence[Request], facts: Sequence[Event]) -> "Original":
        known = [heard(fact) for fact in facts]
        jobs = [(r.request_id, job.variant, str(job.job_id)) for r in requests for job in r.jobs]
        kept = {job for _, _, job in jobs} | {str(WORKSPACE)}

        def holed(found: re.Match[str]) -> str:
            return found[0] if found[0] in kept else found[0][:28] + TAIL

        text = "\n".join(UUIDS.sub(holed, fact.text) for fact in known)
        return cls(facts, text, known, jobs)

    def copy(self, number: int) -> "Copy":
        tail = f"{number:08x}"
        text, names = self.text.replace(TAIL, tail), {}
        for request, variant, job in self.jobs:
            own = str(ids.job_id(UUID(str(request)[:28] + tail), variant))
            text = text.replace(job, own)
            names[own] = job
        facts = [
            Fact(fact.kind, orjson.loads(words), fact.at, fact.trace, words)
            for fact, words in zip(self.heard, text.split("\n"), strict=True)
        ]
        for fact in facts:
            for place, file in enumerate(files_of(fact.kind, fact.body)):
                asset = fact.body["asset_id"]
                found = file_id(asset, file["sha256"], file.get("recipe"), file.get("rendition"))
                names[str(found)] = f"file {place} of {fact.body['event_id'][:28]}"
        return Copy(number, facts, names)


@dataclass(slots=True)
class Copy:
    number: int
    facts: list[Fact]
    names: dict[str, str]
    """Ids that are derived and not only marked: what each is called in every copy."""
    told: list[list[int]] = field(default_factory=list)
    """Batch by batch, which facts it hears."""

    def name(self, row: str) -> str:
        """A row's text as every copy should have it."""

        def named(found: re.Match[str]) -> str:
            return self.names.get(found[0]) or found[0][:28]

        return UUIDS.sub(named, row)

    def order(self) -> str:
        return " | ".join(", ".join(f"{n}:{self.facts[n].kind}" for n in batch) for batch in self.told)


@dataclass(frozen=True, slots=True)
class Books:
    """A catalog's tables and what writes them; nothing leaves."""

    pool: Pool
    outbox: Outbox
    feed: Feed

    async def hear(self, facts: Sequence[Fact]) -> None:
        """One transaction of the catalog's Kafka edge."""
        async with self.outbox.transaction() as running:
            writing = Writing(running, self.feed)
            await writing.keep(facts)
            await writing.close()

    async def rows_of(self, copies: Iterable[Copy]) -> dict[int, Rows]:
        """Copy → table → its rows, with the copy's ids taken out."""
        by_id: dict[str, Copy] = {}
        for copy in copies:
            by_id |= dict.fromkeys(copy.names, copy)
            by_id[f"{copy.number:08x}"] = copy
        found: dict[int, dict[str, set[str]]] = {}
        for table, columns in TABLES.items():
            kept = f"where not ({TOLD})" if table == "ledger" else ""
            query = f"select t::text as row from (select {columns} from {table} {kept}) t"
            for record in await self.pool.fetch(query):
                row: str = record["row"]
                first = row[1:37]  # every row begins with an id of its copy
                copy = by_id.get(first) or by_id[first[28:]]
                found.setdefault(copy.number, {}).setdefault(table, set()).add(copy.name(row))
        return {n: {table: frozenset(rows) for table, rows in tables.items()} for n, tables in found.items()}

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What the catalog said itself: kind and body."""
        rows = await self.pool.fetch(f"select type, body from ledger where {TOLD}")
        return [(row["type"], orjson.loads(row["body"])) for row in rows]

    async def forget(self) -> None:
        # As whoever logged in: the pipeline's role may not truncate.
        await self.pool.execute(f"begin; set local role none; truncate {', '.join(TABLES)}, outbox, feed, pace; commit")


@asynccontextmanager
async def open_books(url: str) -> AsyncIterator[Books]:
    pool = await open_pool(url, stage="catalog")
    try:
        yield Books(pool, Outbox(pool, Producer(KafkaSettings(kafka_bootstrap="127.0.0.1:1"))), Feed(pool))
    finally:
        await pool.close()
