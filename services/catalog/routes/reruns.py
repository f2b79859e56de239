"""`POST /v1/assets/rerun`: recipes run again over what is approved."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.catalog.rerunning import rerun
from services.catalog.review.desk import Desk, Person
from services.catalog.routes.frame import OfMany, Reading, Words, answer
from shared.http import trace_of
from shared.identity import Caller, May
from shared.library.pinned import Library
from shared.observability import context_of


class Where(BaseModel):
    """Approved assets of which all of this holds."""

    model_config = ConfigDict(extra="forbid")

    campaign: Words | None = None
    asset_type: Words | None = None
    batch: UUID | None = None
    request: UUID | None = None
    assets: Annotated[list[UUID] | None, Field(max_length=200)] = None


class Asked(OfMany):
    recipes: Annotated[list[Words], Field(min_length=1, max_length=20, description="As web@4, one a channel")]
    where: Where = Where()
    limit: Annotated[int, Field(ge=1, le=200)] = 100


def routes(reading: Reading, desk: Desk, library: Library) -> APIRouter:
    router = APIRouter(tags=["assets"])
    may_operate = Depends(reading.gate.needs(May.OPERATE))

    @router.post("/v1/assets/rerun")
    async def rerun_assets(asked: Asked, request: Request, caller: Caller = may_operate) -> Response:
        """Asks for a new version of each, which is reviewed; says why not of the rest. Asked twice it is made once."""
        person = Person(principal=caller.principal, workspace=caller.workspace, context=context_of(trace_of(request)))
        done = await rerun(
            desk,
            person,
            library=library,
            labels=asked.recipes,
            where=asked.where.model_dump(),
            after=asked.after,
            many=asked.limit,
            dry_run=asked.dry_run,
        )
        return answer(
            {
                "recipes": done.recipes,
                "requested": done.requested,
                "refused": [asdict(one) for one in done.refused],
                "next": done.next,
                "dry_run": asked.dry_run,
            }
        )

    return router
