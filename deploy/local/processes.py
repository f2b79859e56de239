"""Child processes that survive us being killed: each is recorded so that the next start can tell it from a stranger."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from deploy.local.accounts import Account
from deploy.local.errors import CannotStart


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, not just its number: numbers are given out again."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the identity of a running process."""
        return cls(pid, _start_time(pid))

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self | None:
        """Read what `document` wrote, or None where that is something else."""
        pid, started = document.get("pid"), document.get("started")
        return cls(pid, started) if isinstance(pid, int) and isinstance(started, int | float) else None

    def document(self) -> dict[str, Any]:
        """Return a JSON form."""
        return {"pid": self.pid, "started": self.started}

    def alive(self) -> bool:
        """Tell whether this very process still runs; one that waits only to be reaped does not."""
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            return _start_time(self.pid) == self.started and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        return False

    def session(self) -> list[psutil.Process]:
        """Return what runs in the session this process leads or led: itself and its workers, never a stranger."""
        # The kernel does not give out a number that still names a session: if a process with our number has another
        # start time, then our session ended before that one began.
        if psutil.pid_exists(self.pid) and not _same(self):
            return []
        return [process for process in psutil.process_iter() if _session_of(process.pid) == self.pid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, as whom, and how to ask it to stop."""

    name: str
    argv: Sequence[str]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0


class Child:
    """A running program."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process) -> None:
        self.program = program
        try:
            self.identity = Identity.of(process.pid)
        except (psutil.NoSuchProcess, ProcessLookupError):  # over already, and reaped
            self.identity = Identity(process.pid, -1.0)
        self._process = process

    @classmethod
    async def start(cls, program: Program) -> Self:
        """Execute `program` in a session of its own, so that Ctrl-C reaches only us and we stop in order."""
        become: dict[str, Any] = {}
        if program.account is not None:
            become = {"user": program.account.uid, "group": program.account.gid, "extra_groups": []}
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:  # append: the log may be cut short under the program's hands
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=program.folder,
                env=dict(program.environment),
                start_new_session=True,
                **become,
            )
        return cls(program, process)

    @property
    def pid(self) -> int:
        """Return its number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for its end, then end what it left behind; return its exit status (negative: the signal)."""
        status = await self._process.wait()
        await end(self.identity.session(), signal.SIGKILL, seconds=5)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there to get it."""
        # Not asyncio's own: that one looks first whether the process has ended, and so takes its status from asyncio.
        with contextlib.suppress(ProcessLookupError):
            if self.running:
                os.kill(self._process.pid, number)

    async def stop(self) -> None:
        """Ask it to end, and make it after the program's patience."""
        if self.running:
            self.signal(self.program.stop_signal)
            try:
                await asyncio.wait_for(asyncio.shield(self._process.wait()), self.program.stop_seconds)
            except TimeoutError:
                self.signal(signal.SIGKILL)
        await self.wait()


async def run(program: Program) -> None:
    """Run `program` to its end, or say how it failed."""
    child = await Child.start(program)
    try:
        status = await child.wait()
    except asyncio.CancelledError:
        await child.stop()
        raise
    if status != 0:
        raise CannotStart(
            f"{program.name} failed with status {status}: {last_lines(program.log)}",
            remedy=f"Its whole output is in {program.log}.",
        )


def last_lines(log: Path, *, count: int = 5) -> str:
    """Return the end of a log, to stand in a message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return "(no output)"
    return "\n    ".join(["", *lines[-count:]]) if lines else "(no output)"


async def stop_identity(identity: Identity, *, stop_signal: signal.Signals, seconds: float) -> None:
    """End a process that is not our child any more, and its workers."""
    workers = identity.session()
    if identity.alive():
        await end([psutil.Process(identity.pid)], stop_signal, seconds=seconds)
    await end([worker for worker in workers if worker.is_running()], signal.SIGKILL, seconds=5)


async def end(processes: Sequence[psutil.Process], stop_signal: signal.Signals, *, seconds: float) -> None:
    """Signal `processes`, wait for them, and kill what is left; psutil checks each one's start time before it does."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(stop_signal)
    if not await _ended(processes, seconds=seconds):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await _ended(processes, seconds=5)


async def _ended(processes: Sequence[psutil.Process], *, seconds: float) -> bool:
    # Polled, because these are not our children; and not psutil.wait_procs, which waits for a zombie whose new parent
    # (a container's first process, often) never reaps.
    deadline = time.monotonic() + seconds
    while not all(is_over(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def is_over(process: psutil.Process) -> bool:
    """Tell whether a process runs no more, though nobody may have reaped it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def _same(identity: Identity) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        return _start_time(identity.pid) == identity.started
    return False


def _session_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getsid(pid)
    return None


def _start_time(pid: int) -> float:
    """Return when a process began: on Linux in clock ticks since boot, which no change of the clock moves."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return psutil.Process(pid).create_time()
    return float(text.rpartition(")")[2].split()[19])
