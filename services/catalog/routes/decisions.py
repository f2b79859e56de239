"""`POST …/decisions`: a person's decision, on one asset or on many, and taking one back."""

from collections import Counter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from opentelemetry.trace import SpanContext
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.catalog.review.desk import Desk, Person, Refused, Taken
from services.catalog.review.desk import queries as review
from services.catalog.review.rules import MAX_AT_ONCE, AssetVerdict, Verdict
from services.catalog.routes.frame import Reading, answer
from shared.http import HttpProblem, trace_of
from shared.identity import ROLES, Caller, May
from shared.observability import context_of

REVIEWING_ROLES = [role for role, may in ROLES.items() if May.DECIDE in may]


class Verdicts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    decisions: Annotated[list[AssetVerdict], Field(min_length=1, max_length=MAX_AT_ONCE)]

    @model_validator(mode="after")
    def _decides_once(self) -> "Verdicts":
        twice = [asset for asset, many in Counter(v.asset_id for v in self.decisions).items() if many > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice: one decision an asset")
        return self


def routes(reading: Reading, desk: Desk) -> APIRouter:
    router = APIRouter(tags=["decisions"])

    may_read = Depends(reading.gate.needs(May.READ))

    async def decider(request: Request, caller: Caller = may_read) -> Person:
        if not caller.may(May.DECIDE):
            raise await refusal(reading, caller)
        return Person(principal=caller.principal, workspace=caller.workspace, context=_span_of(request))

    may_decide = Depends(decider)

    @router.post("/v1/assets/{asset_id}/decisions")
    async def decide(asset_id: UUID, verdict: Verdict, person: Person = may_decide) -> Response:
        """Approves or rejects the version the caller saw. It becomes a fact at `undo_until`."""
        (outcome,) = await desk.decide(person, [AssetVerdict(asset_id=asset_id, **verdict.model_dump())])
        if isinstance(outcome, Refused):
            raise outcome.problem()
        return answer(_taken(outcome))

    @router.post("/v1/decisions")
    async def decide_many(verdicts: Verdicts, person: Person = may_decide) -> Response:
        """Many at once, each for itself: those that could not be taken are named, and say why."""
        outcomes = await desk.decide(person, verdicts.decisions)
        return answer(
            {
                "decided": [_taken(o) for o in outcomes if isinstance(o, Taken)],
                "refused": [_refused(o) for o in outcomes if isinstance(o, Refused)],
            }
        )

    @router.post("/v1/decisions/{decision_id}/undo")
    async def undo(decision_id: UUID, person: Person = may_decide) -> Response:
        """Takes a decision back within its undo window; the asset waits for a decision again."""
        undone = await desk.undo(person, decision_id)
        return answer({"asset_id": undone.asset_id, "review_version": undone.review_version})

    return router


async def refusal(reading: Reading, caller: Caller) -> HttpProblem:
    """Why this caller may not decide, and the people who may."""
    people = await reviewers(reading, caller)
    who = ", ".join(people) if people else "nobody yet"
    return HttpProblem(
        "forbidden",
        f"{caller.principal} may not {May.DECIDE}",
        remedy=f"{who} may; or ask an admin for a key with one of the roles: {', '.join(REVIEWING_ROLES)}",
        who_may=people,
    )


async def reviewers(reading: Reading, caller: Caller) -> list[str]:
    async with reading.of(caller) as connection:
        rows = review.who_may(connection, workspace=caller.workspace, roles=REVIEWING_ROLES)
        return [row["principal"] async for row in rows]


def _taken(taken: Taken) -> dict[str, Any]:
    return {"asset_id": taken.asset_id, "decision_id": taken.decision_id, "undo_until": taken.undo_until}


def _refused(refused: Refused) -> dict[str, Any]:
    return {"asset_id": refused.asset_id, "code": refused.code, "detail": refused.what, **refused.named}


def _span_of(request: Request) -> SpanContext | None:
    return context_of(trace_of(request))
