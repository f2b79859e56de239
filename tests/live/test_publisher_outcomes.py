"""How publications end on a real Postgres, with a target that loses, mumbles, moves or is switched off."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.local.servers import EmbeddedServers
from services.publisher.handler import KIND, apply_approvals, apply_targets
from services.publisher.worker import Publisher, exhausted
from shared.events import AssetApproved, Confidentiality
from shared.kafka import Producer
from shared.leases import Worker
from shared.library.documents import TargetDocument
from shared.outbox import Outbox
from shared.postgres import Pool, open_pool
from tests.live.publishing import blobs_at, hold, new_database, settings_at, target_changed, until
from tests.publisher.builders import MemoryTarget, approved, delivery, target_document


@dataclass
class Desk:
    """A worker with one target in memory; its facts stay in the outbox, to be read there."""

    pool: Pool
    outbox: Outbox
    worker: Worker
    target: MemoryTarget
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
    target = MemoryTarget()
    blobs = blobs_at(settings)
    publisher = Publisher(pool=pool, blobs=blobs, open_target=lambda _document, _workspace: target)
    worker = Worker(
        stage="publisher",
        outbox=outbox,
        pool=pool,
        kinds=[KIND],
        run=publisher.run,
        record=publisher.record,
        exhausted=exhausted,
    )
    yield Desk(pool, outbox, worker, target, await hold(blobs, approved()))
    await worker.stop()
    await pool.close()


async def test_a_time_out_after_which_the_set_is_found_is_a_delivery(desk: Desk) -> None:
    desk.target.mumbles = True
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()
    assert (await desk.is_no_longer("pending"))["state"] == "delivered"
    assert desk.target.deliveries == 1


async def test_a_time_out_after_which_nothing_is_found_is_uncertain_said_once_and_not_repeated(desk: Desk) -> None:
    desk.target.drops = True
    await desk.know(target_document())
    await desk.approve()
    await desk.worker.start()
    row = await desk.is_no_longer("pending")
    assert (row["state"], row["code"]) == ("uncertain", "uncertain")
    assert row["remedy"] == "look whether site has it, then retry"
    (fact,) = await desk.facts()
    assert fact["uncertain"] is True
    assert await desk.pool.fetchval("select ready_at from work") is None


async def test_a_target_that_is_switched_off_holds_its_publications_and_says_so(desk: Desk) -> None:
    await desk.know(target_document(enabled=False))
    await desk.approve()
    await desk.worker.start()

    async def said() -> bool:
        return bool((await desk.state())["detail"] == "site is switched off")

    await until(said)
    assert (await desk.state())["state"] == "pending"
    assert desk.target.sets == {}


async def test_a_ceiling_that_came_down_while_a_publication_waited_holds(desk: Desk) -> None:
    desk.asset = desk.asset.model_copy(update={"confidentiality": Confidentiality.INTERNAL})
    await desk.know(target_document(ceiling=Confidentiality.INTERNAL))
    await desk.approve()
    await desk.know(target_document(version=2, ceiling=Confidentiality.PUBLIC))
    await desk.worker.start()
    row = await desk.is_no_longer("pending")
    assert (row["state"], row["code"]) == ("failed", "above_ceiling")
    assert desk.target.sets == {}


async def test_a_target_that_was_retired_takes_nothing_more(desk: Desk) -> None:
    await desk.know(target_document())
    await desk.approve()
    await desk.know(target_document(), state="retired")
    await desk.worker.start()
    assert (await desk.is_no_longer("pending"))["code"] == "target_retired"
    assert desk.target.sets == {}


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
