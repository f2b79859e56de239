"""A stopped consumer stays stopped: kept in the stage's schema, for every member of its group and over restarts.

A stage without a database (prompt) keeps its stop in the process: started again it goes on, and stops anew if what
comes is still bad.
"""

from pathlib import Path

import aiosql

from shared.bus import Bus, Stop
from shared.postgres import Pool, transaction
from shared.rounds import Rounds

queries = aiosql.from_path(Path(__file__).parent / "sql/stops.sql", "asyncpg")

LOOK_EVERY = 1.0  # seconds


class Stops:
    """Keeps what the bus of this process stops, and obeys what another process or an earlier one had stopped."""

    def __init__(self, bus: Bus, pool: Pool) -> None:
        self._bus = bus
        self._pool = pool
        self._kept: set[str] = set()  # groups of which the row was seen: gone, somebody has resumed them
        self._rounds = Rounds("stops", self.look, every=LOOK_EVERY)

    async def start(self) -> None:
        """Before the bus reads anything. Raises Unavailable while Postgres is away."""
        await self.look()
        await self._rounds.start()

    async def stop(self) -> None:
        await self._rounds.stop()

    async def resume(self, group: str) -> bool:
        """Takes the group up again, here at once and elsewhere within a second; False if it had not stopped."""
        async with transaction(self._pool) as connection:
            was_kept = await queries.resume(connection, consumer_group=group) is not None
        self._kept.discard(group)
        return self._bus.resume(group) or was_kept

    async def look(self) -> None:
        """One comparison of what stands in the table with what this process does."""
        async with transaction(self._pool) as connection:
            for stop in self._bus.stops():
                if stop.group not in self._kept:
                    await queries.stop(
                        connection,
                        consumer_group=stop.group,
                        topic=stop.topic,
                        partition=stop.partition,
                        bad=stop.bad,
                        looked_at=stop.of,
                    )
            rows = {row["consumer_group"]: row async for row in queries.stops(connection)}
        for group in self._kept - rows.keys():
            self._bus.resume(group)
        for group, row in rows.items():
            self._bus.halt(Stop(group, row["topic"], row["partition"], row["bad"], row["looked_at"]))
        self._kept = set(rows)
