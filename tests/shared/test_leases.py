"""What a worker does when work, or the stage's word on its end, goes wrong; on a queue of its own, without Postgres."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Unavailable
from shared.leases import MAX_FAILURES, Fence, Leased, Outcome, Worker


@dataclass(eq=False)
class Rehearsal(Worker):
    """A worker whose rows stand in a list."""

    waiting: list[Leased] = field(default_factory=list)
    settled: list[tuple[Leased, Outcome]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    away: bool = False

    async def _claim(self, many: int) -> list[Leased]:
        if self.away:
            raise Unavailable("postgres")
        self.calls.append("claim")
        claimed, self.waiting = self.waiting[:many], self.waiting[many:]
        return claimed

    async def _renew(self) -> None:
        if self.away:
            raise Unavailable("postgres")
        self.calls.append("renew")
        await super()._renew() if not self.held else None

    async def _settle_once(self, group: Sequence[tuple[Leased, Outcome]]) -> set[Fence]:
        self.settled.extend(group)
        return {lease.fence for lease, _ in group}


def lease(**more: Any) -> Leased:
    return Leased(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}", epoch=1, **more)


def ended(lease: Leased, why: str) -> Outcome:
    return Outcome(name="exhausted", detail=why)


def unspeakable(lease: Leased, why: str) -> Outcome:
    raise ValueError("the payload cannot be read")


@asynccontextmanager
async def working(
    run: Any, *leases: Leased, exhausted: Callable[[Leased, str], Outcome] = ended, **more: Any
) -> AsyncIterator[Rehearsal]:
    unused: Any = None
    worker = Rehearsal(
        stage="test", outbox=unused, pool=unused, kinds=["k"], run=run, exhausted=exhausted, waiting=[*leases], **more
    )
    await worker.start()
    try:
        yield worker
    finally:
        worker.held.clear()
        await worker.stop(within=0.1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def done(lease: Leased) -> Outcome:
    return Outcome(name="done")


async def test_work_whose_end_cannot_be_told_waits_and_holds_up_no_other() -> None:
    stuck = lease(failures=MAX_FAILURES)
    async with working(done, stuck, lease(), exhausted=unspeakable) as worker:
        worker.waiting.append(lease())
        worker.wake()
        await until(lambda: len(worker.settled) == 3)
        assert not worker.held
    outcomes = {lease.work_id: outcome for lease, outcome in worker.settled}
    assert outcomes.pop(stuck.work_id).delay
    assert [outcome.name for outcome in outcomes.values()] == ["done", "done"]


async def test_work_that_waited_for_something_cancelled_is_settled_all_the_same() -> None:
    async def waits(lease: Leased) -> Outcome:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        raise AssertionError

    async with working(waits, lease()) as worker:
        await until(lambda: bool(worker.settled))
        assert worker.settled[0][1].failed
        assert not worker.held


async def test_after_an_outage_a_worker_renews_what_it_holds_before_it_claims() -> None:
    async def endless(lease: Leased) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    async with working(endless, lease(), lease_seconds=0.4) as worker:
        await until(lambda: bool(worker.held))
        worker.away = True
        await asyncio.sleep(0.5)
        worker.calls.clear()
        worker.away = False
        await until(lambda: "claim" in worker.calls)
        assert worker.calls[0] == "renew"


async def test_a_claim_of_work_this_process_still_runs_tells_the_older_run() -> None:
    first = lease()

    async def endless(lease: Leased) -> Outcome:
        while not lease.lost:
            await asyncio.sleep(0.005)
        return Outcome(name="late")

    async with working(endless, first) as worker:
        await until(lambda: bool(worker.held))
        again = Leased(work_id=first.work_id, kind="k", workspace=first.workspace, payload="{}", epoch=2)
        worker.waiting.append(again)
        worker.wake()
        await until(lambda: bool(worker.settled))
        assert worker.settled[0][0] is first and first.lost
        assert worker.held == {again.work_id: again} and not again.lost
        again.lost = True


async def test_what_is_made_and_still_to_be_kept_leaves_its_slot_to_the_next_and_is_bounded() -> None:
    begun: list[Leased] = []
    kept = asyncio.Event()

    async def makes_and_keeps(lease: Leased) -> Outcome:
        begun.append(lease)
        lease.free()
        await kept.wait()
        return Outcome(name="done")

    async with working(makes_and_keeps, *(lease() for _ in range(5)), concurrency=1) as worker:
        await until(lambda: len(begun) == 2)
        assert worker.room() == 0, "a second one that is made and not kept waits for the first"
        kept.set()
        await until(lambda: len(worker.settled) == 5)
