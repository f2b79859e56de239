"""Pictures of strangers made into ours, each in a child process of its own, within limits of time and memory.

A picture that breaks its child breaks nothing else, and the service itself loads no decoder. What a picture has to be
stands in `shared.pictures`.
"""

import asyncio
import json
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import services
from shared.errors import Rejected
from shared.pictures import Refused, clock

LENGTH = struct.Struct("!I")
# The whole environment of a child: where programs and libraries are, and nothing that opens a door.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "SYSTEMROOT")
REMEDY = "scale it down, or export it anew as a plain PNG, and send it again"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that we wrote; width and height in pixels."""

    data: bytes
    width: int
    height: int


class Pictures:
    """At most `at_once` children; whoever comes meanwhile waits.

    `decode_seconds` are of processor time, `seconds` of everybody's and for the whole errand.
    """

    def __init__(
        self, *, at_once: int = 2, decode_seconds: float = 5, seconds: float = 60, memory_mb: int = 1024
    ) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._decode_seconds = decode_seconds
        self._seconds = seconds
        self._memory_mb = memory_mb

    async def rewritten(self, data: bytes) -> Picture:
        """The picture in these bytes, and nothing else of them. The same bytes give the same picture.

        Raises:
            Rejected: they are no picture that may be a source, or decoding them took more than a child may take.
        """
        async with self._free:
            process = await self._start()
            try:
                async with asyncio.timeout(self._seconds):
                    answer, _ = await process.communicate(data)
            except TimeoutError:
                raise _unreadable(f"takes longer than {self._seconds:g} s to decode") from None
            finally:  # also where whoever sent it has hung up
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode == -clock.ENDED:
            slow = Refused("too_slow", f"the picture takes more than {self._decode_seconds:g} s to decode")
            raise Rejected(slow.code, slow.what, "body", slow.remedy)
        if process.returncode != 0:  # what it said of that stands in our log: stderr is ours
            raise _unreadable(f"ended its decoder, which may take {self._memory_mb} MB")
        start = LENGTH.size + LENGTH.unpack_from(answer)[0]
        header = json.loads(answer[LENGTH.size : start])
        if refused := header.get("refused"):
            raise Rejected(refused["code"], refused["what"], "body", refused["remedy"])
        return Picture(answer[start:], header["width"], header["height"])

    async def _start(self) -> asyncio.subprocess.Process:
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = str(Path(next(iter(services.__path__))).parent)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.intake.picture_child",
            str(self._memory_mb),
            str(self._decode_seconds),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal reaches the service, which answers first
        )


def _unreadable(what: str) -> Rejected:
    return Rejected("unreadable_picture", f"the picture {what}", "body", REMEDY)
