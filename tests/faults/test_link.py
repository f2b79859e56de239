"""The links do to connections what a network and a store in trouble do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from tests.faults.link import Link
from tests.faults.store_link import StoreLink, Trouble

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"


class Server:
    """Answers every line, or every request, and counts them."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
                await writer.drain()
        writer.close()

    async def requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                self.heard.append(head + await reader.readexactly(size))
                writer.write(ANSWER)
                await writer.drain()
        writer.close()


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[int]:
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(asyncio.CancelledError):
            await handle(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


@asynccontextmanager
async def linked() -> AsyncIterator[Link]:
    async with listening(Server().lines) as upstream:
        link = Link("echo", upstream=upstream, port=0)
        await link.start()
        assert link._server is not None
        link.port = link._server.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            await link.stop()


@asynccontextmanager
async def connected(link: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that works."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_a_reset_is_no_orderly_end() -> None:
    async with linked() as link:
        async with connected(link) as (reader, _):
            link.reset(link.choose(Random(1), 1.0))
            with pytest.raises(ConnectionResetError):
                await reader.readline()
        async with connected(link):
            pass


async def test_a_half_open_connection_answers_nothing_and_others_go_on() -> None:
    async with linked() as link, connected(link) as (reader, writer):
        frozen = link.choose(Random(1), 1.0)
        link.freeze(frozen)
        writer.write(b"anybody?\n")
        async with connected(link):
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        link.reset(frozen)
        with pytest.raises(ConnectionResetError):
            await reader.readline()


async def test_a_delay_is_both_ways() -> None:
    async with linked() as link:
        link.delay = 0.05
        began = asyncio.get_running_loop().time()
        async with connected(link):
            assert asyncio.get_running_loop().time() - began >= 0.1


@asynccontextmanager
async def stored(trouble: Trouble) -> AsyncIterator[tuple[StoreLink, Server]]:
    server = Server()
    async with listening(server.requests) as upstream:
        link = StoreLink(upstream=upstream, port=0, trouble=trouble)
        await link.start()
        assert link._server is not None
        link.port = link._server.sockets[0].getsockname()[1]
        try:
            yield link, server
        finally:
            await link.stop()


async def put(link: StoreLink) -> bytes:
    """Everything that comes back on a write."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    writer.write(b"PUT /images/a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
    back = b""
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(1):
            back += await reader.readuntil(b"\r\n\r\n")
            writer.write(b"abc")
            while more := await reader.read(1000):
                back += more
                if back.endswith(ANSWER):
                    break
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return back


async def test_a_store_without_trouble_is_passed_through() -> None:
    async with stored(Trouble()) as (link, server):
        assert (await put(link)).endswith(ANSWER)
    (heard,) = server.heard
    assert heard.endswith(b"abc") and b"Expect" not in heard


async def test_a_refused_write_was_not_done_and_a_lost_one_was() -> None:
    async with stored(Trouble(refused=1.0)) as (link, server):
        assert b" 500 " in await put(link)
        assert server.heard == []
        link.trouble = Trouble(lost=1.0)
        assert (await put(link)).startswith(b"HTTP/1.1 100")
        assert len(server.heard) == 1
        assert link.done == {"refused": 1, "lost": 1}


async def test_a_truncated_answer_stops_in_its_middle() -> None:
    async with stored(Trouble(truncated=1.0)) as (link, _):
        assert (await put(link)).endswith(b"Content-Length: 10\r\n\r\n01234")


async def test_a_store_that_is_away_says_nothing() -> None:
    async with stored(Trouble(away=True)) as (link, server):
        assert await put(link) == b""
        assert server.heard == []
