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
from shared.library.documents import CURRENT_KINDS, DOCUMENT, AnyDocument
from shared.library.faults import Fault
from shared.library.lint import lint
from shared.outbox import Outbox
from shared.postgres import Pool, workspace_transaction


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


async def rolled_back(pool: Pool, *, workspace: UUID, kind: str, name: str, to: int | None) -> tuple[AnyDocument, int]:
    """The next version of a document, with the content of the one before (or of `to`), and whose content it is.

    A new version, not the old one taken up again: versions are facts, and a reader of the compacted topic who comes
    late hears of the newest alone.

    Raises:
        Rejected: there is no such document or version, or nothing before it.
    """
    async with workspace_transaction(pool, stage="intake", workspace=workspace) as connection:
        rows = {
            row["version"]: row["document"]
            async for row in queries.versions(connection, workspace=workspace, kind=kind, name=name)
        }
    if not rows:
        raise Rejected("not_found", f"there is no {kind} {name} here", remedy="see `calotype library list`")
    newest, *earlier = rows
    if to is None and not earlier:
        raise Rejected("no_version_before", f"{name}@{newest} is its only version", remedy="publish a corrected one")
    wanted = to or earlier[0]
    if wanted not in earlier:
        what = f"{name}@{wanted} is in force" if wanted == newest else f"there is no {kind} {name}@{wanted}"
        there = ", ".join(map(str, earlier)) or "none"
        raise Rejected("no_version_before", what, "to", f"versions before it: {there}")
    document = DOCUMENT.validate_json(rows[wanted])
    return document.model_copy(update={"version": newest + 1}), wanted


def described(fault: Fault) -> dict[str, object]:
    """A fault as the API tells it."""
    return {"kind": fault.document.kind, "document": fault.document.label, **told(fault.problem)}


def told(problem: Problem) -> dict[str, object]:
    return orjson.loads(problem.model_dump_json(exclude_none=True))  # type: ignore[no-any-return]
