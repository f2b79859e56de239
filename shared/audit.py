"""Who did what: an act of a person is written in the transaction of what it changes, and never changed again.

Each stage keeps the acts on what it holds; `calotype audit` lists all of them together.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import aiosql
import orjson
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, Field

from shared.http import Gate
from shared.identity import Caller, May
from shared.postgres import Connection, Pool, workspace_transaction

queries = aiosql.from_path(Path(__file__).parent / "sql/audit.sql", "asyncpg")

Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class Action(BaseModel):
    """One act: `action` is verb and object (`brake.pause`), `subject` what it was done to, `detail` its own words."""

    seq: int
    acted_at: datetime
    stage: str
    principal: str
    action: str
    subject: str
    detail: dict[str, Any]


class Actions(BaseModel):
    """Newest first; `next` is the `before` of the page after it."""

    actions: list[Action]
    next: int | None


async def acted(
    connection: Connection,
    *,
    by: str,
    workspace: UUID | None,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Writes the act beside what it changes. Nothing secret belongs into `detail`: every operator reads it."""
    words = orjson.dumps(detail or {}, default=str).decode()
    await queries.act(connection, workspace=workspace, principal=by, action=action, subject=subject, detail=words)


def wire(app: FastAPI, *, stage: str, pool: Pool, gate: Gate) -> None:
    operator = Depends(gate.needs(May.OPERATE))

    @app.get(f"/v1/stages/{stage}/actions")
    async def actions(
        caller: Annotated[Caller, operator],
        by: Word | None = None,
        action: Annotated[Word | None, Query(description="This one, or all of a kind: `brake`")] = None,
        before: Annotated[int | None, Query(ge=0)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Actions:
        """What people did to this stage in the caller's workspace."""
        async with workspace_transaction(pool, stage=stage, workspace=caller.workspace) as connection:
            found = queries.actions(connection, principal=by, action=action, before=before, many=limit + 1)
            rows = [row async for row in found]
        page = [
            Action(
                seq=row["seq"],
                acted_at=row["acted_at"],
                stage=stage,
                principal=row["principal"],
                action=row["action"],
                subject=row["subject"],
                detail=orjson.loads(row["detail"]),
            )
            for row in rows[:limit]
        ]
        return Actions(actions=page, next=page[-1].seq if len(rows) > limit else None)
