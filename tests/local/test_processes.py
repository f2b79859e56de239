"""Telling our processes from strangers, and ending them with all they started."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import CannotStart
from deploy.local.processes import Child, Identity, Program, is_over, run, stop_identity

FAMILY = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)']);"
SLEEP = "print('up', flush=True); time.sleep(100)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


def python(code: str, folder: Path, *, stop_seconds: float = 20.0) -> Program:
    argv = [sys.executable, "-c", code]
    return Program(name="child", argv=argv, folder=folder, log=folder / "child.log", stop_seconds=stop_seconds)


async def started(program: Program) -> Child:
    child = await Child.start(program)
    async with asyncio.timeout(30):
        while "up" not in program.log.read_text():
            await asyncio.sleep(0.01)
    return child


def test_a_process_that_got_our_old_number_is_not_ours() -> None:
    ours = Identity.of(os.getpid())
    assert ours.alive()
    earlier = Identity(ours.pid, ours.started - 1)
    assert not earlier.alive()
    assert earlier.session() == []


def test_an_identity_reads_what_it_wrote_and_nothing_else() -> None:
    identity = Identity.of(os.getpid())
    assert Identity.read(identity.document()) == identity
    assert Identity.read({"pid": "7", "started": None}) is None


def test_a_child_that_nobody_has_reaped_is_over() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity, watched = Identity.of(process.pid), psutil.Process(process.pid)
    assert not is_over(watched)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_over(watched)
    assert not identity.alive()
    process.communicate()


async def test_stopping_ends_the_workers_too(tmp_path: Path) -> None:
    child = await started(python(FAMILY + SLEEP, tmp_path))
    family = child.identity.session()
    assert len(family) == 2
    await child.stop()
    assert all(is_over(process) for process in family)


async def test_one_that_ignores_the_request_is_killed_after_its_time(tmp_path: Path) -> None:
    child = await started(python(STUBBORN + FAMILY + SLEEP, tmp_path, stop_seconds=0.1))
    await child.stop()
    assert await child.wait() == -signal.SIGKILL


async def test_workers_of_one_that_dies_are_ended(tmp_path: Path) -> None:
    child = await started(python(FAMILY + SLEEP, tmp_path))
    family = child.identity.session()
    child.signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    assert all(is_over(process) for process in family)


async def test_what_another_supervisor_left_is_ended_with_its_workers(tmp_path: Path) -> None:
    child = await started(python(FAMILY + SLEEP, tmp_path))
    family = child.identity.session()
    await stop_identity(child.identity, stop_signal=signal.SIGTERM, seconds=20)
    assert all(is_over(process) for process in family)
    await child.wait()


async def test_what_has_another_start_time_is_left_alone(tmp_path: Path) -> None:
    child = await started(python("import time;" + SLEEP, tmp_path))
    stranger = Identity(child.identity.pid, child.identity.started - 1)
    await stop_identity(stranger, stop_signal=signal.SIGKILL, seconds=1)
    assert child.identity.alive()
    await child.stop()


async def test_a_failing_tool_is_quoted_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"status 3[\s\S]*no room for salt") as caught:
        await run(python("import sys; print('no room for salt'); sys.exit(3)", tmp_path))
    assert str(tmp_path / "child.log") in caught.value.remedy
