"""The worker's side of its child processes: one picture in one child at a time, within limits of time and memory.

A child that dies or takes too long costs its own picture an attempt and nobody else anything; the next picture gets a
new child. Children start when there is work and go when there is none, so an idle service holds no imaging library.
"""

import asyncio
import json
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import services
from services.postprocess.files import Development, Made
from services.postprocess.model_files import ModelFile
from shared.events import Measures, Verdict
from shared.pictures import clock

LENGTH = struct.Struct("!I")
# The whole environment of a child: where programs and libraries are, and nothing that opens a door.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "SYSTEMROOT")


class PictureRefused(Exception):
    """The child looked and said no; trying again says the same. `code` is `recipe` or one of `pictures.REMEDIES`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class OutOfMemory(Exception):
    """The picture needs more memory than a child may take."""


class ChildDied(Exception):
    """The child process ended or was stopped before it answered."""


class Children:
    """At most `count` child processes, lent one picture each."""

    def __init__(
        self,
        *,
        count: int,
        seconds: float = 60,
        decode_seconds: float = 5,
        memory_mb: int = 1024,
        idle_seconds: float = 30,
        models: Mapping[str, ModelFile] | None = None,
        mark_key: bytes | None = None,
        fonts: Path | None = None,
    ) -> None:
        self._free = asyncio.Semaphore(count)
        self._seconds = seconds
        self._decode_seconds = decode_seconds
        self._arguments = _arguments(memory_mb, decode_seconds, models or {}, seconds=seconds / 2)
        self._idle_seconds = idle_seconds
        self._mark_key = mark_key or b""
        self._fonts = str(fonts.resolve()) if fonts else None
        self._idle: list[_Child] = []

    async def develop(self, original: bytes, order: Mapping[str, Any], inputs: Sequence[bytes] = ()) -> Development:
        """What `recipes.develop` makes of the original; `inputs` are the pictures that the order names beside it.

        Raises PictureRefused, OutOfMemory, ChildDied, and RuntimeError with the child's traceback for a bug of ours.
        """
        async with self._free:
            child = self._rested() or await _Child.start(self._arguments)
            try:
                async with asyncio.timeout(self._seconds):
                    header, blobs = await child.ask(self._header(order), [original, *inputs])
            except TimeoutError:
                await child.kill()
                raise ChildDied(f"the child process took longer than {self._seconds:g} s") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise self._gone(await child.ended()) from None
            except BaseException:  # cancelled while the child works: what it writes now answers nobody
                await child.kill()
                raise
            if header.get("error") == "memory":
                await child.kill()  # what is left of its memory may be in pieces
            else:
                self._rest(child)
        return _development(header, blobs)

    @property
    def pids(self) -> list[int]:
        """Of the children that wait for work."""
        return [child.pid for child in self._idle if child.alive]

    async def start(self) -> None:
        """A child starts when there is work for it."""

    async def stop(self) -> None:
        """Ends the idle children; those at work end with the call that uses them."""
        while self._idle:
            await self._idle.pop().end()

    def _header(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The key comes with each order: arguments and environments of processes are there to be read."""
        return {"order": order, "mark_key": self._mark_key.hex(), "fonts": self._fonts}

    def _gone(self, how: str) -> Exception:
        if how == f"signal {clock.ENDED.value}":
            return PictureRefused("too_slow", f"a picture takes more than {self._decode_seconds:g} s to decode")
        return ChildDied(f"the child process ended with {how}")

    def _rested(self) -> "_Child | None":
        """A child that waits for work, and has not died waiting."""
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
        return None

    def _rest(self, child: "_Child") -> None:
        self._idle.append(child)
        child.dismissal = asyncio.get_running_loop().call_later(self._idle_seconds, self._dismiss, child)

    def _dismiss(self, child: "_Child") -> None:
        if child in self._idle:
            self._idle.remove(child)
            child.close_input()


class _Child:
    """One process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.dismissal: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, arguments: Sequence[str]) -> "_Child":
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        # A child has one core: a thread for each other one would take address space and give nothing.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(next(iter(services.__path__))).parent)
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.postprocess.child",
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

    async def ask(self, header: Mapping[str, Any], blobs: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        if self.dismissal:
            self.dismissal.cancel()
        told = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
        pipe, answers = self._process.stdin, self._process.stdout
        if pipe is None or answers is None:
            raise RuntimeError("a child is always started with both pipes")
        pipe.writelines((LENGTH.pack(len(told)), told, *blobs))
        await pipe.drain()
        length = LENGTH.unpack(await answers.readexactly(LENGTH.size))[0]
        answer: dict[str, Any] = json.loads(await answers.readexactly(length))
        return answer, [await answers.readexactly(size) for size in answer["sizes"]]

    def close_input(self) -> None:
        """The child sees the end of its input and leaves."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        if self.dismissal:
            self.dismissal.cancel()
        self.close_input()
        await self._process.wait()

    async def kill(self) -> None:
        if self.alive:
            self._process.kill()
        await self._process.wait()

    async def ended(self) -> str:
        """How it went, once its pipes have closed; one that closed them and stays is killed."""
        try:
            async with asyncio.timeout(1):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            return "closed pipes"
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def _arguments(memory_mb: int, decode_seconds: float, models: Mapping[str, ModelFile], *, seconds: float) -> list[str]:
    """What a child is started with; with models, also where they are and how long they may take."""
    limits = [str(memory_mb), str(decode_seconds)]
    if not models:
        return limits
    files = {hook: [str(file.path), file.sha256] for hook, file in models.items()}
    return [*limits, json.dumps({"files": files, "seconds": seconds})]


def _development(header: dict[str, Any], blobs: list[bytes]) -> Development:
    match header.get("error"):
        case None:
            pass
        case "memory":
            raise OutOfMemory(header["detail"])
        case "bug":
            raise RuntimeError(header["detail"])
        case code:
            raise PictureRefused(code, header["detail"])
    made = [
        Made(
            channel=told["channel"],
            rendition=told["rendition"],
            **told["facts"],
            wanted_type=told["wanted_type"],
            wanted=(told["wanted"][0], told["wanted"][1]),
            exact=told["exact"],
            max_bytes=told["max_bytes"],
            manifest=told["manifest"],
            verdicts=[Verdict.model_validate(verdict) for verdict in told["verdicts"]],
            data=data,
        )
        for told, data in zip(header["derivatives"], blobs, strict=True)
    ]
    measures = Measures.model_validate(header["measures"])
    return Development(**header["original"], made=made, versions=header["versions"], measures=measures)
