"""`GET /v1/events`: what changes, as it changes. Server-sent; goes on where it was cut, by `Last-Event-ID`."""

import re
import time
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from services.catalog.feed import Feed
from services.catalog.routes.frame import Reading
from services.catalog.sql import queries
from shared.errors import Unavailable
from shared.http import HttpProblem
from shared.identity import Caller, May

HEARTBEAT_SECONDS = 5.0
ASK_AGAIN_SECONDS = 15.0
ROWS_AT_ONCE = 200
OUR_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
ID_OF = {"job": "job_id", "asset": "asset_id", "decision": "asset_id"}


def routes(reading: Reading, feed: Feed) -> APIRouter:
    router = APIRouter(tags=["events"])
    may_read = Depends(reading.gate.needs(May.READ))

    @router.get("/v1/events")
    async def events(
        after: Annotated[int | None, Query(ge=0, lt=10**18, description="Begin after this id; without it, now")] = None,
        last_event_id: Annotated[str | None, Header(description="Wins over `after`")] = None,
        *,
        caller: Caller = may_read,
        request: Request,
    ) -> StreamingResponse:
        """`job`, `asset` and `decision` as they change, a `heartbeat` every 5 s, `reset` after a gap."""
        begin = int(last_event_id) if last_event_id and OUR_ID.fullmatch(last_event_id) else after
        return StreamingResponse(
            _stream(reading, feed, caller, begin, request),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


async def _stream(
    reading: Reading, feed: Feed, caller: Caller, begin: int | None, request: Request
) -> AsyncIterator[bytes]:
    asked = time.monotonic()
    yield b"retry: 2000\n\n"
    cursor = await feed.newest() if begin is None else begin
    if begin is not None and await feed.has_forgotten(begin):
        yield _event("reset", {"after": begin})
    yield _event("heartbeat", {}, id=cursor)
    while not feed.closed.is_set():
        if time.monotonic() - asked > ASK_AGAIN_SECONDS:
            asked = time.monotonic()
            if not await _may_still_listen(reading, request):
                return
        seen = feed.seen  # before the reading: what is committed by then is in it
        try:
            rows = await _after(reading, caller, cursor)
        except Unavailable:
            return  # the browser comes back by itself, with the last id it saw
        for chunk in _told(rows):
            yield chunk
        if len(rows) == ROWS_AT_ONCE:
            cursor = rows[-1]["id"]
            continue
        # Whatever else is not newer than that belongs to other workspaces.
        cursor = max(cursor, seen, rows[-1]["id"] if rows else 0)
        if not await feed.moved(cursor, within=HEARTBEAT_SECONDS):
            yield _event("heartbeat", {}, id=cursor)


async def _may_still_listen(reading: Reading, request: Request) -> bool:
    """A stream outlives its request's check: a key may be revoked, a workspace suspended, a session over."""
    try:
        caller = await reading.gate.caller(request)
    except (HttpProblem, Unavailable):
        return False  # a browser comes back by itself, and is asked who it is
    return caller is not None and caller.may(May.READ)


async def _after(reading: Reading, caller: Caller, cursor: int) -> list[Any]:
    async with reading.of(caller) as connection:
        return [row async for row in queries.news_after(connection, after=cursor, many=ROWS_AT_ONCE)]


def _told(rows: Iterable[Any]) -> Iterable[bytes]:
    """The latest word on each thing; the id goes with the last one, so that a cut before it repeats all of them."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    last = 0
    for row in rows:
        last = row["id"]
        for what in orjson.loads(row["body"]):
            key = (row["kind"], what[ID_OF[row["kind"]]])
            latest.pop(key, None)
            latest[key] = what
    left = len(latest)
    for (kind, _), what in latest.items():
        left -= 1
        yield _event(kind, what, id=None if left else last)


def _event(kind: str, data: object, *, id: int | None = None) -> bytes:
    head = f"event: {kind}\n".encode() if id is None else f"id: {id}\nevent: {kind}\n".encode()
    return head + b"data: " + orjson.dumps(data) + b"\n\n"
