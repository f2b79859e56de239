"""After a restore: what intake told after its database was copied, written back into it (`shared/reconciling.py`).

A request that was told is accepted, with the answer it had; a key that was revoked is revoked. What was answered over
HTTP and had not reached Kafka is gone: whoever asks again under the same key is accepted then.
"""

from collections.abc import Sequence

import orjson

from services.intake.acceptance import queries
from services.intake.domain import answer
from services.intake.settings import IntakeSettings
from shared import leases
from shared.blobs import Blobs, library_key
from shared.current import keep_workspaces
from shared.current import queries as current
from shared.errors import BlobMissing
from shared.events import CancelRequested, LibraryItemChanged, RequestAccepted, RequestRejected, WorkspaceChanged
from shared.newest import Current, keep_newest
from shared.outbox import Transaction
from shared.reconciling import Chapter, main
from shared.service import Service
from shared.topics import CANCELS_REQUESTED, LIBRARY_ITEMS, REQUESTS_ACCEPTED, REQUESTS_REJECTED, WORKSPACES


def chapters(service: Service) -> list[Chapter]:
    async def keep_current(transaction: Transaction, states: Sequence[Current]) -> None:
        await keep_newest(transaction.connection, states, prefix=service.bus.prefix)
        workspaces = {
            state.workspace: state for state in sorted(states, key=_revision) if isinstance(state, WorkspaceChanged)
        }
        await keep_workspaces(transaction.connection, list(workspaces.values()))
        items = {
            (state.item, state.version): state
            for state in sorted(states, key=_revision)
            if isinstance(state, LibraryItemChanged)
        }
        await keep_items(transaction, list(items.values()), blobs=service.blobs)

    return [
        Chapter(topics=[WORKSPACES, LIBRARY_ITEMS], apply=keep_current),
        Chapter(topics=[REQUESTS_ACCEPTED, REQUESTS_REJECTED], apply=take_told),
        Chapter(topics=[CANCELS_REQUESTED], apply=bury_told),
    ]


async def keep_items(transaction: Transaction, items: Sequence[LibraryItemChanged], *, blobs: Blobs) -> None:
    """Here every document whole, whatever its kind: it lies in the store under its digest."""
    if not items:
        return
    documents: list[str | None] = []
    for item in items:
        try:
            documents.append((await blobs.get(library_key(item.workspace, item.digest))).decode())
        except BlobMissing:
            documents.append(orjson.dumps(item.document).decode() if item.document is not None else None)
    await current.keep_items(
        transaction.connection,
        workspaces=[item.workspace for item in items],
        kinds=[item.kind for item in items],
        names=[item.name for item in items],
        versions=[item.version for item in items],
        digests=[item.digest for item in items],
        states=[item.state for item in items],
        owners=[item.owner for item in items],
        documents=documents,
        revisions=[item.revision for item in items],
    )
    await queries.reach_revisions(
        transaction.connection,
        workspaces=[item.workspace for item in items],
        revisions=[item.revision for item in items],
    )


async def take_told(transaction: Transaction, facts: Sequence[RequestAccepted | RequestRejected]) -> None:
    """Whoever asks again is answered as before, and its jobs count against the workspace's limits."""
    known = [fact for fact in facts if fact.request_id is not None]
    if not known:
        return
    taken = [fact if isinstance(fact, RequestAccepted) else None for fact in known]
    await queries.take_told(
        transaction.connection,
        ids=[fact.request_id for fact in known],
        workspaces=[fact.workspace for fact in known],
        principals=[fact.principal if isinstance(fact, RequestAccepted) else fact.origin for fact in known],
        states=["accepted" if accepted else "rejected" for accepted in taken],
        jobs=[accepted.variants if accepted else 0 for accepted in taken],
        answers=[orjson.dumps(answer(accepted), default=str).decode() if accepted else "" for accepted in taken],
        batches=[accepted.brief.batch_id if accepted else None for accepted in taken],
        row_keys=[accepted.brief.row_key if accepted else None for accepted in taken],
        traceparents=[fact.traceparent for fact in known],
        times=[fact.occurred_at for fact in known],
    )


async def bury_told(transaction: Transaction, cancels: Sequence[CancelRequested]) -> None:
    """A cancel is said once, and was."""
    await leases.bury(transaction.connection, cancels)


def _revision(state: Current) -> int:
    return state.revision


if __name__ == "__main__":
    main("intake", IntakeSettings, chapters)
