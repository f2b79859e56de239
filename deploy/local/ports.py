"""Loopback ports: which are free, which answer."""

import asyncio
import contextlib
import socket


def is_free(port: int) -> bool:
    """Tell whether we could listen on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do it: a connection that lingers in TIME_WAIT from our last run is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


async def takes_connections(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False
