"""After a restore: what the catalog itself told after its database was copied (`shared/reconciling.py`).

It hears every other stage again, for its group is put back; its own topics it does not hear. Ends come before what they
end, so that nothing waits for a person who has decided, and no request is completed twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql

from services.catalog.feed import Feed
from services.catalog.ledger.facts import Fact, hear
from services.catalog.ledger.writing import Writing
from services.catalog.review.desk import KIND
from services.catalog.review.rules import decision_id
from services.catalog.settings import CatalogSettings
from shared import ids
from shared.current import keep
from shared.events import AssetApproved, AssetRejected, ReviewRecorded
from shared.leases import NewWork, enqueue
from shared.outbox import Transaction
from shared.reconciling import Chapter, end_work, main
from shared.service import Service
from shared.topics import (
    ASSETS_APPROVED,
    ASSETS_RECALLED,
    ASSETS_REJECTED,
    DERIVATIVES_REQUESTED,
    IMAGES_PROCESSED,
    JOBS_ENDED,
    LIBRARY_ITEMS,
    REQUESTS_COMPLETED,
    REVIEWS_RECORDED,
    WORKSPACES,
)

queries: Any = aiosql.from_path(Path(__file__).parent / "review/reconcile.sql", "asyncpg")
REVIEWS_AT_MOST = 1000  # of one version: each but the last was taken back


def chapters(service: Service) -> list[Chapter]:
    feed = Feed(service.database)

    async def write(transaction: Transaction, facts: Sequence[Fact]) -> None:
        writing = Writing(transaction, feed)
        await writing.keep(facts)
        await writing.close()

    return [
        Chapter(topics=[WORKSPACES, LIBRARY_ITEMS], apply=keep),
        # First the ends of requests, for whoever completes one looks whether that was told.
        Chapter(topics=[REQUESTS_COMPLETED], apply=write, decode=hear),
        Chapter(topics=[JOBS_ENDED], apply=write, decode=hear),
        Chapter(topics=[ASSETS_APPROVED, ASSETS_REJECTED, ASSETS_RECALLED], apply=write, decode=hear),
        Chapter(topics=[DERIVATIVES_REQUESTED], apply=write, decode=hear),
        Chapter(topics=[IMAGES_PROCESSED], apply=write, decode=hear),
        Chapter(topics=[REVIEWS_RECORDED], apply=write, decode=hear),
        Chapter(topics=[REVIEWS_RECORDED], apply=decide),
        Chapter(topics=[REVIEWS_RECORDED], apply=take_back),
        Chapter(topics=[ASSETS_APPROVED, ASSETS_REJECTED], apply=conclude),
        Chapter(topics=[REVIEWS_RECORDED], apply=go_on),
    ]


async def decide(transaction: Transaction, facts: Sequence[ReviewRecorded]) -> None:
    """Decisions as they were made, each on the review it built on."""
    made = [(fact, number) for fact in _reviews(facts) if (number := review_of(fact)) is not None]
    rows = queries.tell_decisions(
        transaction.connection,
        ids=[fact.cause_id for fact, _ in made],
        workspaces=[fact.workspace for fact, _ in made],
        assets=[fact.asset_id for fact, _ in made],
        versions=[fact.asset_version_id for fact, _ in made],
        review_versions=[number for _, number in made],
        decisions=[fact.decision for fact, _ in made],
        codes=[fact.code for fact, _ in made],
        reasons=[fact.reason for fact, _ in made],
        rubrics=["\x1f".join(fact.rubric) for fact, _ in made],
        principals=[fact.by for fact, _ in made],
        times=[fact.occurred_at for fact, _ in made],
        traces=[fact.traceparent for fact, _ in made],
    )
    async for _ in rows:
        pass


async def take_back(transaction: Transaction, facts: Sequence[ReviewRecorded]) -> None:
    """Those that were taken back inside their window."""
    undone = [(fact, found) for fact in _reviews(facts) if (found := undone_by(fact)) is not None]
    await queries.tell_undone(
        transaction.connection,
        ids=[found for _, found in undone],
        principals=[fact.by for fact, _ in undone],
        times=[fact.occurred_at for fact, _ in undone],
    )
    await end_work(transaction, {found: "undone" for _, found in undone})


async def conclude(transaction: Transaction, facts: Sequence[AssetApproved | AssetRejected]) -> None:
    """Those that became facts."""
    await queries.tell_final(
        transaction.connection,
        ids=[fact.cause_id for fact in facts],
        times=[fact.occurred_at for fact in facts],
    )
    await end_work(transaction, {UUID(str(fact.cause_id)): "concluded" for fact in facts})


async def go_on(transaction: Transaction, facts: Sequence[ReviewRecorded]) -> None:
    """What is open still becomes a fact; what was taken back waits for a person again."""
    reviews = _reviews(facts)
    assets = list({fact.asset_id for fact in reviews})
    await queries.decided(transaction.connection, assets=assets)
    await queries.await_again(transaction.connection, assets=assets)
    rows = queries.left_open(transaction.connection, ids=[fact.cause_id for fact in reviews])
    due = [
        NewWork(work_id=row["decision_id"], kind=KIND, workspace=row["workspace"], payload="", delay=row["delay"])
        async for row in rows
    ]
    await enqueue(transaction.connection, due)


def review_of(fact: ReviewRecorded) -> int | None:
    """The review a decision built on, which its id is made of; None for a taking back."""
    if fact.decision == "undo":
        return None
    return _number(fact, lambda number: decision_id(fact.asset_version_id, number))


def undone_by(fact: ReviewRecorded) -> UUID | None:
    """The decision that was taken back."""
    if fact.decision != "undo":
        return None
    number = _number(fact, lambda number: ids.derive("undo", decision_id(fact.asset_version_id, number)))
    return None if number is None else decision_id(fact.asset_version_id, number)


def _number(fact: ReviewRecorded, made: Callable[[int], UUID]) -> int | None:
    return next((number for number in range(REVIEWS_AT_MOST) if str(made(number)) == str(fact.cause_id)), None)


def _reviews(facts: Sequence[Any]) -> list[ReviewRecorded]:
    return [fact for fact in facts if isinstance(fact, ReviewRecorded)]


if __name__ == "__main__":
    main("catalog", CatalogSettings, chapters)
