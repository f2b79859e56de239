"""What a person does about a publication that ended badly: a fresh start, or a word on what nobody knew."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from services.publisher.domain import RETRIABLE, Delivered, Refusal, delivery_of, failed, published
from services.publisher.handler import KIND, payload_of
from services.publisher.http import Publication, found
from services.publisher.sql import queries
from services.publisher.superseding import hold_versions, supersede
from shared.audit import acted
from shared.events import AssetApproved, PublicationState, Verified
from shared.http import Gate, HttpProblem
from shared.identity import Caller, May
from shared.outbox import Outbox, Transaction, caller_transaction
from shared.postgres import Pool, workspace_transaction

log = structlog.get_logger()


class Statement(BaseModel):
    """What a person found out at the target: whether it has it, how they know, and where it stands there."""

    model_config = ConfigDict(extra="forbid")

    delivered: bool
    note: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
    location: Annotated[str | None, Field(max_length=2000, pattern=r"^[^\x00]*$")] = None


def wire(app: FastAPI, *, pool: Pool, gate: Gate, outbox: Outbox) -> None:
    @app.post("/v1/publications/{publication_id}/retry", status_code=202)
    async def retry_publication(
        publication_id: UUID, caller: Annotated[Caller, Depends(gate.needs(May.OPERATE))]
    ) -> Publication:
        """A fresh start of one that failed or is uncertain; it is looked up before it is sent again."""
        async with workspace_transaction(pool, stage="publisher", workspace=caller.workspace) as connection:
            started = await queries.restart(connection, id=publication_id, states=list(RETRIABLE))
            if started is not None:
                await queries.work_again(
                    connection,
                    id=publication_id,
                    asked=started["approved_at"],
                    kind=KIND,
                    subject=started["target"],
                    workspace=started["workspace"],
                    request=started["request_id"],
                    job=started["job_id"],
                    run=started["run"],
                    traceparent=started["traceparent"],
                    payload=payload_of(AssetApproved.model_validate_json(started["event"]), target=started["target"]),
                )
                await acted(
                    connection,
                    by=caller.principal,
                    workspace=caller.workspace,
                    action="publication.retry",
                    subject=str(publication_id),
                    detail={"target": started["target"], "run": started["run"]},
                )
            row = await queries.show_publication(connection, id=publication_id)
        publication = found(row)
        if started is None:
            raise HttpProblem(
                "conflict",
                f"this publication is {publication.state}",
                where="publication_id",
                remedy=f"only these can be retried: {', '.join(sorted(RETRIABLE))}",
            )
        log.info("publication.retried", publication=str(publication_id), by=caller.principal, run=publication.run)
        return publication

    @app.post("/v1/publications/{publication_id}/settle")
    async def settle_publication(
        publication_id: UUID, statement: Statement, caller: Annotated[Caller, Depends(gate.needs(May.OPERATE))]
    ) -> Publication:
        """How one ended of which nobody knew, by a person's word. To have it looked up or sent again: retry."""
        writing = caller_transaction(outbox, pool, stage="publisher", workspace=caller.workspace)
        async with writing as transaction:
            settled = await settle_by_hand(transaction, publication_id, statement, by=caller.principal)
            if settled:
                await acted(
                    transaction.connection,
                    by=caller.principal,
                    workspace=caller.workspace,
                    action="publication.settle",
                    subject=str(publication_id),
                    detail=statement.model_dump(exclude_none=True),
                )
            row = await queries.show_publication(transaction.connection, id=publication_id)
        publication = found(row)
        if not settled:
            raise HttpProblem(
                "conflict",
                f"this publication is {publication.state}",
                where="publication_id",
                remedy="only one that is uncertain is settled by hand",
            )
        log.info("publication.stated", publication=str(publication_id), by=caller.principal, state=publication.state)
        return publication


async def settle_by_hand(transaction: Transaction, publication_id: UUID, statement: Statement, *, by: str) -> bool:
    """False where there is nothing uncertain to settle."""
    refusal = None
    words = f"{by} says so: {statement.note}"
    if not statement.delivered:
        refusal = Refusal(code="not_delivered", detail=words, remedy="retry it, if it is to be delivered after all")
    await hold_versions(transaction, [publication_id])
    row = await queries.state(
        transaction.connection,
        id=publication_id,
        state=PublicationState.FAILED if refusal else PublicationState.DELIVERED,
        code=refusal and refusal.code,
        detail=words,
        remedy=refusal and refusal.remedy,
        location=None if refusal else statement.location,
        verified=None if refusal else Verified.STATED,
    )
    if row is None:
        return False
    asset = AssetApproved.model_validate_json(row["event"])
    delivery = replace(
        delivery_of(asset, target=row["target"]), run=row["run"], stated=True, traceparent=row["traceparent"]
    )
    if refusal is not None:
        transaction.emit(failed(delivery, refusal, now=row["settled_at"]))
    else:
        delivered = Delivered(location=statement.location or words, receipts=[], verified=Verified.STATED)
        transaction.emit(published(delivery, delivered, now=row["settled_at"]))
        await supersede(transaction, [publication_id], now=row["settled_at"])
    return True
