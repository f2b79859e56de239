"""A TCP proxy in front of one server that can do to its connections what a network does to them."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from random import Random

CHUNK = 256 * 1024
# Closing with a linger of nothing sends a reset instead of an orderly end.
RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Passage:
    """One connection through the link: both sides, and whether anything moves on it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    moves: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float = 0.0  # seconds, each way, for each chunk, beside the link's own

    def reset(self) -> None:
        for writer in (self.client, self.server):
            opened: socket.socket | None = writer.get_extra_info("socket")
            if opened is not None:
                with contextlib.suppress(OSError):
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        self.moves.set()  # whoever waits to pass something on finds that there is nobody


class Link:
    """Listens on `port` and passes everything on to `upstream`; changed while it runs."""

    def __init__(self, name: str, *, upstream: int, port: int) -> None:
        self.name = name
        self.upstream = upstream
        self.port = port
        self.delay = 0.0  # seconds, each way, for each chunk
        self.passages: set[Passage] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK, backlog=512)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for passage in list(self.passages):
            passage.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what a network does

    def choose(self, random: Random, share: float) -> list[Passage]:
        """Some of the open connections, at least one where there is any."""
        return [p for p in self.passages if random.random() < share] or list(self.passages)[:1]

    def reset(self, chosen: list[Passage]) -> None:
        for passage in chosen:
            passage.reset()

    def freeze(self, chosen: list[Passage]) -> None:
        """Half-open: they stay as they are, and nothing comes through any more."""
        for passage in chosen:
            passage.moves.clear()

    # -- passing on

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # `stop` cancelled it; asyncio's streams would log that as a failure
        finally:
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=CHUNK)
        except OSError:
            writer.transport.abort()  # as if nobody listened
            return
        passage = Passage(writer, upstream_writer)
        passage.moves.set()
        self.passages.add(passage)
        try:
            await asyncio.gather(
                self._pump(passage, reader, upstream_writer), self._pump(passage, upstream_reader, writer)
            )
        except OSError:
            passage.reset()
        finally:
            self.passages.discard(passage)
            for end in (writer, upstream_writer):
                end.close()

    async def _pump(self, passage: Passage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            if delay := self.delay + passage.delay:
                await asyncio.sleep(delay)
            await passage.moves.wait()
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
