"""What is still under way anywhere: rows without an end, facts that have not left, records nobody has read."""

import contextlib

import asyncpg
from aiokafka.errors import KafkaError

from shared.postgres import STAGES_WITH_DATABASE
from tests.faults.topics import lag
from tests.faults.world import World

OPEN_JOBS = """
    select status || ' ' || count(*) from (
        select case rank when 0 then 'pending' when 1 then 'running' else 'completed' end as status
        from catalog.jobs where rank < 3
    ) open group by status
"""
OPEN_WORK = """
    select kind || ' ' || count(*) || coalesce(': ' || max(outcome || ' ' || coalesce(detail, '')), '')
    from {}.work where finished_at is null group by kind
"""


async def stuck(world: World) -> dict[str, list[str]]:
    """Nothing, where all is drained; else what is left, by where."""
    try:
        return await _in_postgres(world) | await _in_kafka(world)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaError, TimeoutError) as error:
        return {"servers": [repr(error)]}


async def _in_postgres(world: World) -> dict[str, list[str]]:
    left: dict[str, list[str]] = {}
    connection = await asyncpg.connect(world.database_url, timeout=10)
    try:
        for stage in STAGES_WITH_DATABASE:
            if unsent := await connection.fetchval(f"select count(*) from {stage}.outbox"):
                left[f"{stage} outbox"] = [f"{unsent} facts"]
            if rows := await connection.fetch(OPEN_WORK.format(stage)):
                left[f"{stage} work"] = [row[0] for row in rows]
        if rows := await connection.fetch(OPEN_JOBS):
            left["catalog jobs"] = [row[0] for row in rows]
    finally:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await connection.close(timeout=5)
    return left


async def _in_kafka(world: World) -> dict[str, list[str]]:
    behind = await lag(world)
    return {"lag": [f"{group} {records}" for group, records in sorted(behind.items())]} if behind else {}
