"""How publications end on a real Postgres, with a target that loses, mumbles, moves or is switched off."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.local.servers import EmbeddedServers
from services.publisher.handler import KIND, apply_approvals, apply_targets
from services.publisher.outages import Claims
from services.publisher.worker import Publisher, exhausted
from shared.events import AssetApproved, Confidentiality
from shared.kafka import Producer
from shared.leases import Worker
from shared.library.documents import TargetDocument
from shared.outages import Pace
from shared.outbox import Outbox
from shared.postgres import Pool, open_pool, transaction
from tests.live.publishing import blobs_at, hold, settings_at, target_changed, until
from tests.live.stage import new_database
from tests.publisher.builders import MemoryTarget, PostBox, approved, delivery, target_document


@dataclass
class Desk:
    """A worker with one target in memory; its facts stay in the outbox, to be read there."""

    pool: Pool
    outbox: Outbox
    worker: Worker
    target: MemoryTarget | PostBox
    asset: AssetApproved

    async def know(self, document: TargetDocument, state: str = "published") -> None:
        async with self.outbox.transaction() as transaction:
            await apply_targets(transaction, [target_changed(document, state=state)], worker=self.worker)

    async def approve(self) -> None:
        async with self.outbox.transaction() as transaction:
            await apply_approvals(transaction, [self.asset], worker=self.worker)

    async def state(self) -> dict[str, Any]:
        row = await self.pool.fetchrow(
            "select * from publications where publication_id = $1", delivery().publication_id
        )
        return dict(row or {})

    async def is_no_longer(self, state: str) -> dict[str, Any]:
        async def changed() -> bool:
            return bool((await self.state())["state"] != state)

        await until(changed)
        return await self.state()

    async def facts(self) -> list[dict[str, Any]]:
        return [orjson.loads(row["body"]) for row in await self.pool.fetch("select body from outbox order by id")]


@pytest.fixture
async def desk(servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Desk]:
    settings = settings_at(servers, await new_database(servers), tmp_path)
    pool = await open_pool(settings.database_url.get_secret_value(), stage="publisher")
    outbox = Outbox(pool, Producer(settings))  # never started: what it would send stays where it can be read
    blobs = blobs_at(settings)
    pace = Pace(first=0.05, ceiling=0.2)
    publisher = Publisher(pool=pool, blobs=blobs, open_target=lambda _document, _workspace: at.target, pace=pace)
    claims = Claims()
    worker = Worker(
        stage="publisher",
        outbox=outbox,
        pool=pool,
        kinds=[KIND],
        run=publisher.run,
        record=publisher.record,
        exhausted=exhausted,
        claim=claims.claim,
    )
    claims.worker = worker
    at = Desk(pool, outbox, worker, MemoryTarget(), await hold(blobs, approved()))
    yield at
    await worker.stop()
    await pool.close()


async def test_a_time_out_after_which_the_set_is_found_is_a_delivery(desk: Desk) -> None:
    desk.target = MemoryTarget(mumbles=True)
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()
    assert (await desk.is_no_longer("pending"))["state"] == "delivered"
    assert desk.target.deliveries == 1


async def test_a_time_out_after_which_nothing_is_found_is_tried_again_once_it_was_looked_up(desk: Desk) -> None:
    desk.target = MemoryTarget(drops=True, keyed=False)
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()

    async def tried() -> bool:
        return bool((await desk.state())["unsure"])

    await until(tried)
    assert (await desk.state())["state"] == "pending"
    desk.target.drops = False
    assert (await desk.is_no_longer("pending"))["state"] == "delivered"
    assert desk.target.deliveries == 1


@pytest.mark.parametrize("taken", [False, True])
async def test_without_key_and_look_up_a_time_out_is_uncertain_said_once_and_never_repeated(
    desk: Desk, *, taken: bool
) -> None:
    desk.target = box = PostBox(drops=not taken, mumbles=taken)
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()
    row = await desk.is_no_longer("pending")
    assert (row["state"], row["code"]) == ("uncertain", "uncertain")
    assert row["remedy"] == "look whether site has it, then settle or retry"
    (fact,) = await desk.facts()
    assert fact["uncertain"] is True
    assert await desk.pool.fetchval("select ready_at from work") is None
    assert len(box.taken) == taken


async def test_without_key_and_look_up_a_refused_connection_is_tried_again_for_it_took_nothing(desk: Desk) -> None:
    desk.target = box = PostBox(down=True)
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()

    async def waits() -> bool:
        return bool((await desk.state())["code"] == "waiting")

    await until(waits)
    box.down = False
    row = await desk.is_no_longer("pending")
    assert (row["state"], row["verified"], len(box.taken)) == ("delivered", "acknowledged", 1)


async def test_without_key_and_look_up_what_was_under_way_when_its_worker_ended_is_uncertain(desk: Desk) -> None:
    """Stopped in the middle, killed in the middle: nobody knows, so nobody sends it again."""
    desk.target = box = PostBox()
    box.waits.clear()
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()

    async def claimed() -> bool:
        return bool(desk.worker.held)

    await until(claimed)
    await desk.worker.stop(within=0.1)
    row = await desk.state()
    assert (row["state"], box.taken) == ("uncertain", [])


@pytest.mark.parametrize(("sent", "state"), [(True, "uncertain"), (False, "delivered")])
async def test_without_key_and_look_up_a_lost_lease_is_uncertain_once_it_was_sent(
    desk: Desk, *, sent: bool, state: str
) -> None:
    desk.target = box = PostBox()
    await desk.know(target_document())
    await desk.approve()
    await desk.pool.execute("update work set holder = 'dead', ready_at = clock_timestamp() - interval '1 second'")
    if sent:
        await desk.pool.execute("update publications set sent_run = run")
    await desk.worker.start()
    assert (await desk.is_no_longer("pending"))["state"] == state
    assert len(box.taken) == (not sent)


async def test_without_key_and_look_up_a_zombie_that_wakes_sends_nothing(desk: Desk) -> None:
    desk.target = box = PostBox()
    await desk.know(target_document())
    await desk.approve()
    claims = Claims(desk.worker)
    async with transaction(desk.pool) as connection:
        (zombie,) = await claims.claim(connection, 1)
    await desk.pool.execute("update work set epoch = epoch + 1")
    assert desk.worker.run is not None
    await desk.worker.run(zombie)
    assert box.taken == []


async def test_a_keyed_target_is_sent_the_same_again_and_a_refusal_after_that_is_uncertain(desk: Desk) -> None:
    desk.target = box = PostBox(keyed=True, mumbles=True)
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()

    async def again() -> bool:
        return len(box.taken) > 2

    await until(again)
    assert set(box.taken) == {delivery().publication_id}
    await desk.know(target_document(), state="retired")
    row = await desk.is_no_longer("pending")
    assert (row["state"], "may have been taken" in row["detail"]) == ("uncertain", True)


@pytest.mark.parametrize(("unsure", "state"), [(False, "failed"), (True, "uncertain")])
async def test_after_its_patience_a_publication_ends_as_what_is_known_of_it(
    desk: Desk, *, unsure: bool, state: str
) -> None:
    desk.target = PostBox(keyed=True, down=not unsure, mumbles=unsure)
    settings = {"url": "https://dam.example/x", "secrets": ["x"], "give_up_hours": 1}
    await desk.know(target_document(type="webhook", settings=settings))
    await desk.approve()
    await desk.worker.start()

    async def away() -> bool:
        return bool(await desk.pool.fetchval("select count(*) from outages where probe_at is not null"))

    await until(away)
    await desk.pool.execute("update work set created_at = created_at - interval '2 hours'")
    row = await desk.is_no_longer("pending")
    assert row["state"] == state
    (fact,) = await desk.facts()
    assert fact["uncertain"] is unsure


async def test_a_target_that_is_switched_off_holds_its_publications_and_says_so(desk: Desk) -> None:
    await desk.know(target_document(enabled=False))
    await desk.approve()
    await desk.worker.start()

    async def said() -> bool:
        return bool((await desk.state())["detail"] == "site is switched off")

    await until(said)
    assert (await desk.state())["state"] == "pending"
    assert desk.target == MemoryTarget()  # untouched


async def test_a_ceiling_that_came_down_while_a_publication_waited_holds(desk: Desk) -> None:
    desk.asset = desk.asset.model_copy(update={"confidentiality": Confidentiality.INTERNAL})
    await desk.know(target_document(ceiling=Confidentiality.INTERNAL))
    await desk.approve()
    await desk.know(target_document(version=2, ceiling=Confidentiality.PUBLIC))
    await desk.worker.start()
    row = await desk.is_no_longer("pending")
    assert (row["state"], row["code"]) == ("failed", "above_ceiling")
    assert desk.target == MemoryTarget()  # untouched


async def test_a_target_that_was_retired_takes_nothing_more(desk: Desk) -> None:
    await desk.know(target_document())
    await desk.approve()
    await desk.know(target_document(), state="retired")
    await desk.worker.start()
    assert (await desk.is_no_longer("pending"))["code"] == "target_retired"
    assert desk.target == MemoryTarget()  # untouched


async def test_a_bug_ends_as_uncertain_after_three_failures_and_never_as_delivered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug(_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.target, "look_up", bug)
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()
    row = await desk.is_no_longer("pending")
    assert row["state"] == "uncertain"
    assert "failed 3 times" in row["detail"]
    assert [fact["code"] for fact in await desk.facts()] == ["uncertain"]
