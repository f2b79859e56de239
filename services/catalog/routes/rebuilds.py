"""`POST /v1/stages/catalog/rebuild`: the projection compared with what follows from the ledger, and mended."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from services.catalog.feed import Feed
from services.catalog.ledger.rebuilding import rebuild, session
from services.catalog.routes.frame import Reading, answer
from shared.audit import acted
from shared.http import HttpProblem
from shared.identity import ROLES, Caller, May
from shared.postgres import transaction


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    check: bool = Field(default=True, description="Only compare; else mend what differs")
    everyone: bool = Field(default=False, description="Of all workspaces: for whoever runs the installation")
    after: UUID | None = Field(default=None, description="`next` of the answer before")
    pages: Annotated[int, Field(ge=1, le=100)] = 10


def routes(reading: Reading, feed: Feed, *, database_url: str) -> APIRouter:
    router = APIRouter(tags=["catalog"])
    may_operate = Depends(reading.gate.needs(May.OPERATE))

    @router.post("/v1/stages/catalog/rebuild")
    async def rebuild_pages(asked: Asked, caller: Caller = may_operate) -> Response:
        """Goes through a part of the ledger; ask again with `after` until `next` is null."""
        if asked.everyone and not caller.may(May.RUN):
            able = ", ".join(role for role, may in ROLES.items() if May.RUN in may)
            raise HttpProblem(
                "forbidden", f"{caller.principal} may not {May.RUN}", where="everyone", remedy=f"use a key of an {able}"
            )
        workspace = None if asked.everyone else caller.workspace
        async with session(database_url) as connection:
            found = await rebuild(
                connection, feed, workspace=workspace, after=asked.after, pages=asked.pages, mend=not asked.check
            )
        mended = {table: count for table, count in found.differing.items() if count}
        is_over = found.next is None  # told once at least, also where there was nothing to mend
        if not asked.check and (mended or is_over):
            async with transaction(reading.pool) as connection:
                await acted(
                    connection,
                    by=caller.principal,
                    workspace=caller.workspace,
                    action="catalog.rebuild",
                    subject="everyone" if asked.everyone else str(caller.workspace),
                    detail=mended,
                )
        return answer(asdict(found) | {"check": asked.check})

    return router
