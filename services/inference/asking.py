"""A request that nobody has sent, as routing looks at it: resolved as acceptance would resolve it, and forgotten."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.inference.backends.vocabulary import Given
from services.inference.domain import capabilities_of
from services.inference.queue import queries
from services.inference.routing import Ask
from shared.events import Pin, SourceRole
from shared.http import refusal
from shared.library.asks import Resolved, late, read, resolve
from shared.library.documents import CURRENT_KINDS, MODELS, AnyDocument
from shared.library.offers import Offers
from shared.library.pinned import Library
from shared.library.shelf import Shelf
from shared.postgres import Connection, Pool, workspace_transaction

REMEMBERED = 100  # workspaces


class Shelves:
    """What each workspace can name: this stage hears of pinned documents by digest, and reads them from the store."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._known: dict[UUID, tuple[list[tuple[str, Pin]], Offers]] = {}

    async def of(self, pool: Pool, workspace: UUID) -> tuple[Offers, datetime]:
        """With the database's time.

        Raises:
            Rejected: a document is published whose bytes the store does not have.
            Unavailable: Postgres or the object store is away.
        """
        async with workspace_transaction(pool, stage="inference", workspace=workspace) as connection:
            pins = await _published(connection, workspace)
            now = await queries.current_time(connection)
        known = self._known.get(workspace)
        if known is None or known[0] != pins:
            documents = await asyncio.gather(*(self._read(workspace, kind, pin) for kind, pin in pins))
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[workspace] = (pins, Offers(Shelf(documents)))
        return known[1], now

    async def _read(self, workspace: UUID, kind: str, pin: Pin) -> AnyDocument:
        found: AnyDocument = await self._library.get(MODELS[kind], workspace, pin)
        return found


async def _published(connection: Connection, workspace: UUID) -> list[tuple[str, Pin]]:
    rows = queries.published(connection, workspace=workspace, kinds=sorted(MODELS.keys() - CURRENT_KINDS))
    return [(r["kind"], Pin(name=r["name"], version=r["version"], digest=r["digest"])) async for r in rows]


def resolved(request: bytes | Mapping[str, Any], offers: Offers, *, now: datetime) -> Resolved:
    """What acceptance would make of the request; whether its sources are there, intake alone knows.

    Raises:
        HttpProblem: everything else that it would refuse the request for.
    """
    asked = read(request)
    if isinstance(asked, list):
        raise refusal(asked)
    found = resolve(asked, offers)
    if isinstance(found, list):
        raise refusal(found)
    if (problem := late(asked, now)) is not None:
        raise refusal([problem])
    return found


def ask_of(request: Resolved, *, bulk: bool = False) -> Ask:
    """One of its jobs, as far as routing looks at it; every one of them asks the same. `bulk`: as a row of a file."""
    parameters = request.offer.template.parameters
    return Ask(
        confidentiality=request.confidentiality,
        priority=request.asked.priority,
        bulk=bulk,
        width=parameters.width,
        height=parameters.height,
        model=parameters.model,
        capabilities=capabilities_of(SourceRole(named.role) for named in request.asked.sources),
        loras=frozenset(lora.name for lora in parameters.loras if lora.weight),
        sources=tuple(Given(role=named.role) for named in request.asked.sources),
        strict=request.asked.reproducible == "strict",
    )
