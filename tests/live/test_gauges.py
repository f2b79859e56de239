"""What /metrics says of the tables: counted when somebody asks, seldom, and without holding a scrape up."""

import uuid
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from deploy.local.servers import EmbeddedServers
from shared import gauges
from shared.gauges import Gauges
from shared.leases import NewWork, brake, enqueue
from shared.postgres import open_pool, transaction
from tests.catalog.facts import Request
from tests.live.cataloguing import catalog
from tests.live.stage import STAGE, new_database
from tests.live.test_dead_letters import letters, refused


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_queue_outbox_and_brakes_are_counted_and_what_is_gone_is_not_there_any_more(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "AT_MOST_EVERY", 0.0)
    monkeypatch.setattr(gauges, "RESTS", 0)
    pool = await open_pool(await new_database(servers), stage=STAGE)
    try:
        async with transaction(pool) as connection:
            rows = [NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}") for _ in range(3)]
            await enqueue(connection, rows[:2])
            await enqueue(connection, rows[2:], holder="gone", lease=-1.0)
            await enqueue(connection, [NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}",
                                               lane="bulk")])  # fmt: skip
            await brake(connection, kind="lane", name="bulk", mode="drain", by="otto", reason="a test")
            await connection.execute(
                "insert into outbox (topic, key, headers, body, refused) "
                "values ('t', 'k', '[]', '{}', null), ('t', 'k', '[]', '{}', 'too large')"
            )
        counted = Gauges(STAGE, pool)
        await counted.refresh()
        standard = {"stage": STAGE, "lane": "standard", "kind": "k"}
        assert value("calotype_queue_work", **standard, state="waiting") == 2
        assert value("calotype_queue_work", **standard, state="lost") == 1
        assert value("calotype_queue_work", **(standard | {"lane": "bulk"}), state="held") == 1
        assert (value("calotype_queue_oldest_seconds", **standard) or 0) > 0
        assert value("calotype_brakes", stage=STAGE, kind="lane", mode="drain") == 1
        assert value("calotype_outbox_rows", stage=STAGE) == 1
        assert value("calotype_outbox_refused_rows", stage=STAGE) == 1

        await pool.execute("update work set ready_at = null")
        await counted.refresh()
        assert value("calotype_queue_work", **standard, state="waiting") is None
    finally:
        await pool.close()


async def test_it_is_read_seldom_and_an_absent_database_holds_no_scrape_up(servers: EmbeddedServers) -> None:
    pool = await open_pool(await new_database(servers), stage=STAGE)
    counted = Gauges(STAGE, pool)
    await counted.refresh()
    await pool.execute("insert into outbox (topic, key, headers, body) values ('t', 'k', '[]', '{}')")
    await counted.refresh()
    assert value("calotype_outbox_rows", stage=STAGE) == 0, "too soon to read again"
    await pool.close()
    counted._not_before = 0.0
    await counted.refresh()
    assert value("calotype_outbox_rows", stage=STAGE) == 0


async def test_open_dead_letters_are_in_the_metrics_by_who_refused_them(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        request = Request(name="counted")
        await running.hear(request.accepted())
        await running.deliver([refused(running, request.accepted(), "prompt")])
        await letters(running.clients["otto"], 1)
        shown = (await running.ada.get("/metrics")).text
        assert 'calotype_dead_letters_open{group="prompt",topic="requests-accepted.v1"} 1.0' in shown
