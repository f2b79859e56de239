"""Single requests over HTTP, written together: while one transaction commits, the next gathers whoever came meanwhile.

Alone a request waits for nothing; under load hundreds share a commit, per workspace, because the transaction sees the
rows of one workspace only.
"""

import asyncio
from collections import defaultdict
from uuid import UUID

from services.intake.acceptance import Ask, Taken, Verdict, take
from services.intake.writing import writing
from shared.errors import Unavailable
from shared.http import HttpProblem
from shared.outbox import Outbox
from shared.postgres import Pool, is_passing

AT_ONCE = 500


class Front:
    """One per process."""

    def __init__(self, pool: Pool, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox
        self._waiting: dict[UUID, list[tuple[Ask, asyncio.Future[Verdict]]]] = defaultdict(list)
        self._writing: dict[UUID, asyncio.Task[None]] = {}
        self._in_flight: set[UUID] = set()

    async def submit(self, ask: Ask) -> Verdict:
        """The verdict, after the commit.

        Raises:
            HttpProblem: the same request is being written this moment.
            Unavailable: Postgres is away; whether it was written, a repetition tells.
        """
        request, workspace = ask.origin.request_id, ask.origin.workspace
        if request in self._in_flight:
            raise HttpProblem(
                "in_flight",
                "the request with this key is being taken in",
                where="Idempotency-Key",
                remedy="send it again in a moment for its answer",
            )
        self._in_flight.add(request)
        try:
            future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
            self._waiting[workspace].append((ask, future))
            if workspace not in self._writing:
                self._writing[workspace] = asyncio.create_task(self._write_all(workspace), name="intake-front")
            # Whoever hangs up changes nothing: what was handed in is written, and its key answers later.
            return await asyncio.shield(future)
        finally:
            self._in_flight.discard(request)

    async def _write_all(self, workspace: UUID) -> None:
        try:
            while waiting := self._waiting[workspace]:
                batch, self._waiting[workspace] = waiting[:AT_ONCE], waiting[AT_ONCE:]
                await self._write(workspace, batch)
        finally:
            del self._writing[workspace], self._waiting[workspace]

    async def _write(self, workspace: UUID, batch: list[tuple[Ask, asyncio.Future[Verdict]]]) -> None:
        try:
            taken = await self._commit(workspace, [ask for ask, _ in batch])
        except Exception as error:  # noqa: BLE001  # whoever waits gets it; a bug of one must not be everybody's
            if len(batch) > 1 and not isinstance(error, Unavailable) and not is_passing(error):
                for pair in batch:
                    await self._write(workspace, [pair])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), verdict in zip(batch, taken.verdicts, strict=True):
            if not future.done():
                future.set_result(verdict)

    async def _commit(self, workspace: UUID, asks: list[Ask]) -> Taken:
        async with writing(self._pool, self._outbox, workspace) as transaction:
            taken = await take(transaction.connection, workspace, asks)
            transaction.emit(*taken.events)
        return taken
