"""What providers call us for: word that a prediction is over, which wakes whoever polls for it, in whatever process.

The word itself is believed in nothing. Its body is not even read beyond its signature: the poll asks the provider, as
it does where no word comes. Shapes: replicate.com/docs/topics/webhooks/verify-webhook, which is Standard Webhooks 1.0.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from fastapi import FastAPI, Request

from services.inference.queue import queries
from shared.http import HttpProblem
from shared.postgres import KEEPALIVES, Connection, Pool, transaction, unavailable_when_away
from shared.rounds import Rounds

log = structlog.get_logger()

PATH = "/v1/hooks/replicate"
CHANNEL = "calotype_predictions"
OLDEST_SECONDS = 300.0  # of a message: what is caught on its way and sent again later wakes nobody
LOOK_EVERY = 2.0


def hook_of(base: str, account: str) -> str:
    """Where an account's predictions are told about; each adds its attempt."""
    return f"{base.rstrip('/')}{PATH}/{account}"


def is_signed(body: bytes, headers: Mapping[str, str], *, key: bytes) -> bool:
    """Whether one of its signatures is ours; how old it may be is not decided here."""
    told = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp")]
    if not all(told):
        return False
    digest = hmac.digest(key, ".".join(told).encode() + b"." + body, hashlib.sha256)
    wanted = f"v1,{base64.b64encode(digest).decode()}".encode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(each.encode(), wanted) for each in given)


class Wakes:
    """Who waits for which attempt in this process."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, asyncio.Event] = {}

    async def wait(self, attempt: UUID, seconds: float) -> None:
        """So long, or until somebody says that there is news of the attempt."""
        event = self._waiting[attempt] = asyncio.Event()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
        finally:
            self._waiting.pop(attempt, None)

    def wake(self, attempt: str) -> None:
        with contextlib.suppress(ValueError, KeyError):
            self._waiting[UUID(attempt)].set()


class Listening:
    """Hears on a connection of its own what any process of the stage was told. `url` goes past a transaction pooler."""

    def __init__(self, wakes: Wakes, url: str) -> None:
        self._wakes = wakes
        self._url = url
        self._connection: Connection | None = None
        self._rounds = Rounds("hooks", self._look, every=LOOK_EVERY)

    async def start(self) -> None:
        await self._rounds.start()

    async def stop(self) -> None:
        await self._rounds.stop()
        await self._drop()

    async def _look(self) -> None:
        """Listens, or finds out that the connection is gone; what is missed meanwhile the poll sees."""
        try:
            async with unavailable_when_away():
                if self._connection is None:
                    self._connection = await asyncpg.connect(
                        self._url, timeout=10, server_settings={"application_name": "calotype-hooks", **KEEPALIVES}
                    )
                    await self._connection.add_listener(CHANNEL, self._hear)
                await self._connection.fetchval("select 1", timeout=10)
        except BaseException:
            await self._drop()
            raise

    def _hear(self, *told: Any) -> None:
        self._wakes.wake(told[-1])

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def wire(app: FastAPI, *, pool: Pool, keys: Mapping[str, bytes]) -> None:
    """`keys`: what signs for each account that has a hook. Without any there is no such address."""
    if not keys:
        return

    @app.post(PATH + "/{account}/{attempt}", status_code=204)
    async def told(account: str, attempt: UUID, request: Request) -> None:
        """Says that there is news of a prediction; needs no key but the provider's signature."""
        body = await request.body()
        if account not in keys or not is_signed(body, request.headers, key=keys[account]):
            raise _refused("it is not signed by an account of ours")
        try:
            at = float(int(request.headers["webhook-timestamp"]))
        except ValueError:
            raise _refused("its timestamp is no number") from None
        async with transaction(pool) as connection:
            is_new = await queries.tell_prediction(
                connection, channel=CHANNEL, attempt=str(attempt), at=at, oldest=OLDEST_SECONDS
            )
        if not is_new:
            raise _refused("it is too old, or of the future")
        log.info("prediction.told", account=account, attempt=str(attempt))


def _refused(what: str) -> HttpProblem:
    remedy = "an operator corrects webhook_secret in CALOTYPE_PROVIDERS, or the clock"
    return HttpProblem("unauthenticated", what, remedy=remedy)
