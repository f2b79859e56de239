"""A consumer that stopped stays stopped, whoever of its group is asked and however often it is started."""

from deploy.local.servers import EmbeddedServers
from shared.bus import Bus
from shared.kafka import Record, connection_options
from shared.stops import Stops
from shared.topics import CANCELS_REQUESTED
from tests.live.stage import TestStage, eventually, open_stage
from tests.live.test_delivery import cancel, count, tombstones


def another_process(stage: TestStage) -> TestStage:
    """The same stage once more: the same database, topics and group, a bus of its own."""
    options = connection_options(stage.settings)
    bus = Bus(stage.producer, options=options, prefix=stage.prefix, outbox=stage.outbox)
    return TestStage(stage.settings, stage.database_url, stage.pool, stage.producer, stage.outbox, bus)


async def test_a_stop_holds_for_the_whole_group_and_over_a_restart_until_it_is_resumed_once(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        await stage.producer.deliver([Record(topic, b"one-key", [("ce_type", b"nonsense")], b"{}") for _ in range(20)])
        tombstones(stage)
        stops = Stops(stage.bus, stage.pool)
        await stops.start()
        await stage.start_bus()

        async def stopped() -> list[str]:
            return [stop.group for stop in stage.bus.stops()]

        assert await eventually(stopped) == ["g"]
        await stops.look()
        assert await stage.pool.fetchval("select consumer_group from consumer_stops") == "g"

        other = another_process(stage)
        tombstones(other)
        again = Stops(other.bus, stage.pool)
        await again.look()  # what it does before it reads anything
        await other.start_bus()
        try:
            assert "calotype dlq resume g" in other.bus.waiting_for()["g"]
            good = cancel()
            await stage.producer.deliver([Record(topic, b"one-key", good.headers(), good.body())])
            assert await again.resume("g") is True
            await eventually(lambda: goes_on(stage))  # by its own look at the table, within a second
            await eventually(lambda: kept(stage))
            assert await again.resume("g") is False
            await stops.look()
            assert stage.bus.stops() == [] and other.bus.stops() == []
        finally:
            await other.bus.stop()
            await stops.stop()


async def goes_on(stage: TestStage) -> bool:
    return not stage.bus.stops()


async def kept(stage: TestStage) -> bool:
    return bool(await count(stage) == 1)
