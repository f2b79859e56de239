"""Asking for an end: said once per request or job, kept as a row, and obeyed by whichever stage holds the job."""

from collections.abc import Sequence
from uuid import UUID

from services.intake.acceptance import queries
from shared.events import CancelRequested
from shared.postgres import Connection

WHOLE_REQUEST = UUID(int=0)


async def cancel(
    connection: Connection, workspace: UUID, asked: Sequence[tuple[UUID, UUID | None]], *, by: str, reason: str | None
) -> list[CancelRequested]:
    """The facts for what was not asked before: pairs of request and job, None for every job of the request."""
    rows = queries.cancel(
        connection,
        requests=[request for request, _ in asked],
        jobs=[job or WHOLE_REQUEST for _, job in asked],
        workspace=workspace,
        by=by,
        reason=reason,
    )
    return [
        CancelRequested.of(
            # One request can be cancelled job by job and then whole: the cause tells these apart.
            cause_id=row["request_id"] if row["job_id"] == WHOLE_REQUEST else row["job_id"],
            occurred_at=row["created_at"],
            workspace=workspace,
            traceparent=row["traceparent"],
            request_id=row["request_id"],
            job_id=None if row["job_id"] == WHOLE_REQUEST else row["job_id"],
            by=by,
            reason=reason,
        )
        async for row in rows
    ]
