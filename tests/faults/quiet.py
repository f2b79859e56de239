"""Whether anything still moves: what was read and not finished, committed and not sent, begun and not ended.

A consumer that stopped because too much of what it read was bad is told to go on, as an operator would: poison that is
sent five times over may do that to a quiet topic.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

import asyncpg
import httpx
from aiokafka.errors import KafkaError

from tests.faults.oracle.files import lines
from tests.faults.oracle.world import World
from tests.groups import unfinished

STAGES = ("intake", "inference", "postprocess", "catalog", "publisher")
LOOK_EVERY = 0.5  # seconds
MOVES = " union all ".join(
    [f"select '{stage}: facts not sent', count(*) from {stage}.outbox where refused is null" for stage in STAGES]
    + [f"select '{stage}: work not ended', count(*) from {stage}.work where ready_at is not null" for stage in STAGES]
    + [
        "select 'catalog: waits for a person', count(*) from catalog.awaiting_review",
        "select 'catalog: in its undo window', count(*) from catalog.decisions where state = 'open'",
    ]
)


async def moving(world: World) -> dict[str, int]:
    """What is not at rest, by name; empty when everything is. Raises OSError or KafkaError while servers are away."""
    return await _rows(world) | await _lag(world)


async def until_quiet(
    world: World,
    *,
    within: float,
    at_most: float | None = None,
    but: Callable[[str], bool] = lambda _: False,
    looks: int = 2,
) -> dict[str, int]:
    """Waits for so many looks in a row that see nothing move, `but` for what may; what still moved when it gave up.

    It gives up when what is left has not been less than ever before for `within` seconds, and after `at_most`, usually
    ten times that. So a backlog may take its time, and what goes round in circles may not.
    """
    began = fell = time.monotonic()
    last = at_most if at_most is not None else 10 * within
    least = math.inf
    seen = 0
    while True:
        now = time.monotonic()
        try:
            left = {name: many for name, many in (await moving(world)).items() if not but(name)}
        except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            left = {repr(error)[:200]: 1}
        else:
            if (total := sum(left.values())) < least:
                least, fell = total, now
        seen = 0 if left else seen + 1
        if seen >= looks or now >= fell + within or now >= began + last:
            return left
        if left:
            with contextlib.suppress(httpx.HTTPError):
                await resume_stopped(world)
        await asyncio.sleep(LOOK_EVERY)


async def resume_stopped(world: World) -> list[str]:
    """Tells every consumer that stopped by itself to go on, in the name of the load; which groups that were."""
    token = next((line["token"] for line in lines(world.ledgers / "workspaces.jsonl")), None)
    if token is None:
        return []
    found = []
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for stage in world.services:
            told = (await client.get(world.address(f"/v1/stages/{stage}/readyz"))).json().get("dependencies", {})
            for group in [name for name, state in told.items() if str(state).startswith("stopped")]:
                headers = {"Authorization": f"Bearer {token}"}
                path = world.address("/v1/dead-letters/resume")
                granted = (await client.post(path, json={"group": group}, headers=headers)).raise_for_status().json()
                grant = {"Authorization": f"Grant {granted['grant']}"}
                (await client.post(world.address(granted["resume_at"]), headers=grant)).raise_for_status()
                found.append(group)
    return found


async def _rows(world: World) -> dict[str, int]:
    connection = await asyncpg.connect(world.database_url, timeout=10)
    try:
        return {name: many for name, many in await connection.fetch(MOVES, timeout=30) if many}
    finally:
        await connection.close()


async def _lag(world: World) -> dict[str, int]:
    """Group → records that it has not finished."""
    left = await unfinished(world.kafka, world.prefix)
    return {
        f"{group}: {'nobody reads for it' if many is None else 'behind'}": many or 1
        for group, many in left.items()
        if many != 0
    }
