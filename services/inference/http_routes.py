"""Where a job would go, asked without sending it, and how the backends stand: read only."""

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.inference.asking import Shelves, ask_of, resolved
from services.inference.domain import work_kind
from services.inference.routing import NO_TABLE, Ask, Decision, Unroutable, uncallable, unserved
from services.inference.standing import claimed
from services.inference.tables import RoutingTables
from shared.events import Confidentiality, ImageRequested, Lane, Pin, Priority
from shared.http import Gate, HttpProblem, refusal
from shared.identity import Caller, May
from shared.library.documents import Backend, Routes
from shared.library.pinned import Library
from shared.library.problems import problems_of
from shared.postgres import Pool, transaction, workspace_transaction


class RouteQuestion(BaseModel):
    """A job as far as routing looks at it; width and height in pixels."""

    model_config = ConfigDict(extra="forbid")

    confidentiality: Confidentiality = Confidentiality.PUBLIC
    priority: Priority = Priority.NORMAL
    bulk: bool = Field(default=False, description="The job comes with a batch")
    width: int = Field(default=1024, ge=1, le=65536)
    height: int = Field(default=1024, ge=1, le=65536)
    model: str | None = Field(default=None, max_length=200, description="The model the template locks")
    capabilities: frozenset[Annotated[str, Field(max_length=100)]] = Field(
        default=frozenset({"text-to-image"}),
        min_length=1,
        max_length=10,
        description="What it takes: text-to-image, image-to-image (a reference), inpainting (a mask)",
    )
    loras: frozenset[Annotated[str, Field(max_length=200)]] = Field(
        default=frozenset(), max_length=50, description="Those the template locks"
    )
    strict: bool = Field(default=False, description="The job asks for reproducible: strict")


class CanaryAnswer(BaseModel):
    """The share of such jobs that goes to another backend first; `refused`: why it does not after all."""

    backend: str
    percent: int
    refused: str | None = None


class Asked(BaseModel):
    """What acceptance would make of the request, as far as routing looks at it."""

    template: str
    campaign: str
    asset_type: str
    variants: int
    confidentiality: Confidentiality = Field(description="The strictest of what was asked and what its products are")
    priority: Priority
    width: int
    height: int


class RouteAnswer(BaseModel):
    """Where the job would go, or what is missing; `refused` says of every other backend why not."""

    routable: bool
    backend: str | None = None
    kind: str | None = None
    lane: Lane | None = None
    rule: str | None = None
    reason: str
    remedy: str | None = None
    model: str | None = None
    price: str | None = Field(default=None, description="List price of one image; absent where nobody knows it")
    currency: str | None = None
    refused: dict[str, str]
    table: Pin | None = None
    version: str | None = Field(default=None, description="What the provider calls this version of the model")
    canary: CanaryAnswer | None = None
    asked: Asked | None = Field(default=None, description="Of a whole request: what it resolves to")


class BackendState(BaseModel):
    """One backend of the table as it stands today; `days_left` until its last day, below 0 after it."""

    name: str
    kind: str
    visibility: str
    pool: str
    enabled: bool
    region: str | None
    ceiling: Confidentiality | None
    model: str | None
    version: str | None
    available_from: date | None
    end_of_life: date | None
    days_left: int | None
    uncallable: str | None = Field(description="Why this deployment cannot call its provider")
    provider: str | None
    work: str = Field(description="What a process must claim to work for it: kind, pool, account")
    claimed: bool = Field(description="Whether a live process does")
    rules: list[str] = Field(description="The rules that name it")
    has_key: bool = Field(description="Whether the provider's key is set, where it has a provider")


AS_WRITTEN = BackendState.model_fields.keys() & Backend.model_fields.keys()


class RuleState(BaseModel):
    """A rule and, where no backend of it can serve what it is for, why each cannot."""

    id: str
    unserved: dict[str, str]


class RoutesState(BaseModel):
    """The workspace's routing table on the database's day. `problem`: there is none, or it cannot be read."""

    today: date
    table: Pin | None = None
    problem: str | None = None
    remedy: str | None = None
    backends: list[BackendState] = Field(default_factory=list)
    rules: list[RuleState] = Field(default_factory=list)


ASK_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/RouteQuestion"},
                        {"$ref": "#/components/schemas/ImageRequested"},
                    ]
                }
            }
        },
    }
}
# Who names any of these asks about a whole request.
OF_A_REQUEST = ImageRequested.model_fields.keys() - RouteQuestion.model_fields.keys()


def wire(
    app: FastAPI, *, pool: Pool, gate: Gate, tables: RoutingTables, library: Library, keyless: frozenset[str]
) -> None:
    """`keyless`: providers that are called without a key."""
    reader = Depends(gate.needs(May.READ))
    shelves = Shelves(library)

    @app.get("/v1/backends")
    async def backends(caller: Annotated[Caller, reader]) -> RoutesState:
        """Which backends there are, until when, and which rules nobody can serve."""
        async with workspace_transaction(pool, stage="inference", workspace=caller.workspace) as connection:
            await tables.refresh(connection, [caller.workspace])
        async with transaction(pool) as connection:
            live = await claimed(connection)
        table = tables.table_of(caller.workspace)
        if not isinstance(table, Routes):
            missing = table or NO_TABLE
            return RoutesState(today=tables.today, problem=missing.missing, remedy=missing.remedy)
        return _state(table, tables, keyless, live)

    @app.post("/v1/explain-route", openapi_extra=ASK_SCHEMA)
    async def explain_route(
        request: Request, caller: Annotated[Caller, reader], *, bulk: Annotated[bool, Query()] = False
    ) -> RouteAnswer:
        """Where a job would go: one that is described here, or those of a whole request, which is not sent.

        With `bulk` the request is looked at as a row of a file.
        """
        raw = await request.body()
        body = _object(raw)
        if not OF_A_REQUEST & body.keys():
            return await explain(_question(body), workspace=caller.workspace, pool=pool, tables=tables)
        offers, now = await shelves.of(pool, caller.workspace)
        asked = resolved(raw, offers, now=now)
        answer = await explain(ask_of(asked, bulk=bulk), workspace=caller.workspace, pool=pool, tables=tables)
        answer.asked = Asked(
            template=asked.offer.template.label,
            campaign=asked.offer.campaign.label,
            asset_type=asked.offer.asset_type,
            variants=asked.asked.variants,
            confidentiality=asked.confidentiality,
            priority=asked.asked.priority,
            width=asked.offer.template.parameters.width,
            height=asked.offer.template.parameters.height,
        )
        return answer


def _state(table: Routes, tables: RoutingTables, keyless: frozenset[str], live: Collection[str]) -> RoutesState:
    here: dict[str, Any] = {"today": tables.today, "runnable": tables.kinds, "providers": tables.providers}
    return RoutesState(
        today=tables.today,
        table=table.pin(),
        backends=[
            BackendState(
                **{name: getattr(backend, name) for name in AS_WRITTEN},
                days_left=(backend.end_of_life - tables.today).days if backend.end_of_life else None,
                uncallable=uncallable(backend, tables.providers),
                work=work_kind(backend),
                claimed=work_kind(backend) in live,
                rules=[rule.id for rule in table.rules if backend.name in rule.candidates],
                provider=backend.call.provider if backend.call else None,
                has_key=backend.call is not None and backend.call.provider in tables.providers.keys() - keyless,
            )
            for backend in table.backends
        ],
        rules=[RuleState(id=rule.id, unserved=unserved(rule, table=table, **here)) for rule in table.rules],
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        found = str(error)
    if not isinstance(found, dict):
        what = found if isinstance(found, str) else "it is no object"
        raise HttpProblem("not_json", what, remedy="send one JSON object, in UTF-8", status=422)
    return found


def _question(body: dict[str, Any]) -> Ask:
    try:
        question = RouteQuestion.model_validate(body)
    except ValidationError as error:
        raise refusal([problem for _, problem in problems_of(error, RouteQuestion)]) from None
    for name, value in (("confidentiality", question.confidentiality), ("priority", question.priority)):
        if value.value == "unknown":  # an open enum takes any word; a question must not
            known = ", ".join(member.value for member in type(value) if member.value != "unknown")
            raise HttpProblem("invalid_request", f"no such {name}", where=name, remedy=f"one of {known}")
    return Ask(**question.model_dump())


async def explain(ask: Ask, *, workspace: UUID, pool: Pool, tables: RoutingTables) -> RouteAnswer:
    async with workspace_transaction(pool, stage="inference", workspace=workspace) as connection:
        await tables.refresh(connection, [workspace])
    decision = tables.decide(workspace, ask)
    canary = _canary(decision, tables.decide(workspace, ask, job=FIRST), tables.table_of(workspace))
    if not isinstance(decision, Decision):
        return RouteAnswer(
            routable=False,
            rule=decision.rule,
            reason=decision.missing,
            remedy=decision.remedy,
            refused=decision.refused,
            table=decision.table,
            canary=canary,
        )
    backend, route = decision.backend, decision.route
    return RouteAnswer(
        routable=True,
        backend=backend.name,
        kind=backend.kind,
        lane=route.lane,
        rule=route.rule,
        reason=route.reason,
        model=decision.model or None,
        price=None if decision.price is None else str(decision.price),
        currency=None if decision.price is None else backend.currency,
        refused=route.refused,
        table=route.table,
        version=route.version,
        canary=canary,
    )


FIRST = UUID(int=0)  # a job that is of every canary's share


def _canary(
    decision: Decision | Unroutable, first: Decision | Unroutable, table: Routes | Unroutable | None
) -> CanaryAnswer | None:
    """What becomes of the share of a rule's canary, `first` being of it."""
    name = decision.route.rule if isinstance(decision, Decision) else decision.rule
    rules = table.rules if isinstance(table, Routes) else []
    canary = next((rule.canary for rule in rules if rule.id == name), None)
    if canary is None:
        return None
    refused = first.route.refused if isinstance(first, Decision) else first.refused
    return CanaryAnswer(backend=canary.backend, percent=canary.percent, refused=refused.get(canary.backend))
