"""What is still under way, row by row, for the person who asks why a run does not come to rest."""

import contextlib

import asyncpg

from shared.postgres import STAGES_WITH_DATABASE
from tests.faults.world import World

OPEN_JOBS = """
    select status || ' ' || count(*) || ', for example ' || min(job_id::text) from (
        select job_id, case rank when 0 then 'pending' when 1 then 'running' else 'completed' end as status
        from catalog.jobs where rank < 3
    ) open group by status
"""
OPEN_WORK = """
    select kind || ' ' || count(*) || ', ready ' || coalesce(min(ready_at - clock_timestamp())::text, 'never') || ' to '
        || coalesce(max(ready_at - clock_timestamp())::text, 'never') || ', for example ' || min(work_id::text)
        || coalesce(': ' || max(outcome || ' ' || coalesce(detail, '')), '')
    from {}.work where finished_at is null group by kind
"""


async def under_way(world: World) -> dict[str, list[str]]:
    """What is left in Postgres, by where."""
    left: dict[str, list[str]] = {}
    try:
        connection = await asyncpg.connect(world.database_url, timeout=10)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        return {"postgres": [repr(error)]}
    try:
        for stage in STAGES_WITH_DATABASE:
            if rows := await connection.fetch(OPEN_WORK.format(stage)):
                left[f"{stage} work"] = [row[0] for row in rows]
        if rows := await connection.fetch(OPEN_JOBS):
            left["catalog jobs"] = [row[0] for row in rows]
    finally:
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await connection.close(timeout=5)
    return left
