"""The Kafka edges: image-requests → requests-accepted, requests-rejected; and what the later stages settle."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.intake.acceptance import Ask, known_parents, known_sources, queries, take
from services.intake.foreign import Foreign, decode_foreign
from services.intake.shelves import Shelves
from services.intake.sources import Sources, resolve_all
from shared.blobs import Blobs
from shared.bus import Bus, Transaction
from shared.events import Attempt, AttemptSettled, ImageGenerated, JobCancelled, JobFailed, JobRetried
from shared.library.offers import Offers
from shared.topics import ATTEMPTS_SETTLED, IMAGE_REQUESTS, IMAGES_GENERATED, JOBS_ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one event says about a job's quota. `ended`: the run is over, else it begins, or (None) neither."""

    workspace: UUID
    request_id: UUID
    job_id: UUID
    run: int
    ended: bool | None
    attempts: Sequence[Attempt] = ()

    @property
    def released(self) -> bool | None:
        """Of a run that is over: whether it cost no attempt."""
        return not self.attempts if self.ended else None


def wire(bus: Bus, *, shelves: Shelves, blobs: Blobs) -> None:
    async def accept(transaction: Transaction, asks: Sequence[Foreign]) -> None:
        await take_foreign(transaction, asks, shelves=shelves, blobs=blobs)

    @bus.project(IMAGE_REQUESTS, group="intake", apply=accept, decode=decode_foreign)
    def on_image_requested(event: Foreign) -> Foreign:
        return event

    @bus.project(IMAGES_GENERATED, JOBS_ENDED, ATTEMPTS_SETTLED, group="intake-quotas", apply=settle)
    def on_outcome(event: ImageGenerated | JobFailed | JobCancelled | JobRetried | AttemptSettled) -> Settled:
        match event:
            case AttemptSettled():
                ended, attempts = None, [event.attempt]
            case ImageGenerated() | JobFailed() | JobCancelled():
                ended, attempts = True, event.attempts
            case JobRetried():
                ended, attempts = False, []
        return Settled(
            workspace=event.workspace,
            request_id=event.request_id,
            job_id=event.job_id,
            run=event.run,
            ended=ended,
            attempts=attempts,
        )


async def take_foreign(transaction: Transaction, asks: Sequence[Foreign], *, shelves: Shelves, blobs: Blobs) -> None:
    """Every event that could be read is answered, once: as an accepted request or as a rejected one."""
    connection = transaction.connection
    by_workspace: dict[UUID, list[Foreign]] = defaultdict(list)
    for foreign in asks:
        by_workspace[foreign.origin.workspace].append(foreign)
    for workspace in sorted(by_workspace):  # in one order everywhere, so that two instances never wait for each other
        together = by_workspace[workspace]
        offers = await shelves.of(connection, workspace)
        asked = [each.asked for each in together if each.asked]
        sources = await known_sources(connection, workspace, asked)
        parents = await known_parents(blobs, workspace, asked)
        read = [_ask(foreign, offers, sources, parents) for foreign in together]
        taken = await take(connection, workspace, read, remember_refused=True)
        transaction.emit(*taken.events)


def _ask(foreign: Foreign, offers: Offers, sources: Sources, parents: Collection[UUID]) -> Ask:
    if foreign.asked is None:
        return Ask(origin=foreign.current_origin(), digest="", problems=foreign.problems)
    resolved = resolve_all(foreign.asked, offers, sources, parents)
    if isinstance(resolved, list):
        return Ask(origin=foreign.current_origin(), digest="", problems=resolved)
    return Ask(origin=foreign.current_origin(), digest="", resolved=resolved)


async def settle(transaction: Transaction, rows: Sequence[Settled]) -> None:
    """Charges attempts and frees what was reserved; each attempt and each end counts once, however often it is told.

    A fresh start is reserved again on its job's own day. It is an operator's: counted, and refused by no limit.
    """
    connection: Any = transaction.connection
    attempts = [(row, attempt) for row in rows for attempt in row.attempts]
    if attempts:
        await queries.settle_attempts(
            connection,
            ids=[attempt.attempt_id for _, attempt in attempts],
            workspaces=[row.workspace for row, _ in attempts],
            jobs=[row.job_id for row, _ in attempts],
            backends=[attempt.backend for _, attempt in attempts],
            states=[attempt.state for _, attempt in attempts],
            costs=[attempt.cost for _, attempt in attempts],
            currencies=[attempt.currency for _, attempt in attempts],
        )
    runs = [row for row in rows if row.ended is not None]
    if runs:
        await queries.hold_ends(connection)
        await queries.end_jobs(
            connection,
            jobs=[row.job_id for row in runs],
            runs=[row.run for row in runs],
            workspaces=[row.workspace for row in runs],
            requests=[row.request_id for row in runs],
            released=[row.released for row in runs],
        )
