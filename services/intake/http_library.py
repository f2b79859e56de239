"""The library over HTTP: published whole or not at all, listed, read."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.intake.acceptance import queries
from services.intake.http import Intake
from services.intake.publishing import LibraryFaults, described, publish, rolled_back, told
from shared.http import HttpProblem
from shared.identity import Caller, May
from shared.library.documents import MODELS, AnyDocument
from shared.library.problems import problems_of, suggest
from shared.postgres import workspace_transaction

LIBRARY_CAP = 500  # documents at once
Slug = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,80}$")]


class Documents(BaseModel):
    model_config = ConfigDict(extra="forbid")

    documents: list[dict[str, Any]] = Field(min_length=1, max_length=LIBRARY_CAP)


class Published(BaseModel):
    published: list[str]
    unchanged: list[str] = Field(description="Published before, with the same content")


class RollBack(BaseModel):
    model_config = ConfigDict(extra="forbid")

    to: int | None = Field(default=None, ge=1, description="Whose content; default: the version before the newest")


class RolledBack(BaseModel):
    """`published` has the content of `content_of` and takes the place of `instead_of`."""

    published: str
    content_of: str
    instead_of: str


class LibraryItem(BaseModel):
    kind: str
    name: str
    version: int
    digest: str
    state: str
    owner: str | None


def wire(app: FastAPI, intake: Intake) -> None:
    pool = intake.pool
    reader = Depends(intake.gate.needs(May.READ_LIBRARY))
    librarian = Depends(intake.gate.needs(May.PUBLISH_LIBRARY))

    @app.post("/v1/library", status_code=201)
    async def publish_documents(ask: Documents, caller: Annotated[Caller, librarian]) -> Published:
        """Publishes all documents, or none and says why."""
        documents = _read(ask.documents)
        new = await _publish(intake, caller.workspace, documents)
        labels = [f"{document.kind} {document.label}" for document in new]
        unchanged = [f"{document.kind} {document.label}" for document in documents]
        return Published(published=labels, unchanged=[label for label in unchanged if label not in labels])

    @app.post("/v1/library/{kind}/{name}/rollback", status_code=201)
    async def roll_back(
        kind: Slug, name: Slug, caller: Annotated[Caller, librarian], ask: RollBack | None = None
    ) -> RolledBack:
        """Publishes what the document said before, as its next version; doing it twice takes it back."""
        to = ask.to if ask else None
        document, of = await rolled_back(pool, workspace=caller.workspace, kind=kind, name=name, to=to)
        await _publish(intake, caller.workspace, [document])
        return RolledBack(
            published=document.label, content_of=f"{name}@{of}", instead_of=f"{name}@{document.version - 1}"
        )

    @app.get("/v1/library")
    async def items(
        caller: Annotated[Caller, reader], kind: Annotated[str | None, Query(pattern=r"^[a-z]{1,40}$")] = None
    ) -> list[LibraryItem]:
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            rows = queries.items(connection, workspace=caller.workspace, kind=kind)
            return [LibraryItem(**dict(row)) async for row in rows]

    @app.get("/v1/library/{kind}/{name}")
    async def document(
        kind: Slug, name: Slug, caller: Annotated[Caller, reader], version: Annotated[int | None, Query(ge=1)] = None
    ) -> Response:
        """One document, its newest version unless one is named."""
        async with workspace_transaction(pool, stage="intake", workspace=caller.workspace) as connection:
            row = await queries.item(connection, workspace=caller.workspace, kind=kind, name=name, version=version)
        if row is None:
            label = f"{name}@{version}" if version else name
            raise HttpProblem("not_found", f"there is no {kind} {label} here", remedy="see `calotype library list`")
        return Response(row["document"], media_type="application/json", headers={"ETag": f'"{row["digest"]}"'})


async def _publish(intake: Intake, workspace: UUID, documents: Sequence[AnyDocument]) -> list[AnyDocument]:
    try:
        new = await publish(intake.pool, intake.outbox, intake.blobs, workspace=workspace, documents=documents)
    except LibraryFaults as faults:
        raise HttpProblem(
            faults.code,
            faults.what,
            where=faults.where,
            remedy=faults.remedy,
            problems=[described(fault) for fault in faults.faults],
        ) from None
    intake.shelves.forget(workspace)
    return new


def _read(given: Sequence[dict[str, Any]]) -> list[AnyDocument]:
    documents: list[AnyDocument] = []
    problems: list[dict[str, object]] = []
    for place, fields in enumerate(given):
        kind = fields.get("kind")
        if not isinstance(kind, str) or kind not in MODELS:
            where = f"documents[{place}].kind"
            remedy = suggest(str(kind), MODELS)
            problems.append({"code": "unknown_kind", "what": f"{kind!r} is no kind", "where": where, "remedy": remedy})
            continue
        try:
            document = MODELS[kind].model_validate(fields)
            documents.append(document)
            if b"\\u0000" in document.canonical():
                where, remedy = f"documents[{place}]", "remove the character"
                problems.append({"code": "control_character", "what": "holds U+0000", "where": where, "remedy": remedy})
        except ValidationError as error:
            for _, problem in problems_of(error, MODELS[kind]):
                problems.append(told(problem) | {"where": f"documents[{place}].{problem.where}"})
    if problems:
        first = problems[0]
        raise HttpProblem(
            str(first["code"]), str(first["what"]), where=str(first["where"]), remedy=str(first["remedy"]),
            status=422, problems=problems,
        )  # fmt: skip
    return documents
