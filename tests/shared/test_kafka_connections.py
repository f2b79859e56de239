import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

import shared.kafka  # noqa: F401  # what is tested here is in force once it is imported

WITHIN = 5.0  # seconds


async def over_a_transport_that_is_closed() -> tuple[AIOKafkaConnection, bool]:
    """A connection that nobody has told yet that its transport is closed, and whether it passed for a whole one."""
    over = asyncio.Event()

    async def until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        over.set()

    server = await asyncio.start_server(until_the_end, "127.0.0.1", 0)
    connection = AIOKafkaConnection("127.0.0.1", server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection(connection.host, connection.port)
    connection._reader, connection._writer = asyncio.StreamReader(), writer
    connection._read_task = asyncio.create_task(reader.read())
    writer.transport.abort()
    async with asyncio.timeout(WITHIN):
        await connection._read_task
        await over.wait()
    passed = connection.connected()
    with pytest.raises(KafkaConnectionError, match="handler is closed"):
        connection.send(ApiVersionRequest())
    server.close()
    await server.wait_closed()
    return connection, passed


def test_a_connection_whose_transport_uvloop_has_closed_is_given_up() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        connection, passed_for_whole = runner.run(over_a_transport_that_is_closed())
    assert passed_for_whole
    assert not connection.connected(), "the next call opens another"
