"""Who claims which work, and how long a picture of each backend takes: told by every process that works, now and then.

So work that nobody claims is told from work that waits its turn, and a turn can be given a time.
"""

import contextlib
from collections.abc import Sequence
from uuid import UUID

from services.inference.domain import Job
from services.inference.standing import queries
from shared.errors import Unavailable
from shared.leases import Worker
from shared.postgres import Pool, transaction
from shared.rounds import Rounds

EVERY = 5.0  # seconds
NEWEST = 0.2  # what one more picture counts for in the pace


class Paces:
    """Seconds that pictures took here since they were last told, by workspace, backend and sort."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[UUID, str, str], float] = {}

    def note(self, workspace: UUID, job: Job, seconds: float) -> None:
        of = workspace, job.backend, job.sort
        before = self._seconds.get(of, seconds)
        self._seconds[of] = before + NEWEST * (seconds - before)

    def take(self) -> dict[tuple[UUID, str, str], float]:
        told, self._seconds = self._seconds, {}
        return told


class Presence:
    """Tells of the workers of this process for as long as it runs."""

    def __init__(self, pool: Pool, workers: Sequence[Worker], paces: Paces) -> None:
        self._pool = pool
        self._workers = workers
        self._paces = paces
        self._rounds = Rounds("presence", self.tell, every=EVERY)

    async def start(self) -> None:
        with contextlib.suppress(Unavailable):
            await self.tell()
        await self._rounds.start()

    async def stop(self) -> None:
        await self._rounds.stop()
        with contextlib.suppress(Unavailable):  # then it is missed after a while
            async with transaction(self._pool) as connection:
                await queries.gone(connection, holders=[worker.holder for worker in self._workers])

    async def tell(self) -> None:
        paces = self._paces.take()
        async with transaction(self._pool) as connection:
            for worker in self._workers:
                await queries.seen(connection, holder=worker.holder, kinds=list(worker.kinds), slots=worker.concurrency)
            if paces:
                await queries.keep_paces(
                    connection,
                    workspaces=[workspace for workspace, _, _ in paces],
                    backends=[backend for _, backend, _ in paces],
                    sorts=[sort for _, _, sort in paces],
                    seconds=list(paces.values()),
                )
