"""Child processes that read what strangers sent, seen from their parent; their own side is `shared/confined.py`.

A child starts when there is work for it, serves one call at a time, and goes when there has been none for a while.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import shared
from shared.confined import LENGTH, message_head

# The whole environment of a child: where programs and libraries are, and nothing that opens a door.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "SYSTEMROOT")


# From this size a block goes back to the system when it is let go. Left to itself glibc keeps up to 32 MB for the next
# that fits, and files and planes of 4096² leave holes: 30 to 50 MB of a child. Those of 2048² stay, and their speed.
RETURNED = 16 * 2**20
# What a child may answer with: it reads strangers' bytes, and whoever broke it must not fill its parent's memory.
MOST_HEADER, MOST_BLOBS = 16 * 2**20, 2**30


class ChildDied(Exception):
    """The child process ended or was stopped before it answered; `how`: by which signal or exit status."""

    def __init__(self, why: str, how: str = "") -> None:
        super().__init__(why)
        self.how = how


class Child:
    """One process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.dismissal: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, module: str, *arguments: str) -> "Child":
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        # A child has one core: a thread for each other one would take address space and give nothing.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["MALLOC_MMAP_THRESHOLD_"] = str(RETURNED)
        environment["PYTHONPATH"] = str(Path(next(iter(shared.__path__))).parent)
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal reaches the worker, which lets its children finish
                limit=1024 * 1024,
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> tuple[dict[str, Any], list[bytes]]:
        """Raises ChildDied."""
        pipe, answers = self._process.stdin, self._process.stdout
        if pipe is None or answers is None:
            raise RuntimeError("a child is always started with both pipes")
        try:
            pipe.writelines((message_head(header, blobs), *blobs))
            await pipe.drain()
            return await self._heard(answers)
        except (asyncio.IncompleteReadError, ConnectionError):
            how = await self._ended()
            raise ChildDied(f"the child process ended with {how}", how) from None

    def close_input(self) -> None:
        """The child sees the end of its input and leaves."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        self.close_input()
        await self._process.wait()

    async def kill(self) -> None:
        if self.alive:
            self._process.kill()
        await self._process.wait()

    async def _heard(self, answers: asyncio.StreamReader) -> tuple[dict[str, Any], list[bytes]]:
        length = LENGTH.unpack(await answers.readexactly(LENGTH.size))[0]
        if length > MOST_HEADER:
            raise await self._refused(f"a header of {length:,} bytes")
        answer: dict[str, Any] = json.loads(await answers.readexactly(length))
        sizes: list[int] = answer["sizes"]
        if min(sizes, default=0) < 0 or sum(sizes) > MOST_BLOBS:
            raise await self._refused(f"blobs of {sum(sizes):,} bytes, the smallest of {min(sizes):,}")
        return answer, [await answers.readexactly(size) for size in sizes]

    async def _refused(self, what: str) -> ChildDied:
        await self.kill()
        return ChildDied(f"the child process announced {what}, and was ended", "a broken answer")

    async def _ended(self) -> str:
        """How it went, once its pipes have closed; one that closed them and stays is killed."""
        try:
            async with asyncio.timeout(1):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            return "closed pipes"
        return f"signal {-code}" if code < 0 else f"exit status {code}"


class Lending:
    """At most `count` children of one kind, each lent to one caller at a time."""

    def __init__(self, module: str, *arguments: str, count: int, idle_seconds: float = 30) -> None:
        self._program = (module, *arguments)
        self._free = asyncio.Semaphore(count)
        self._idle_seconds = idle_seconds
        self._idle: list[Child] = []

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Child]:
        """A child for one call; one that the call did not end well with, or was cancelled at, serves nobody else."""
        async with self._free:
            child = self._rested() or await Child.start(*self._program)
            try:
                yield child
            except BaseException:
                await child.kill()
                raise
            self._rest(child)

    @property
    def pids(self) -> list[int]:
        """Of the children that wait for work."""
        return [child.pid for child in self._idle if child.alive]

    async def stop(self) -> None:
        """Ends the idle children; those at work end with the call that uses them."""
        while self._idle:
            child = self._idle.pop()
            self._keep(child)
            await child.end()

    def _rested(self) -> Child | None:
        """A child that waits for work, and has not died waiting."""
        while self._idle:
            child = self._idle.pop()
            self._keep(child)
            if child.alive:
                return child
        return None

    def _rest(self, child: Child) -> None:
        self._idle.append(child)
        child.dismissal = asyncio.get_running_loop().call_later(self._idle_seconds, self._dismiss, child)

    def _keep(self, child: Child) -> None:
        if child.dismissal is not None:
            child.dismissal.cancel()

    def _dismiss(self, child: Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
            child.close_input()
