"""After a restore: publications whose end was told are not done again (`shared/reconciling.py`).

One that was delivered and not told is safe too: the worker looks it up at its target, or sends it under the same key.
"""

from collections.abc import Sequence
from uuid import UUID

import orjson

from services.publisher.handler import KIND
from services.publisher.settings import PublisherSettings
from services.publisher.sql import queries
from services.publisher.superseding import hold_versions, supersede
from shared.events import (
    AssetPublished,
    AssetSuperseded,
    PublicationFailed,
    PublicationState,
    PublicationWithdrawn,
)
from shared.outbox import Transaction
from shared.reconciling import Chapter, Told, main, settle_told
from shared.service import Service
from shared.topics import ASSETS_PUBLISHED

Ended = AssetPublished | PublicationFailed | AssetSuperseded
Fact = Ended | PublicationWithdrawn


def chapters(_service: Service) -> list[Chapter]:
    return [Chapter(topics=[ASSETS_PUBLISHED], apply=settle)]


async def settle(transaction: Transaction, facts: Sequence[Fact]) -> None:
    """One that is superseded was delivered before, as a rule: its place and receipts are kept.

    That one was superseded may have been lost with the backup: it is said again of what its target serves no more.
    """
    ids = [fact.publication_id for fact in facts if not isinstance(fact, PublicationWithdrawn)]
    await hold_versions(transaction, ids)
    await _tell(transaction, [fact for fact in facts if isinstance(fact, AssetPublished | PublicationFailed)])
    await _tell(transaction, [fact for fact in facts if isinstance(fact, AssetSuperseded)])
    await supersede(transaction, ids, now=await queries.now(transaction.connection))


async def _tell(transaction: Transaction, ends: Sequence[Ended]) -> None:
    if not ends:
        return
    failures = [fact if isinstance(fact, PublicationFailed) else None for fact in ends]
    deliveries = [fact if isinstance(fact, AssetPublished) else None for fact in ends]
    await queries.tell_publications(
        transaction.connection,
        ids=[fact.publication_id for fact in ends],
        workspaces=[fact.workspace for fact in ends],
        requests=[fact.request_id for fact in ends],
        jobs=[fact.job_id for fact in ends],
        assets=[fact.asset_id for fact in ends],
        versions=[fact.asset_version_id for fact in ends],
        targets=[fact.target for fact in ends],
        confidentialities=[fact.confidentiality for fact in ends],
        runs=[_run(fact.cause_id) for fact in ends],
        states=[_state(fact) for fact in ends],
        codes=[failed and failed.code for failed in failures],
        details=[_detail(fact) for fact in ends],
        remedies=[failed and failed.remedy for failed in failures],
        locations=[delivered and delivered.location for delivered in deliveries],
        receipts=[
            delivered and orjson.dumps([receipt.model_dump() for receipt in delivered.receipts]).decode()
            for delivered in deliveries
        ],
        verified=[delivered and delivered.verified for delivered in deliveries],
        times=[fact.occurred_at for fact in ends],
    )
    await settle_told(
        transaction,
        [
            Told(
                work_id=fact.publication_id,
                kind=KIND,
                workspace=fact.workspace,
                request_id=fact.request_id,
                job_id=fact.job_id,
                run=_run(fact.cause_id),
                outcome=_state(fact),
            )
            for fact in ends
        ],
    )


def _state(fact: Ended) -> PublicationState:
    if isinstance(fact, AssetPublished):
        return PublicationState.DELIVERED
    if isinstance(fact, AssetSuperseded):
        return PublicationState.SUPERSEDED
    return PublicationState.UNCERTAIN if fact.uncertain else PublicationState.FAILED


def _detail(fact: Ended) -> str | None:
    if isinstance(fact, AssetSuperseded):
        return f"superseded by {fact.superseded_by}"
    return fact.detail if isinstance(fact, PublicationFailed) else None


def _run(cause: UUID | str) -> int:
    """A fresh start's number stands behind the approval's id (`Delivery.cause`)."""
    _, *more = str(cause).split("/")
    return next((int(word) for word in more if word.isdigit()), 1)


if __name__ == "__main__":
    main("publisher", PublisherSettings, chapters)
