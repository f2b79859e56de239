"""Targets that hang or are away, on a real Postgres: what they hold of a worker, and when they are asked again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local.servers import EmbeddedServers
from services.publisher.domain import Delivered, Delivery
from services.publisher.handler import KIND, apply_approvals, apply_targets
from services.publisher.outages import SHARES, Claims, take_at_once
from services.publisher.targets import Read
from services.publisher.worker import Publisher, exhausted
from shared.brakes import brake
from shared.kafka import Producer
from shared.leases import Leased, NewWork, Worker
from shared.outages import Pace
from shared.outbox import Outbox
from shared.postgres import Pool, open_pool, transaction
from tests.live.publishing import blobs_at, settings_at, target_changed, until
from tests.live.stage import new_database
from tests.publisher.builders import WORKSPACE, PostBox, approved, target_document

SHARE = 2


@dataclass
class Stuck(PostBox):
    """Takes a call and answers nothing; how many it holds is what it costs."""

    keyed: bool = True
    holds: int = 0
    most: int = 0

    async def deliver(self, delivery: Delivery, *, read: Read) -> Delivered:
        self.holds += 1
        self.most = max(self.most, self.holds)
        try:
            await asyncio.Event().wait()
        finally:
            self.holds -= 1
        raise AssertionError


@dataclass
class Desk:
    """A worker with a share of two for each target, and what its targets are."""

    pool: Pool
    outbox: Outbox
    worker: Worker
    claims: Claims
    targets: dict[str, PostBox] = field(default_factory=dict)

    async def queue(self, names: list[str], *, assets: int) -> None:
        async with self.outbox.transaction() as running:
            known = [target_changed(target_document(name)) for name in names]
            await apply_targets(running, known, worker=self.worker)
            await apply_approvals(running, [approved(f"n{n}") for n in range(assets)], worker=self.worker)

    async def away(self, *names: str, due: bool) -> None:
        """As after tries that failed; `due`: it is time to ask again."""
        for name in names:
            await self.pool.execute(
                "insert into outages (workspace, target, failures, since, cause, probe_at) values "
                "($1, $2, 3, clock_timestamp(), 'refused', clock_timestamp() + $3 * interval '1 hour')",
                WORKSPACE,
                name,
                -1 if due else 1,
            )

    async def claim(self, many: int = 100) -> list[Leased]:
        async with transaction(self.pool) as connection:
            return await self.claims.claim(connection, many)


@pytest.fixture
async def desk(servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Desk]:
    settings = settings_at(servers, await new_database(servers), tmp_path)
    pool = await open_pool(settings.database_url.get_secret_value(), stage="publisher")
    outbox = Outbox(pool, Producer(settings))
    claims = Claims()
    targets: dict[str, PostBox] = {}
    publisher = Publisher(
        pool=pool,
        blobs=blobs_at(settings),
        open_target=lambda document, _workspace: targets[document.name],
        pace=Pace(first=0.05, ceiling=0.2),
    )
    claims.worker = Worker(
        stage="publisher",
        outbox=outbox,
        pool=pool,
        kinds=[KIND],
        run=publisher.run,
        record=publisher.record,
        exhausted=exhausted,
        concurrency=SHARE * SHARES,
        claim=claims.claim,
    )
    yield Desk(pool, outbox, claims.worker, claims, targets)
    await claims.worker.stop(within=0)
    await pool.close()


def per_target(leases: list[Leased]) -> Counter[str | None]:
    return Counter(lease.subject for lease in leases)


async def test_a_target_that_hangs_holds_its_share_and_the_other_gets_everything(desk: Desk) -> None:
    stuck, good = Stuck(), PostBox()
    desk.targets |= {"stuck": stuck, "good": good}
    await desk.queue(["stuck", "good"], assets=30)
    await desk.worker.start()

    async def all_there() -> bool:
        return len(good.taken) == 30

    await until(all_there)
    assert stuck.most == SHARE


async def test_a_claim_gives_each_target_its_share_whatever_waits_for_the_others(desk: Desk) -> None:
    await desk.queue(["a", "b", "c"], assets=10)
    assert per_target(await desk.claim()) == {"a": SHARE, "b": SHARE, "c": SHARE}
    assert await desk.claim() == []  # what it holds counts
    await desk.pool.execute("update work set holder = null, ready_at = null where holder is not null and subject = 'b'")
    assert per_target(await desk.claim()) == {"b": SHARE}


async def test_of_a_target_that_is_away_one_goes_when_it_is_time_and_all_of_them_hold_one_share(desk: Desk) -> None:
    names = ["a", "b", "c", "d"]
    await desk.queue([*names, "good", "later"], assets=5)
    await desk.away(*names, due=True)
    await desk.away("later", due=False)
    claimed = per_target(await desk.claim())
    assert claimed.pop("good") == SHARE
    assert len(claimed) == SHARE and set(claimed.values()) == {1} and set(claimed) < set(names)
    assert await desk.claim() == []  # none of the others as long as these are under way


async def test_what_is_new_for_a_target_that_is_away_waits_its_turn_and_the_rest_starts_at_once(desk: Desk) -> None:
    desk.targets |= {"away": Stuck(), "good": Stuck()}
    await desk.away("away", due=False)
    await desk.worker.start()

    async def idle() -> bool:
        return desk.worker.room() > 0

    await until(idle)
    rows = [
        NewWork(work_id=approved(f"{name}{n}").event_id, kind=KIND, workspace=WORKSPACE, payload="", subject=name)
        for name in ("away", "good")
        for n in range(5)
    ]
    async with transaction(desk.pool) as connection:
        taken = await take_at_once(connection, rows, worker=desk.worker)
    assert Counter(piece.subject for piece in taken) == {"good": SHARE}


async def test_a_target_behind_a_brake_is_passed_over(desk: Desk) -> None:
    await desk.queue(["a", "b"], assets=5)
    async with transaction(desk.pool) as connection:
        await brake(connection, kind="target", name="a", mode="pause", by="ada", reason=None)
    assert per_target(await desk.claim()) == {"b": SHARE}


async def test_what_waited_longer_than_its_target_allows_is_claimed_to_be_ended(desk: Desk) -> None:
    await desk.queue(["a"], assets=1)
    await desk.away("a", due=False)
    assert await desk.claim() == []
    await desk.pool.execute("update targets set patience = interval '1 hour'")
    await desk.pool.execute("update work set created_at = created_at - interval '2 hours'")
    assert per_target(await desk.claim()) == {"a": 1}


async def test_a_lost_lease_is_claimed_and_counted(desk: Desk) -> None:
    await desk.queue(["a"], assets=1)
    await desk.claim()
    await desk.pool.execute("update work set holder = 'dead', ready_at = clock_timestamp() - interval '1 second'")
    (lease,) = await desk.claim()
    assert (lease.losses, lease.epoch) == (1, 2)
