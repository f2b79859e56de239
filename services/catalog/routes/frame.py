"""What the routes share: a caller's transaction, filters, pages, and JSON as it is answered."""

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

import orjson
from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.catalog.domain import RANK, STEP
from shared.errors import Rejected
from shared.events import JobStatus, Stage
from shared.http import Gate
from shared.identity import Caller
from shared.postgres import Connection, Pool, workspace_transaction

# What Postgres can compare with: it has no U+0000 in text.
Words = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Reading:
    """Where routes read: each request in a transaction in which only the caller's workspace exists."""

    pool: Pool
    gate: Gate
    public_url: str

    def of(self, caller: Caller) -> AbstractAsyncContextManager[Connection]:
        return self.within(caller.workspace)

    @asynccontextmanager
    async def within(self, workspace: UUID) -> AsyncIterator[Connection]:
        async with workspace_transaction(self.pool, stage="catalog", workspace=workspace) as connection:
            # The planner prices a random read as a spinning disk takes it, and so reads all jobs to find a batch's:
            # 130 ms instead of 30 at 300,000 jobs. And a plan for any filters is one for none: after the fifth use of a
            # statement a page of assets took 450 ms instead of 6 at 52,000 versions.
            await connection.execute("set local random_page_cost = 1.1; set local plan_cache_mode = force_custom_plan")
            yield connection


class OfMany(BaseModel):
    """What is asked of many things at once; who asks says `where` they are and how many go into one answer."""

    model_config = ConfigDict(extra="forbid")

    where: BaseModel
    every: bool = Field(default=False, description="Needed where nothing else says which")
    dry_run: bool = Field(default=False, description="Only say what would happen")
    after: Annotated[int, Field(ge=0, le=LARGEST, description="`next` of the answer before")] = 0

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not (self.every or self.where.model_dump(exclude_none=True)):
            raise ValueError("say which with `where`, or say `every`")
        return self


class Filters(BaseModel):
    """Which jobs or assets; all that are given must hold."""

    model_config = ConfigDict(extra="forbid")

    batch: UUID | None = None
    request: UUID | None = None
    campaign: Words | None = None
    sku: Words | None = None
    status: Annotated[list[JobStatus] | None, Query(description="Any of these")] = None
    cursor: str | None = None
    limit: int = 50

    def named(self) -> dict[str, Any]:
        """The filters that every list has, as its query takes them."""
        return {"batch": self.batch, "request": self.request, "campaign": self.campaign, "sku": self.sku}

    def ranks(self) -> list[int] | None:
        return [RANK[status] for status in self.status if status in RANK] if self.status else None

    def many(self) -> int:
        if not 1 <= self.limit <= 500:
            raise Rejected("invalid_request", "a page has 1 to 500 entries", "limit", "ask for that many")
        return self.limit


def steps_of(stages: list[Stage] | None) -> list[int] | None:
    return [STEP[stage] for stage in stages if stage is not Stage.UNKNOWN] if stages else None


def write_cursor(*place: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def read_cursor(cursor: str | None, *, places: int) -> list[int] | list[None]:
    """Where the page before ended, or Nones for the first page. Raises Rejected for what we never wrote."""
    if cursor is None:
        return [None] * places
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        found = None
    if (
        not isinstance(found, list)
        or len(found) != places
        or not all(type(n) is int and abs(n) <= LARGEST for n in found)
    ):
        raise Rejected("invalid_request", "this is no cursor of ours", "cursor", "take `next` of the page before")
    return found


def answer(body: object) -> Response:
    """JSON by orjson: ids, times and amounts as text; amounts keep their digits."""
    return Response(orjson.dumps(body, default=_plain, option=orjson.OPT_NON_STR_KEYS), media_type="application/json")


def _plain(value: object) -> Any:
    if isinstance(value, Decimal | UUID):  # asyncpg's UUID is a class of its own, which orjson does not know
        return str(value)
    raise TypeError(type(value).__name__)
