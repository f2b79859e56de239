"""Versions of an asset at one target: the one approved last is served, whatever came when and was killed between."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from deploy.local.servers import EmbeddedServers
from services.publisher import reconcile
from services.publisher.domain import Delivered, Newer, delivery_of, published, superseded
from services.publisher.handler import KIND, apply_approvals, apply_targets
from services.publisher.outages import SHARES, Claims
from services.publisher.settings import PublisherSettings
from services.publisher.settling import Statement, settle_by_hand
from services.publisher.worker import Publisher, exhausted
from shared.events import AssetApproved, AssetPublished, AssetSuperseded, Verified
from shared.kafka import Producer, create_topics
from shared.leases import Worker
from shared.outages import Pace
from shared.outbox import Outbox
from shared.postgres import Pool, open_pool, transaction
from tests.live.publishing import blobs_at, hold, publisher, settings_at, target_changed, until
from tests.live.stage import new_database
from tests.live.test_publisher_killed import nothing_left, start, told
from tests.publisher.builders import APPROVED_AT, PostBox, approved, newer, target_document


def publication(asset: AssetApproved, target: str = "site") -> UUID:
    return delivery_of(asset, target=target).publication_id


async def test_the_old_version_is_superseded_where_the_new_one_stands(servers: EmbeddedServers, tmp_path: Path) -> None:
    async with publisher(servers, tmp_path) as running:
        old = await hold(running.service.blobs, approved("old"))
        new = newer(old)
        await running.send(
            target_changed(target_document()), target_changed(target_document("shop", settings={"path": "shop"})), old
        )
        delivered = await running.ended(2)
        await running.send(new)
        found = await running.ended(4)
        assert {type(event) for event in delivered} == {AssetPublished}
        assert {(event.target, type(event), event.asset_version_id) for event in found} == {
            (target, kind, asset.asset_version_id)
            for target in ("site", "shop")
            for kind, asset in ((AssetPublished, new), (AssetSuperseded, old))
        }
        assert {e.superseded_by for e in found if isinstance(e, AssetSuperseded)} == {new.asset_version_id}
        sets = [path.parent for path in running.folder.rglob("*.json")]
        assert len(sets) == len(set(sets)) == 4, "what stood there stands there"

        # A version is heard of when one that was approved later stands already: it is not sent to be served instead.
        between = newer(old, hours=0.5)
        await running.send(between)
        late = await running.ended(2)
        assert {(type(e), e.asset_version_id) for e in late} == {(AssetSuperseded, between.asset_version_id)}
        assert len(list(running.folder.rglob("*.json"))) == 4
        async with running.member() as reader:
            page = (await reader.get("/v1/publications", params={"asset": str(old.asset_id)})).json()["publications"]
        states = Counter((p["asset_version_id"], p["state"], p["location"] is not None) for p in page)
        assert states == {
            (str(old.asset_version_id), "superseded", True): 2,
            (str(between.asset_version_id), "superseded", False): 2,
            (str(new.asset_version_id), "delivered", True): 2,
        }


async def test_of_two_versions_that_wait_for_one_target_the_old_one_never_comes_after_the_new_one(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with bench(servers, tmp_path) as (pool, outbox, settings):
        blobs, box = blobs_at(settings), PostBox()
        old = await hold(blobs, approved("turn"))
        new = newer(old)
        await approve(outbox, pool, old, new)
        stage = Publisher(
            pool=pool, blobs=blobs, open_target=lambda _document, _workspace: box, pace=Pace(first=0.1, ceiling=1)
        )
        claims = Claims()
        claims.worker = Worker(
            stage="publisher",
            outbox=outbox,
            pool=pool,
            kinds=[KIND],
            run=stage.run,
            record=stage.record,
            exhausted=exhausted,
            claim=claims.claim,
            concurrency=2 * SHARES,
        )
        async with transaction(pool) as connection:
            both = {lease.work_id: lease for lease in await claims.claim(connection, 2)}
        first, second = [await stage.run(both[publication(asset)]) for asset in (new, old)]
        assert (first.name, first.detail) == ("again", "an older version is under way")
        assert (second.name, second.detail) == (
            "again",
            f"{new.asset_version_id}, which was approved later, goes first",
        )
        assert box.taken == []

        await pool.execute("update work set holder = null, ready_at = clock_timestamp() where ready_at is not null")
        await claims.worker.start()
        await until(lambda: nobody_waits(pool))
        await claims.worker.stop()
        rows = await pool.fetch("select publication_id, state from publications")
        assert dict(map(tuple, rows)) == {publication(old): "superseded", publication(new): "delivered"}
        assert box.taken == [publication(new)]
        assert await pool.fetchval("select count(*) from outages") == 0, "that one waits its turn is no outage"


async def test_of_two_that_are_settled_at_the_same_moment_the_second_sees_the_first(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with bench(servers, tmp_path) as (pool, outbox, _):
        old, new = approved("same"), newer(approved("same"))
        await approve(outbox, pool, new, old)
        await pool.execute("update publications set state = 'uncertain'")
        there = Statement(delivered=True, note="I looked")
        async with outbox.transaction() as first:
            await settle_by_hand(first, publication(new), there, by="otto")

            async def second() -> None:
                async with outbox.transaction() as transaction:
                    await settle_by_hand(transaction, publication(old), there, by="otto")

            settling = asyncio.create_task(second())
            await until(lambda: pool.fetchval("select count(*) > 0 from pg_locks where not granted"))
        await settling
        rows = await pool.fetch("select publication_id, state from publications")
        assert dict(map(tuple, rows)) == {publication(old): "superseded", publication(new): "delivered"}
        assert await pool.fetchval("select count(*) from outbox where headers like '%AssetSuperseded%'") == 1

        fact = superseded(delivery_of(old, target="site"), Newer.of(new.body().decode()), now=APPROVED_AT)
        await pool.execute("update publications set state = 'delivered', location = 'there'")
        for _ in range(2):  # a restore of what was copied before; one that is interrupted does it again
            async with outbox.transaction() as transaction:
                await reconcile.settle(transaction, [fact])
        (row,) = await pool.fetch(
            "select state, location from publications where publication_id = $1", publication(old)
        )
        assert tuple(row) == ("superseded", "there")

        # Both were told and that the old one is superseded was not.
        await pool.execute("update publications set state = 'pending', location = null")
        both = [delivery_of(asset, target="site") for asset in (new, old)]
        stands = Delivered(location="there", receipts=[], verified=Verified.STATED)
        async with outbox.transaction() as transaction:
            await reconcile.settle(transaction, [published(each, stands, now=APPROVED_AT) for each in both])
        rows = await pool.fetch("select publication_id, state from publications")
        assert dict(map(tuple, rows)) == {publication(old): "superseded", publication(new): "delivered"}
        assert await pool.fetchval("select count(*) from outbox where headers like '%AssetSuperseded%'") == 2

        # Both were approved after the backup too: their approvals are heard again when both are known to be delivered.
        for table in ("publications", "assets", "work", "outbox"):
            await pool.execute(f"delete from {table}")
        async with outbox.transaction() as transaction:
            await reconcile.settle(transaction, [published(each, stands, now=APPROVED_AT) for each in both])
        await approve(outbox, pool, old, new)
        await approve(outbox, pool, old, new)
        rows = await pool.fetch("select publication_id, state from publications")
        assert dict(map(tuple, rows)) == {publication(old): "superseded", publication(new): "delivered"}
        assert await pool.fetchval("select count(*) from outbox where headers like '%AssetSuperseded%'") == 1
        assert await pool.fetchval("select count(*) from work where ready_at is not null") == 0, "nothing is sent again"


async def test_killed_around_its_settlement_the_newest_version_is_served_and_each_old_one_told_once(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with bench(servers, tmp_path) as (pool, outbox, settings):
        old = await hold(blobs_at(settings), approved("old"))
        versions = [old, newer(old), newer(old, hours=2)]
        for step, version in zip(("settled", "settling", "delivered"), versions, strict=True):
            await approve(outbox, pool, version)
            dying = await start(step, settings, settings.database_url.get_secret_value())
            assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL, step
        last = await start("never", settings, settings.database_url.get_secret_value())
        await until(lambda: nothing_left(pool), seconds=60)
        await last.communicate(b"")  # its standard input ends, so it stops in order
        rows = await pool.fetch("select publication_id, state from publications")
        ends = ["superseded", "superseded", "delivered"]
        assert dict(map(tuple, rows)) == dict(zip(map(publication, versions), ends, strict=True))
        facts = {event.event_id: event for event in await told(servers, settings)}
        gone = Counter(e.publication_id for e in facts.values() if isinstance(e, AssetSuperseded))
        assert gone == {publication(version): 1 for version in versions[:2]}
        served = Counter(e.publication_id for e in facts.values() if isinstance(e, AssetPublished))
        assert served[publication(versions[2])] == 1
        assert max(served.values()) == 1


@asynccontextmanager
async def bench(servers: EmbeddedServers, folder: Path) -> AsyncIterator[tuple[Pool, Outbox, PublisherSettings]]:
    """A publisher's database with one target and nobody who works."""
    url = await new_database(servers)
    settings = settings_at(servers, url, folder)
    await create_topics(settings)
    pool = await open_pool(url, stage="publisher")
    outbox = Outbox(pool, Producer(settings))
    async with outbox.transaction() as transaction:
        await apply_targets(transaction, [target_changed(target_document())], worker=front(outbox, pool))
    try:
        yield pool, outbox, settings
    finally:
        await pool.close()


async def nobody_waits(pool: Pool) -> bool:
    return not await pool.fetchval("select count(*) from publications where state = 'pending'")


def front(outbox: Outbox, pool: Pool) -> Worker:
    return Worker(stage="publisher", outbox=outbox, pool=pool, kinds=[], exhausted=exhausted)


async def approve(outbox: Outbox, pool: Pool, *assets: AssetApproved) -> None:
    async with outbox.transaction() as transaction:
        await apply_approvals(transaction, assets, worker=front(outbox, pool))
