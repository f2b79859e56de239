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
from tests.groups import groups

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
    left, _ = await _look(world)
    return left


async def _look(world: World) -> tuple[dict[str, int], int]:
    """What is not at rest, and how many records all groups together have finished."""
    left = await _rows(world)
    every = await groups(world.kafka, world.prefix)
    for name, group in every.items():
        if group.behind is None:
            left[f"{name}: nobody reads for it"] = 1
        elif group.behind:
            left[f"{name}: behind"] = group.behind
    return left, sum(group.finished for group in every.values())


async def until_quiet(
    world: World,
    *,
    within: float,
    at_most: float | None = None,
    but: Callable[[str], bool] = lambda _: False,
    looks: int = 2,
) -> dict[str, int]:
    """Waits for so many looks in a row that see nothing move, `but` for what may; what still moved when it gave up.

    It gives up when for `within` seconds no group has finished another record and what is left has not become less than
    ever before; and after `at_most`, usually ten times that. So a backlog may take its time.
    """
    began = fell = time.monotonic()
    last = at_most if at_most is not None else 10 * within
    least, most = math.inf, -1
    seen = 0
    while True:
        now = time.monotonic()
        try:
            every, finished = await _look(world)
            left = {name: many for name, many in every.items() if not but(name)}
        except (OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            left = {repr(error)[:200]: 1}
        else:
            total = sum(left.values())
            if total < least or finished > most:
                least, most, fell = min(total, least), max(finished, most), now
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
