"""A single broker acknowledges what it has not flushed; a power cut takes that back, and the facts leave again."""

import uuid
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from deploy.local import data as data_folder
from deploy.local.data import DataFolder
from deploy.local.positions import Positions, read_positions, rewind, step_back
from deploy.local.servers import EmbeddedServers
from shared.outbox import Outbox
from shared.topics import JOBS_ENDED
from tests.live.stage import TestStage, eventually, open_stage
from tests.live.test_delivery import cancelled


async def left(stage: TestStage) -> int:
    return int(await stage.pool.fetchval("select count(*) from outbox"))


async def test_a_row_outlives_its_acknowledgement_and_leaves_again_if_its_process_goes_with_the_broker(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:
        await stage.outbox.stop()
        patient = Outbox(stage.pool, stage.producer, prefix=stage.prefix, keep_seconds=3600)
        await patient.start()
        async with patient.transaction() as running:
            running.emit(cancelled(uuid.uuid4()))
        await eventually(lambda: _said(stage, 1))
        async with patient.transaction() as running:  # which would take along what may go
            running.emit(cancelled(uuid.uuid4()))
        await eventually(lambda: _said(stage, 2))
        assert await left(stage) == 2
        for task in patient._tasks:  # as a power cut ends it
            task.cancel()

        await stage.pool.execute("update outbox set created_at = created_at - interval '1 minute'")
        after = Outbox(stage.pool, stage.producer, prefix=stage.prefix)
        await after.start()
        await eventually(lambda: _said(stage, 4))
        await eventually(lambda: _none_left(stage))
        await after.stop()


async def test_groups_hear_the_last_minute_again_and_nothing_older(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        await stage.publish(*(cancelled(uuid.uuid4()) for _ in range(6)))
        topic, group = stage.prefix + JOBS_ENDED.name, stage.prefix + "inference-retries"
        places = [TopicPartition(topic, number) for number in range(2)]
        beyond = {topic: dict.fromkeys(range(2), 1000)}  # finished before the cut, and lost in it
        await rewind(servers.kafka_bootstrap, Positions(ends={}, groups={group: beyond}))
        assert (await read_positions(servers.kafka_bootstrap, prefix=stage.prefix)).groups[group] == beyond

        await step_back(servers.kafka_bootstrap, seconds=3600, prefix=stage.prefix)
        assert set(
            (await read_positions(servers.kafka_bootstrap, prefix=stage.prefix)).groups[group][topic].values()
        ) == {0}

        await rewind(servers.kafka_bootstrap, Positions(ends={}, groups={group: {topic: {0: 1, 1: 1}}}))
        await step_back(servers.kafka_bootstrap, seconds=0, prefix=stage.prefix)
        assert places and set(
            (await read_positions(servers.kafka_bootstrap, prefix=stage.prefix)).groups[group][topic].values()
        ) <= {0, 1}


def test_a_machine_that_went_down_is_told_from_a_process_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path)
    assert not folder.begins()  # the first run
    assert not folder.begins(), "killed: the kernel kept what the broker had written"
    monkeypatch.setattr(data_folder, "_boot", lambda: "the boot after that")
    assert folder.begins()
    folder.ends()
    monkeypatch.setattr(data_folder, "_boot", lambda: "and the one after")
    assert not folder.begins(), "stopped in order before the machine was"


async def _said(stage: TestStage, many: int) -> bool:
    return len(await stage.records(JOBS_ENDED.name)) == many


async def _none_left(stage: TestStage) -> bool:
    return await left(stage) == 0
