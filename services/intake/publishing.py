"""Publishing library documents: checked together, stored under their digests, then made known in one transaction."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import orjson

from services.intake.acceptance import queries
from services.intake.shelves import read_shelf
from services.intake.writing import writing
from shared.blobs import Blobs, library_key
from shared.current import queries as current
from shared.errors import Rejected
from shared.events import LibraryItemChanged, Problem
from shared.library.documents import CURRENT_KINDS, AnyDocument
from shared.library.lint import Fault, lint
from shared.outbox import Outbox
from shared.postgres import Pool


class LibraryFaults(Rejected):
    """Nothing was published, for these reasons."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        super().__init__(
            "library_faults",
            f"{len(faults)} faults; the first: {first.document.label}: {first.problem.what}",
            first.problem.where or "",
            first.problem.remedy,
        )
        self.faults = faults


async def publish(
    pool: Pool, outbox: Outbox, blobs: Blobs, *, workspace: UUID, documents: Sequence[AnyDocument]
) -> list[AnyDocument]:
    """All documents or none; says which were new (one that is published already, unchanged, is not).

    Raises:
        LibraryFaults: a document is at fault, alone or together with the others.
        Unavailable: Postgres or the object store is away.
    """
    for document in documents:
        # Before the row that names them; a blob whose publication fails then is an orphan, and harmless.
        key = library_key(workspace, document.pin().digest)
        await blobs.put(key, document.canonical(), media_type="application/json")
    async with writing(pool, outbox, workspace) as transaction:
        connection = transaction.connection
        revision = await queries.lock_library(connection, workspace=workspace)
        shelf = await read_shelf(connection, workspace)
        # Every template is rendered with every value of its choices: too long for the event loop.
        found = await asyncio.to_thread(lint, documents, published=shelf)
        faults = [fault for fault in found if fault.error]
        if faults:
            raise LibraryFaults(faults)
        new = [document for document in documents if shelf.find(type(document), document.label) is None]
        if not new:
            return []
        now = await queries.now(connection)
        facts = [
            LibraryItemChanged.of(
                cause_id=f"{document.version} {document.pin().digest} published",
                occurred_at=now,
                workspace=workspace,
                item=f"{workspace}/{document.kind}/{document.name}",
                kind=document.kind,
                name=document.name,
                version=document.version,
                digest=document.pin().digest,
                state="published",
                owner=document.owner,
                document=document.model_dump(mode="json") if document.kind in CURRENT_KINDS else None,
                revision=revision,
            )
            for document in new
        ]
        await current.keep_items(
            connection,
            workspaces=[fact.workspace for fact in facts],
            kinds=[fact.kind for fact in facts],
            names=[fact.name for fact in facts],
            versions=[fact.version for fact in facts],
            digests=[fact.digest for fact in facts],
            states=[fact.state for fact in facts],
            owners=[fact.owner for fact in facts],
            # Here the whole document, of every kind: this is what requests are resolved against.
            documents=[document.canonical().decode() for document in new],
            revisions=[revision] * len(new),
        )
        transaction.emit(*facts)
    return new


def described(fault: Fault) -> dict[str, object]:
    """A fault as the API tells it."""
    return {"kind": fault.document.kind, "document": fault.document.label, **told(fault.problem)}


def told(problem: Problem) -> dict[str, object]:
    return orjson.loads(problem.model_dump_json(exclude_none=True))  # type: ignore[no-any-return]
