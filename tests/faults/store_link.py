"""An HTTP proxy in front of the object store that answers as a store in trouble does.

It reads requests and answers whole, because what matters is where between them the trouble comes: a write that is
refused before it happens is another thing than one that happened and whose answer was lost.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random

HEAD_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOLD = b"<Error><Code>InternalError</Code><Message>The store is in trouble.</Message></Error>"
REFUSAL = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(TOLD), TOLD)
)


@dataclass
class Trouble:
    """How likely each is for one request, and how slow everything is."""

    slow: float = 0.0  # seconds before anything is passed on
    away: bool = False  # connections are refused and cut
    refused: float = 0.0  # 500, and nothing was done
    full: bool = False  # everything may be read and nothing written: 500, and nothing was done
    truncated: float = 0.0  # the answer stops in its middle
    lost: float = 0.0  # it was done, and the answer never came


@dataclass(eq=False)
class StoreLink:
    """Listens on `port`, passes on to the store at `upstream`."""

    upstream: int
    port: int
    seed: int = 0
    trouble: Trouble = field(default_factory=Trouble)
    done: Counter[str] = field(default_factory=Counter)  # what was done to requests, by kind of trouble
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=HEAD_BYTES, backlog=512)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream, limit=HEAD_BYTES)
            while await self._exchange(reader, writer, *upstream):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # one side left, or `stop` was called: asyncio's streams would log that as a failure
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
            if upstream is not None:
                upstream[1].transport.abort()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        store_reader: asyncio.StreamReader,
        store_writer: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; False: the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        if self.trouble.away:
            self.done["away"] += 1
            return False
        if _header(head, b"expect"):
            writer.write(CONTINUE)
            head = _without(head, b"expect")
        body = await reader.readexactly(int(_header(head, b"content-length") or 0))
        if self.trouble.slow:
            self.done["slow"] += 1
            await asyncio.sleep(self.trouble.slow)
        fate = self._fate(head)
        if fate == "refused":
            writer.write(REFUSAL)
            await writer.drain()
            return False
        store_writer.write(head + body)
        answer_head, answer = await _answer(store_reader, is_head=head.startswith(b"HEAD "))
        if fate == "lost" or self.trouble.away:
            return False
        if fate == "truncated":
            writer.write((answer_head + answer)[: len(answer_head) + len(answer) // 2] if answer else b"HTTP/1.1 2")
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return False
        writer.write(answer_head + answer)
        await writer.drain()
        return b"connection: close" not in answer_head.lower()

    def _fate(self, head: bytes) -> str:
        if self.trouble.full and head.startswith(b"PUT "):
            self.done["refused"] += 1
            return "refused"
        for kind in ("refused", "truncated", "lost"):
            if self._random.random() < getattr(self.trouble, kind):
                self.done[kind] += 1
                return kind
        return ""


async def _answer(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if is_head or status in {b"204", b"304"}:
        return head, b""
    if (_header(head, b"transfer-encoding") or b"").lower() == b"chunked":
        return head, await _chunks(reader)
    return head, await reader.readexactly(int(_header(head, b"content-length") or 0))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it came over the wire."""
    whole = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        whole += line + await reader.readexactly(size + 2)
        if size == 0:
            return whole


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return None


def _without(head: bytes, name: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].strip().lower() != name)
