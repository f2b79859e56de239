"""`POST /v1/jobs/retry`: a fresh start of what failed."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.catalog.retrying import retry
from services.catalog.review.desk import Desk, Person
from services.catalog.routes.frame import OfMany, Reading, Words, answer
from shared.errors import Rejected
from shared.events import FailureReason, Stage
from shared.http import trace_of
from shared.identity import Caller, May
from shared.observability import context_of


class Where(BaseModel):
    """Failed jobs of which all of this holds; `backend` is one that an attempt of the failed run was made on."""

    model_config = ConfigDict(extra="forbid")

    reason: FailureReason | None = None
    stage: Stage | None = None
    backend: Words | None = None
    batch: UUID | None = None
    campaign: Words | None = None
    request: UUID | None = None
    job: UUID | None = None


class Asked(OfMany):
    where: Where = Where()
    limit: Annotated[int, Field(ge=1, le=500)] = 100


def routes(reading: Reading, desk: Desk) -> APIRouter:
    router = APIRouter(tags=["jobs"])
    may_operate = Depends(reading.gate.needs(May.OPERATE))

    @router.post("/v1/jobs/retry")
    async def retry_jobs(asked: Asked, request: Request, caller: Caller = may_operate) -> Response:
        """Begins the next run of what failed; says why not where that cannot help. Asked twice it is done once."""
        _know(asked.where)
        person = Person(principal=caller.principal, workspace=caller.workspace, context=context_of(trace_of(request)))
        done = await retry(
            desk,
            person,
            where=asked.where.model_dump(),
            after=asked.after,
            many=asked.limit,
            dry_run=asked.dry_run,
        )
        return answer(
            {
                "retried": done.jobs,
                "refused": [asdict(one) for one in done.refused],
                "next": done.next,
                "dry_run": asked.dry_run,
            }
        )

    return router


def _know(where: Where) -> None:
    """An open enum takes any word; a question must not."""
    for name, value, known in (("reason", where.reason, FailureReason), ("stage", where.stage, Stage)):
        if value is not None and value == "unknown":
            words = ", ".join(member.value for member in known if member.value != "unknown")
            raise Rejected("invalid_request", f"no such {name}", f"where.{name}", f"one of {words}")
