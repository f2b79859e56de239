"""Frames between the worker and its model process: a JSON head and bytes, each behind its length.

Worker → model: `{"do": "generate", "id": n, …}` with what to start from as bytes, `{"do": "cancel", "id": n}`. Model →
worker: `ready`, `loaded` with a model and how long it took, and per image, with its id: `step` …, `sketch` … with a
thumbnail as bytes, and one end, `done` with the image as bytes, `cancelled`, or `failed`. Steps and ends say its device
seconds so far. Either side takes the end of the stream as the other's death.
"""

import asyncio
import json
import socket
import struct
import threading
from typing import Any

LENGTHS = struct.Struct("!II")
Frame = tuple[dict[str, Any], bytes]


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    encoded = json.dumps(head).encode()
    return LENGTHS.pack(len(encoded), len(body)) + encoded + body


async def receive(reader: asyncio.StreamReader) -> Frame:
    """The next frame; `asyncio.IncompleteReadError` where the stream ends."""
    head, body = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    return json.loads(await reader.readexactly(head)), await reader.readexactly(body)


class Connection:
    """The model process's end: one thread receives, any may send."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._sending = threading.Lock()

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        with self._sending:
            self._end.sendall(pack(head, body))

    def receive(self) -> Frame | None:
        """The next frame, or None when the worker is gone."""
        lengths = self._exactly(LENGTHS.size)
        if lengths is None:
            return None
        head, body = (self._exactly(size) for size in LENGTHS.unpack(lengths))
        return None if head is None or body is None else (json.loads(head), body)

    def _exactly(self, size: int) -> bytes | None:
        buffer = bytearray()
        while len(buffer) < size:
            chunk = self._end.recv(size - len(buffer))
            if not chunk:
                return None
            buffer += chunk
        return bytes(buffer)
