"""Thumbnails of what is being made: the latest of each job, for as long as it is made, and never on Kafka.

The table is unlogged: nobody misses after a crash what the next step draws again. What a killed worker left is
shown for ten minutes, and thrown away with the next thumbnail.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated
from uuid import UUID

import aiosql
from fastapi import Depends, FastAPI, Response

from shared.http import Gate, HttpProblem
from shared.identity import Caller, May
from shared.postgres import Pool, transaction, workspace_transaction

queries = aiosql.from_path(Path(__file__).parent / "previews.sql", "asyncpg")

LARGEST = 32 * 1024  # bytes; ours have a few thousand

Drawn = tuple[UUID, bytes]


class Previews:
    """The table, as a worker fills it: job → workspace and JPEG."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, drawn: Mapping[UUID, Drawn], *, gone: Collection[UUID]) -> None:
        """Jobs that are `gone` have none any more."""
        async with transaction(self._pool) as connection:
            if drawn:
                jobs = sorted(drawn)  # one order for all writers
                await queries.keep(
                    connection,
                    jobs=jobs,
                    workspaces=[drawn[job][0] for job in jobs],
                    images=[drawn[job][1] for job in jobs],
                )
            await queries.drop(connection, jobs=list(gone))


def wire(app: FastAPI, *, pool: Pool, gate: Gate) -> None:
    reader = Depends(gate.needs(May.READ))

    @app.get("/v1/previews/{job}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    async def preview(job: UUID, caller: Annotated[Caller, reader]) -> Response:
        """What a job that is being made looks like so far, at most 96 px wide; 404 where nothing is to be seen."""
        async with workspace_transaction(pool, stage="inference", workspace=caller.workspace) as connection:
            image = await queries.preview(connection, job=job)
        if image is None:
            said = "nothing of this job is being made that could be shown"
            raise HttpProblem("not_found", said, remedy="see its state at /v1/jobs", status=404)
        return Response(image, media_type="image/jpeg", headers={"Cache-Control": "private, no-store"})
