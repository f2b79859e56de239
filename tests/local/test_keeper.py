"""Keeping a program running: readiness, restarts, giving up."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.local import keeper as keeping
from deploy.local.data import read_json
from deploy.local.errors import CannotStart
from deploy.local.keeper import Keeper
from deploy.local.processes import Program


def keeper(code: str, folder: Path, *, is_ready: Callable[[], bool] = lambda: True) -> Keeper:
    async def ready(_pid: int) -> bool:
        return is_ready()

    argv = [sys.executable, "-c", code]
    program = Program(name="kept", argv=argv, folder=folder, log=folder / "kept.log")
    return Keeper(lambda: program, run=folder, ready=ready, address="127.0.0.1:1")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SHORTEST_PAUSE", 0.01)


SLEEP = "import time; time.sleep(100)"


async def test_a_start_waits_for_readiness_and_is_written_down(tmp_path: Path) -> None:
    kept = keeper(SLEEP, tmp_path, is_ready=(tmp_path / "salt").exists)
    starting = asyncio.create_task(kept.start())
    await until((tmp_path / "kept.json").exists)
    assert read_json(tmp_path / "kept.json")["state"] == "starting"
    (tmp_path / "salt").touch()
    await starting
    assert read_json(tmp_path / "kept.json")["state"] == "ready"
    await kept.stop()
    assert not (tmp_path / "kept.json").exists()


async def test_what_dies_is_started_again(tmp_path: Path) -> None:
    kept = keeper(SLEEP, tmp_path)
    await kept.start()
    first = read_json(tmp_path / "kept.json")
    psutil.Process(first["pid"]).kill()
    await until(lambda: kept.restarts == 1 and kept.state == "ready")
    second = read_json(tmp_path / "kept.json")
    assert second["pid"] != first["pid"]
    assert second["restarts"] == 1
    await kept.stop()
    assert not psutil.pid_exists(second["pid"])


async def test_one_that_never_gets_ready_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    kept = keeper("raise SystemExit('no salt')", tmp_path, is_ready=lambda: False)
    with pytest.raises(CannotStart, match=r"kept ended with status 1, 3 times[\s\S]*no salt"):
        await kept.start()
    await kept.stop()


async def test_one_that_hangs_is_given_up_after_its_time(tmp_path: Path) -> None:
    kept = keeper(SLEEP, tmp_path, is_ready=lambda: False)
    with pytest.raises(CannotStart, match="not ready within 0 s"):
        await kept.start(seconds=0.2)
    await kept.stop()


async def test_a_program_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    kept = keeper(SLEEP, tmp_path)
    program = Program(name="kept", argv=[str(tmp_path / "nothing")], folder=tmp_path, log=tmp_path / "kept.log")
    kept._program = lambda: program
    with pytest.raises(CannotStart, match="could not be executed"):
        await kept.start()
    await kept.stop()


async def test_stopping_during_the_pause_before_a_restart_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keeper(SLEEP, tmp_path)
    await kept.start()
    monkeypatch.setattr(keeping, "SHORTEST_PAUSE", 100.0)
    psutil.Process(read_json(tmp_path / "kept.json")["pid"]).kill()
    await until(lambda: kept.state == "restarting")
    async with asyncio.timeout(5):
        await kept.stop()
    assert not (tmp_path / "kept.json").exists()
