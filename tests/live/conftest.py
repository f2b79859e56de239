"""Real servers for the live tier: one Kafka and one PostgreSQL for the whole session."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from deploy.local.servers import EmbeddedServers


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    """Kafka and PostgreSQL, shared: take a topic prefix and a database of your own, and never stop them.

    They are watched from a thread with a loop of its own, so that a test may have any loop or none.
    """
    # Not pytest's own folder: only root may enter that one, and the servers run as nobody.
    folder = Path(tempfile.mkdtemp(prefix="calotype-live-"))
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="servers")
    thread.start()
    running = EmbeddedServers(folder)
    try:
        asyncio.run_coroutine_threadsafe(running.start(), loop).result()
        yield running
        asyncio.run_coroutine_threadsafe(running.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        shutil.rmtree(folder)
