"""Writing requests down, set-based: one inbox, one reservation and one outbox insert for however many came together."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
import orjson

from services.intake.domain import Origin, accepted, answer
from services.intake.sources import Source
from shared.blobs import Blobs
from shared.events import Event, ImageRequested, Limits, Problem, RequestAccepted, RequestRejected
from shared.library.asks import Resolved, late
from shared.postgres import Connection, Pool, unavailable_when_away

queries: Any = aiosql.from_path(Path(__file__).parent / "queries.sql", "asyncpg")

LOOK_UPS = 16  # in the store at once
UNKNOWN_DIGEST = ""
"""Of a request that a restore brought back from its fact, which does not say how it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One ask on its way in: resolved, or with what is wrong with it."""

    origin: Origin
    digest: str
    resolved: Resolved | None = None
    problems: Sequence[Problem] = ()

    @property
    def problems_name_the_workspace(self) -> bool:
        return any(problem.where == "workspace" for problem in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was written down under an id when it came first."""

    state: str
    digest: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of an ask: `event` if it is new, `known` if its id was there already, else why it was refused."""

    event: RequestAccepted | None = None
    known: Known | None = None
    problems: Sequence[Problem] = ()


@dataclass(slots=True)
class Taken:
    """A verdict for each ask, in order, and the facts that leave with the transaction."""

    verdicts: list[Verdict] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What `take` inserts for a verdict."""

    ask: Ask
    state: str
    jobs: int
    answer: str
    event: Event

    @property
    def id(self) -> UUID:
        return self.ask.origin.request_id


def digest_of(asked: ImageRequested) -> str:
    """Of what was meant, not of how it was written: spaces, order and defaults spelled out make no difference."""
    fields = orjson.dumps(asked.model_dump(exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(fields).hexdigest()


async def known_sources(
    connection: Connection | Pool, workspace: UUID, asks: Iterable[ImageRequested]
) -> dict[UUID, Source]:
    """Of the sources that these asks name, those of the workspace. Raises Unavailable while Postgres is away."""
    named = {source.source for asked in asks for source in asked.sources}
    if not named:
        return {}
    async with unavailable_when_away():
        rows = queries.sources(connection, workspace=workspace, ids=list(named))
        return {row["source_id"]: Source(**dict(row)) async for row in rows}


async def known_parents(blobs: Blobs, workspace: UUID, asks: Iterable[ImageRequested]) -> set[UUID]:
    """Of the assets that these asks want more of, those that the workspace has.

    By their manifests, which are stored before anybody hears of an asset: this stage keeps no assets, and one that was
    made a moment ago may not be told here yet. Raises Unavailable while the store is away.
    """
    named = {asked.parent_asset_id for asked in asks if asked.parent_asset_id is not None}
    at_once = asyncio.Semaphore(LOOK_UPS)

    async def is_there(asset: UUID) -> bool:
        async with at_once:
            return any(name.endswith(".json") for name in await blobs.names(workspace, asset))

    in_order = sorted(named)
    found = await asyncio.gather(*map(is_there, in_order))
    return {asset for asset, there in zip(in_order, found, strict=True) if there}


async def take(
    connection: Connection, workspace: UUID, asks: Sequence[Ask], *, remember_refused: bool = False
) -> Taken:
    """Accepts what is new, valid and within the limits; says of the rest what is known or wrong. All of one workspace.

    With `remember_refused` a refusal has a row too and is told as an event, once: for senders that nobody can answer
    in place.
    """
    look = await _look(connection, workspace, [ask.origin.request_id for ask in asks])
    now, known = look.now, look.known
    room = await _room(connection, workspace, look)
    taken = Taken()
    rows: dict[UUID, _Row] = {}
    for ask in asks:
        verdict = _verdict(ask, known, now=now, room=room)
        taken.verdicts.append(verdict)
        row = _row(ask, verdict, now=now, remember_refused=remember_refused)
        if row is not None:
            rows[row.id] = row
            # The second of two alike in one batch meets the first as if it had come later.
            known[row.id] = Known(state=row.state, digest=ask.digest, answer=row.answer)
    new = await _insert(connection, workspace, list(rows.values()), now=now)
    if len(new) < len(rows):
        # Somebody else wrote some of them between the look and the insert: by now they can be seen.
        known = (await _look(connection, workspace, list(rows.keys() - new))).known
        for place, ask in enumerate(asks):
            if ask.origin.request_id in known:
                taken.verdicts[place] = Verdict(known=known[ask.origin.request_id])
    taken.events = [row.event for row in rows.values() if row.id in new]
    return taken


@dataclass(slots=True, kw_only=True)
class _Look:
    """What stands in the database before anything is written."""

    now: datetime
    state: str | None
    limits: Limits
    known: dict[UUID, Known]


async def _look(connection: Connection, workspace: UUID, ids: Sequence[UUID]) -> _Look:
    rows = [row async for row in queries.look(connection, workspace=workspace, ids=ids)]
    return _Look(
        now=rows[0]["now"],
        state=rows[0]["workspace_state"],
        limits=Limits.model_validate_json(rows[0]["limits"]) if rows[0]["limits"] else Limits(),
        known={
            row["request_id"]: Known(state=row["state"], digest=row["digest"], answer=row["answer"])
            for row in rows
            if row["request_id"] is not None
        },
    )


@dataclass(slots=True)
class _Room:
    """How many jobs the workspace still allows; None is no limit. What a day may cost is inference's to keep."""

    limits: Limits
    closed: Problem | None = None
    today: int | None = None
    open: int | None = None

    def refusal(self, jobs: int) -> Problem | None:
        """Takes up the room of so many jobs, or says why there is none."""
        if self.today is not None and jobs > self.today:
            what = f"{jobs} jobs are more than the {max(self.today, 0)} left of {self.limits.jobs_per_day} a day"
            return _over(what, "raise the limit, or send it again tomorrow (UTC)")
        if self.open is not None and jobs > self.open:
            what = f"{jobs} jobs are more than the {max(self.open, 0)} left of {self.limits.max_open_jobs} open at once"
            return _over(what, "wait until running jobs end, or raise the limit")
        self.today = None if self.today is None else self.today - jobs
        self.open = None if self.open is None else self.open - jobs
        return None


def _over(what: str, remedy: str) -> Problem:
    return Problem(code="quota_exceeded", what=what, remedy=remedy)


async def _room(connection: Connection, workspace: UUID, look: _Look) -> _Room:
    room = _Room(look.limits, closed=_closed(workspace, look.state))
    if (look.limits.jobs_per_day, look.limits.max_open_jobs) == (None, None) or room.closed:
        return room
    used = await queries.lock_quota(connection, workspace=workspace)
    if look.limits.jobs_per_day is not None:
        room.today = look.limits.jobs_per_day - used["today"]
    if look.limits.max_open_jobs is not None:
        room.open = look.limits.max_open_jobs - used["open"]
    return room


def _closed(workspace: UUID, state: str | None) -> Problem | None:
    if state == "active":
        return None
    if state is None:
        what, remedy = f"there is no workspace {workspace}", "give the id `calotype workspace list` prints"
        return Problem(code="unknown_workspace", what=what, where="workspace", remedy=remedy)
    return Problem(code="workspace_closed", what=f"the workspace is {state}", where="workspace", remedy="ask its admin")


def _verdict(ask: Ask, known: Mapping[UUID, Known], *, now: datetime, room: _Room) -> Verdict:
    before = known.get(ask.origin.request_id)
    if before is not None:
        return Verdict(known=before)
    if room.closed is not None and not ask.problems_name_the_workspace:
        return Verdict(problems=[room.closed])
    if ask.resolved is None:
        return Verdict(problems=ask.problems)
    problem = late(ask.resolved.asked, now) or room.refusal(ask.resolved.asked.variants)
    if problem is not None:
        return Verdict(problems=[problem])
    return Verdict(event=accepted(ask.resolved, ask.origin, now=now))


def _row(ask: Ask, verdict: Verdict, *, now: datetime, remember_refused: bool) -> _Row | None:
    if verdict.event is not None:
        event = verdict.event
        text = orjson.dumps(answer(event), default=str).decode()  # asyncpg's UUIDs are a class orjson does not know
        return _Row(ask=ask, state="accepted", jobs=event.variants, answer=text, event=event)
    if verdict.problems and remember_refused:
        return _Row(ask=ask, state="rejected", jobs=0, answer="", event=rejected(ask.origin, verdict.problems, now=now))
    return None


async def _insert(connection: Connection, workspace: UUID, rows: Sequence[_Row], *, now: datetime) -> set[UUID]:
    if not rows:
        return set()
    found = queries.take(
        connection,
        workspace=workspace,
        now=now,
        ids=[row.id for row in rows],
        principals=[row.ask.origin.principal for row in rows],
        states=[row.state for row in rows],
        jobs=[row.jobs for row in rows],
        digests=[row.ask.digest for row in rows],
        answers=[row.answer for row in rows],
        batches=[row.ask.origin.batch_id for row in rows],
        row_keys=[row.ask.origin.row_key for row in rows],
        traceparents=[row.ask.origin.traceparent for row in rows],
    )
    return {row["request_id"] async for row in found}


def rejected(origin: Origin, problems: Sequence[Problem], *, now: datetime) -> RequestRejected:
    """The answer to a sender that cannot be answered in place."""
    return RequestRejected.of(
        cause_id=origin.cause,
        occurred_at=now,
        workspace=origin.workspace,
        client_reference=origin.client_reference,
        traceparent=origin.traceparent,
        subject=str(origin.request_id),
        request_id=origin.request_id,
        origin=origin.kind,
        origin_id=origin.id,
        problems=list(problems),
    )
