"""Somebody with a key who asks over HTTP, and asks again while nobody answers."""

import asyncio
import random
from typing import Any

import httpx

from tests.faults.load.ledgers import Ledgers
from tests.faults.oracle.world import World

PATIENCE = 10.0  # seconds for one answer
LONGEST = 2.0  # seconds between two tries
AWAY = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unexpected(Exception):
    """An answer that nothing of what was asked explains."""


class Person:
    """One key of one workspace."""

    def __init__(self, world: World, ledgers: Ledgers, *, workspace: str, principal: str, token: str) -> None:
        self.workspace = workspace
        self.principal = principal
        self.token = token
        self.away = 0  # how often nobody answered
        self._world = world
        self._ledgers = ledgers
        self._client = httpx.AsyncClient(
            timeout=PATIENCE,
            trust_env=False,
            headers={"Authorization": f"Bearer {token}"},
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=2),
        )

    async def look(self, path: str) -> httpx.Response | None:
        """Whatever is answered; None where nobody does."""
        try:
            return await self._client.get(self._world.address(path))
        except httpx.TransportError:
            return None

    async def once(self, method: str, path: str, **how: Any) -> httpx.Response | None:
        """One try; None where nobody answered, or somebody said to come again."""
        try:
            answer = await self._client.request(method, self._world.address(path), **how)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code == 500:  # asked again all the same, but it is nobody's state
            asked = {"workspace": self.workspace, "key": f"{method} {path}"}
            self._ledgers.write("complaints", what="an error of the server", wanted=503, got=answer.text[:500], **asked)
        if answer is None or answer.status_code in AWAY:
            self.away += 1
            return None
        return answer

    async def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """The first answer, however long that takes. Whoever has had enough cancels."""
        delay = 0.1
        while (answer := await self.once(method, path, **how)) is None:
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(delay * 2, LONGEST)
        return answer

    async def json(self, method: str, path: str, **how: Any) -> Any:
        """The answer's JSON, which must be a success."""
        answer = await self.call(method, path, **how)
        if not answer.is_success:
            raise Unexpected(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    async def every(self, path: str, name: str, *, most: int = 5000, **filters: Any) -> list[dict[str, Any]]:
        """All of a list, page by page, or the first so many."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self.json("GET", path, params=filters | ({"cursor": cursor} if cursor else {}))
            found += page[name]
            cursor = page["next"]
            if cursor is None or len(found) >= most:
                return found

    async def close(self) -> None:
        await self._client.aclose()
