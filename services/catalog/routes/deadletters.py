"""`/v1/dead-letters`: what was refused, and what an operator makes of it. Every one ends replayed or dropped."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.catalog.deadletters import drop, replay, shown
from services.catalog.feed import Feed
from services.catalog.ledger.writing import Writing
from services.catalog.routes.frame import Reading, Words, answer, read_cursor, write_cursor
from services.catalog.sql import queries
from shared import identity
from shared.audit import acted
from shared.http import HttpProblem
from shared.identity import Caller, May
from shared.kafka import Producer
from shared.outbox import Outbox
from shared.postgres import transaction

State = Literal["waiting", "replaying", "replayed", "dropped"]
OPEN: list[State] = ["waiting", "replaying"]


class Which(BaseModel):
    """These, or all that wait and match; never everything by an empty body."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(max_length=500)] = []
    topic: Words | None = None
    group: Words | None = None
    every: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> "Which":
        if not (self.ids or self.topic or self.group or self.every):
            raise ValueError("name `ids`, a `topic`, a `group`, or say `every`")
        return self


class Dropping(Which):
    note: Words | None = None


class Resume(BaseModel):
    model_config = ConfigDict(extra="forbid")

    group: str = Field(pattern=r"^[a-z][a-z-]{0,63}$")


def routes(reading: Reading, *, outbox: Outbox, producer: Producer, feed: Feed) -> APIRouter:
    router = APIRouter(tags=["dead letters"])
    may_operate = Depends(reading.gate.needs(May.OPERATE))

    @router.get("/v1/dead-letters")
    async def list_letters(
        state: Annotated[list[State] | None, Query()] = None,
        topic: Words | None = None,
        group: Words | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        caller: Caller = may_operate,
    ) -> Response:
        """Oldest first; those that are still open unless `state` says otherwise."""
        (after,) = read_cursor(cursor, places=1)
        rows = await _letters(caller, states=state or OPEN, topic=topic, group=group, after=after or 0, many=limit + 1)
        page = rows[:limit]
        more = len(rows) > len(page)
        return answer({"dead_letters": page, "next": write_cursor(page[-1]["seq"]) if more else None})

    @router.get("/v1/dead-letters/{dead_letter_id}")
    async def one_letter(dead_letter_id: UUID, caller: Caller = may_operate) -> Response:
        """With the record as it was: key, value and headers."""
        async with transaction(reading.pool) as connection:
            row = await queries.dead_letter(connection, id=dead_letter_id, workspace=caller.workspace)
        if row is None:
            what, remedy = "there is no such dead letter", "calotype dlq list has those there are"
            raise HttpProblem("not_found", what, where=str(dead_letter_id), remedy=remedy)
        return answer(shown(row))

    @router.post("/v1/dead-letters/replay")
    async def replay_letters(which: Which, caller: Caller = may_operate) -> Response:
        """Sends them again, each to the one group that refused it."""
        letters = await _chosen(caller, which)
        sent = await replay(
            reading.pool, producer, letters=letters, workspace=caller.workspace, principal=caller.principal
        )
        return answer({"replayed": sent})

    @router.post("/v1/dead-letters/drop")
    async def drop_letters(which: Dropping, caller: Caller = may_operate) -> Response:
        """Gives them up; what waited for one of them fails, jobs and asks for files anew; the answer says which."""
        letters = await _chosen(caller, which)
        async with outbox.transaction() as running:
            writing = Writing(running, feed)
            dropped = await drop(
                writing, letters=letters, workspace=caller.workspace, principal=caller.principal, note=which.note
            )
            await writing.close()
        return answer(
            {
                "dropped": dropped.letters,
                "failed_jobs": [event.job_id for event in dropped.jobs],
                "failed_reruns": [event.asset_id for event in dropped.asks],
            }
        )

    @router.post("/v1/dead-letters/resume")
    async def resume(which: Resume, caller: Caller = may_operate) -> Response:
        """A grant to resume a stopped consumer: post it to `resume_at` as `Authorization: Grant …` within a minute."""
        grant = identity.sign(
            {"group": which.group, "by": caller.principal},
            secret=reading.gate.secret,
            purpose="resume",
            seconds=identity.GRANT_SECONDS,
        )
        async with reading.of(caller) as connection:
            await acted(
                connection, by=caller.principal, workspace=caller.workspace, action="dlq.resume", subject=which.group
            )
        stage = which.group.partition("-")[0]
        return answer({"grant": grant, "resume_at": f"/v1/stages/{stage}/consumers/{which.group}/resume"})

    async def _chosen(caller: Caller, which: Which) -> list[UUID]:
        if which.ids:
            return which.ids
        rows = await _letters(caller, states=OPEN, topic=which.topic, group=which.group, after=0, many=500)
        return [row["dead_letter_id"] for row in rows]

    async def _letters(caller: Caller, **which: Any) -> list[dict[str, Any]]:
        # Not under the caller's row security: a record that could not be read names no workspace, and an operator has
        # to see it. The query lets through the caller's own and those.
        async with transaction(reading.pool) as connection:
            return [dict(row) async for row in queries.dead_letters(connection, workspace=caller.workspace, **which)]

    return router
