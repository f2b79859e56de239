"""Accounts with providers: one that is away or asks for patience is left alone, and asked again with one call.

Whatever waits for it waits in the queue, at no cost to the jobs: they have not failed, the provider is away. A call
that fails while others of the same account succeed is the job's own failure.
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosql
import structlog

from services.inference.backends import BackendFailure
from services.inference.domain import account_of, together
from shared.events import FailureReason
from shared.leases import MAX_FAILURES, Leased
from shared.library.documents import Call
from shared.outages import Away, Pace, outage_after, outage_of
from shared.outbox import Transaction
from shared.postgres import Connection

log = structlog.get_logger()
queries: Any = aiosql.from_path(Path(__file__).parent / "accounts.sql", "asyncpg")

PACE = Pace(first=1.0, ceiling=60.0)  # of calls to a provider that takes none
PATIENCE = timedelta(hours=24)  # a job is tried so long, and then ends with what the provider said last
# What says of the provider rather than of the job that it failed.
THEIRS = frozenset({FailureReason.BACKEND_UNAVAILABLE, FailureReason.MODEL_TIMEOUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What one call said of its account: `away` None, it answered. `first`: the job had not been tried before."""

    lease: Leased
    away: Away | None = None
    busy: bool = False
    first: bool = True

    @property
    def may_be_the_jobs(self) -> bool:
        """Whether it counts against the job where the account answers others."""
        return self.away is not None and not self.busy and not self.first


def away_of(failure: BackendFailure, *, call: Call | None) -> Away | None:
    """What a failed call says of its account; None: nothing, it is the job's, or nobody's account was called."""
    unheard = (failure.retriable or failure.uncertain) and not failure.answered
    theirs = failure.busy or (unheard and failure.reason in THEIRS)
    return Away(cause=failure.detail, seconds=failure.after) if theirs and call is not None else None


def away_delay(number: int) -> float:
    """Seconds until a job may go again whose `number`-th call failed: longer than until the account is asked next.

    So the next call is another job's, where another waits: what fails for a reason of its own stands in nobody's way.
    """
    return 2 * min(PACE.ceiling, 2.0**number)


def was_tried_long(seconds: float) -> bool:
    """Whose first attempt began so long ago; what waited before that waited for others."""
    return seconds > PATIENCE.total_seconds()


async def rooms(connection: Connection, kinds: Collection[str]) -> dict[str, int]:
    """Accounts that are away → how many calls may go out now: none, or one when it is time."""
    accounts = {account for kind in kinds if (account := account_of(kind)) is not None}
    if not accounts:
        return {}
    away = {row["account"]: row["due"] async for row in queries.away(connection, accounts=list(accounts))}
    if not any(away.values()):
        return dict.fromkeys(away, 0)
    asking = {account_of(row["kind"]) async for row in queries.under_way(connection, kinds=together(kinds))}
    return {account: int(is_due and account not in asking) for account, is_due in away.items()}


async def hear(transaction: Transaction, words: Iterable[Word]) -> None:
    """What calls said of their accounts, in the transaction that settles them."""
    said: dict[str, list[Word]] = defaultdict(list)
    for word in words:
        if (account := account_of(word.lease.kind)) is not None:
            said[account].append(word)
    counted: list[Leased] = []
    # In one order everywhere, so that two workers' settlements cannot wait for each other.
    for account, spoken in sorted(said.items()):
        if any(word.away is None for word in spoken):
            await _answers(transaction, account, {word.lease.kind for word in spoken})
            answered_others = True
        else:
            answered_others = await _is_away(transaction, account, spoken)
        if answered_others:
            counted += [word.lease for word in spoken if word.may_be_the_jobs]
    if counted:
        await queries.count_failures(
            transaction.connection,
            ids=[lease.work_id for lease in counted],
            asked=[lease.asked_at for lease in counted],
            most=MAX_FAILURES,
        )


async def _is_away(transaction: Transaction, account: str, spoken: Sequence[Word]) -> bool:
    """Notes that calls failed and none did not; whether the account had answered whoever called last."""
    row = await queries.outage(transaction.connection, account=account)
    before = outage_of(row)
    tries = [word.away for word in spoken if word.away is not None]
    after = outage_after(before, tries, now=row["now"], pace=PACE, draw=random.random())  # noqa: S311
    await queries.note_outage(
        transaction.connection,
        account=account,
        failures=after.failures,
        cause=after.cause,
        busy=spoken[-1].busy,
        probe_at=after.probe_at,
    )
    if before.probe_at is None and after.probe_at is not None:
        log.warning("account.away", account=account, cause=after.cause, until=after.probe_at.isoformat())
    return before.failures == 0


async def _answers(transaction: Transaction, account: str, kinds: Collection[str]) -> None:
    ended = [row async for row in queries.end_outages(transaction.connection, accounts=[account])]
    for row in ended:
        if row["probe_at"] is not None:
            await queries.resume(transaction.connection, kinds=together(kinds))
            log.info("account.back", account=account, since=row["since"].isoformat())
