"""Services without the start-up of Python: forked from one process that has imported all of them already.

A start costs a second of CPU otherwise, and a run makes hundreds. What a service is, it is all the same: a process in a
session of its own, with its own environment, that runs `tests.faults.service`. One that needs another interpreter (a
lying clock, other code) is executed as usual.
"""

import asyncio
import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.processes import Program
from deploy.local.supervisor import STAGES

IMPORTED = (
    *(f"services.{stage}.{module}" for stage in STAGES for module in ("app", "settings")),
    "shared.service",
    "shared.blobs_s3",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
# What an interpreter reads only when it begins, and what has to be laid into modules before others import them.
NEEDS_A_NEW_INTERPRETER = frozenset({"LD_PRELOAD", "PYTHONPATH", "CALOTYPE_MUTANT"})


ROOT = Path(__file__).resolve().parents[2]


def own_environment() -> dict[str, str]:
    """Ours without what configures Calotype; bytecode is written, or every start would compile everything again."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALOTYPE_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PYTHONPATH": str(ROOT)}


# -- the side of the harness


class Forked:
    """One service, as its harness sees it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def running(self) -> bool:
        return not self.ended.done()

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Its status (negative: the signal), once what it left behind has ended too."""
        status = await asyncio.shield(self.ended)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return status


class Nursery:
    """The process that forks them; `start` before `fork`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: asyncio.Queue[asyncio.Future[Forked]] = asyncio.Queue()
        self._forked: dict[int, Forked] = {}

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.nursery",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment,
            start_new_session=True,  # what ends the harness's group ends it in its turn, after those it forked
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        if self._process is None or self._reading is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def fork(self, program: Program, stage: str) -> Forked:
        assert self._process is not None and self._process.stdin is not None
        asked: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(asked)  # they are answered in their order
        told = {
            "stage": stage,
            "folder": str(program.folder),
            "log": str(program.log),
            "environment": dict(program.environment),
        }
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        return await asked

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            pid, status = json.loads(line)
            if status is None:
                self._forked[pid] = Forked(pid)
                self._asked.get_nowait().set_result(self._forked[pid])
            else:
                self._forked.pop(pid).ended.set_result(status)
        for forked in self._forked.values():  # it was killed itself, and nobody else would tell their ends
            with contextlib.suppress(ProcessLookupError):
                os.killpg(forked.pid, signal.SIGKILL)
            forked.ended.set_result(-signal.SIGKILL)


# -- the side of the nursery


def main() -> None:
    """Takes a request a line; answers with `[pid, null]` for a start and `[pid, status]` for an end."""
    for name in IMPORTED:
        importlib.import_module(name)
    awake, wakes = os.pipe()
    for end in (awake, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's, which then ends us
    requests = sys.stdin.buffer
    os.set_blocking(requests.fileno(), False)
    unread = b""
    alive: set[int] = set()
    while True:
        ready, _, _ = select.select([requests, awake], [], [])
        if awake in ready:
            os.read(awake, 4096)
            _tell_ends(alive)
        if requests not in ready:
            continue
        more = os.read(requests.fileno(), 1 << 20)
        if not more:
            break
        *lines, unread = (unread + more).split(b"\n")
        for line in lines:
            pid = _fork(json.loads(line))
            alive.add(pid)
            _say(pid, None)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _tell_ends(alive: set[int]) -> None:
    while alive:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        alive.discard(pid)
        _say(pid, os.waitstatus_to_exitcode(status))


def _say(pid: int, status: int | None) -> None:
    os.write(1, json.dumps([pid, status]).encode() + b"\n")


def _fork(told: dict[str, Any]) -> int:
    if pid := os.fork():
        return pid
    status = 1
    try:
        _become(told)
        from tests.faults.service import main as serve  # noqa: PLC0415  # in the child only

        serve()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001  # it must not go on as a second nursery
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _become(told: dict[str, Any]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(told["folder"])
    log = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = ["tests.faults.service", told["stage"]]


if __name__ == "__main__":
    main()
