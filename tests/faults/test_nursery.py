"""Services that are forked are processes like any other."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from deploy.local.processes import Program
from tests.faults.nursery import Forked, Nursery, own_environment

pytestmark = pytest.mark.live


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    running = Nursery(own_environment())
    await running.start()
    yield running
    await running.stop()


async def fork(nursery: Nursery, folder: Path, **environment: str) -> Forked:
    program = Program(
        name="prompt", argv=[], folder=folder, log=folder / "log", environment=own_environment() | environment
    )
    program.log.touch()
    return await nursery.fork(program, "prompt")


async def test_a_forked_service_has_a_session_an_environment_and_a_log_of_its_own(
    nursery: Nursery, tmp_path: Path
) -> None:
    forked = await fork(nursery, tmp_path, CALOTYPE_KAFKA_BOOTSTRAP="127.0.0.1:9", CALOTYPE_LOG_LEVEL="info")
    async with asyncio.timeout(60):
        while "service.waits" not in (tmp_path / "log").read_text():
            await asyncio.sleep(0.05)
    assert os.getsid(forked.pid) == forked.pid
    forked.signal(signal.SIGTERM)
    assert await forked.wait() == 0
    assert not forked.running


async def test_a_kill_is_told_and_takes_only_the_one(nursery: Nursery, tmp_path: Path) -> None:
    one, other = await fork(nursery, tmp_path), await fork(nursery, tmp_path)
    one.signal(signal.SIGKILL)
    assert await one.wait() == -signal.SIGKILL
    assert other.running and psutil.pid_exists(other.pid)


async def test_a_start_with_settings_that_are_none_fails_as_it_would_alone(nursery: Nursery, tmp_path: Path) -> None:
    forked = await fork(nursery, tmp_path, CALOTYPE_LEASE_SECONDS="a while")
    assert await forked.wait() == 1
    assert "lease_seconds" in (tmp_path / "log").read_text().lower()


async def test_the_end_of_the_nursery_is_the_end_of_all_of_them(tmp_path: Path) -> None:
    nursery = Nursery(own_environment())
    await nursery.start()
    forked = await fork(nursery, tmp_path)
    await nursery.stop()
    async with asyncio.timeout(20):
        while psutil.pid_exists(forked.pid) and psutil.Process(forked.pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.05)


async def test_a_nursery_that_is_killed_leaves_nobody_and_nobody_waits_for_it(tmp_path: Path) -> None:
    nursery = Nursery(own_environment())
    await nursery.start()
    forked = await fork(nursery, tmp_path)
    assert nursery._process is not None
    nursery._process.kill()
    assert await asyncio.wait_for(forked.wait(), 20) == -signal.SIGKILL
    await nursery.stop()
