"""Real servers for the live tier: one Kafka and one PostgreSQL for the whole session."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Thread

import pytest

from deploy.local.servers import EmbeddedServers
from tests.live.calling import Scene, open_scene
from tests.live.queueing import Queue, open_queue
from tests.live.stage import KAFKA_PROPERTIES, make_template

# Their seconds are most of the tier's; whoever comes last to a long one lets the others wait for it.
LONGEST = (
    "pipeline", "mutants", "intake", "up", "orders", "backup", "backup_cli", "publisher_killed", "demo", "traces",
    "intake_cli", "delivery", "inference",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        name = item.path.stem.removeprefix("test_")
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    here = Path(__file__).parent
    for item in items:  # of every folder
        if here in item.path.parents:
            item.add_marker("live")
    items.sort(key=turn)


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
    running = EmbeddedServers(folder, kafka_properties=KAFKA_PROPERTIES)
    try:
        asyncio.run_coroutine_threadsafe(running.start(), loop).result()
        asyncio.run_coroutine_threadsafe(make_template(running), loop).result()
        yield running
    finally:
        asyncio.run_coroutine_threadsafe(_end(running), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        shutil.rmtree(folder)


async def _end(servers: EmbeddedServers) -> None:
    servers.kill()  # nobody opens their folder again, and an orderly end closes a thousand partitions, a minute long
    await servers.stop()


@pytest.fixture
async def scene(servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """Inference on real servers, and a scripted provider that it may call."""
    async with open_scene(servers, tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
async def queue(servers: EmbeddedServers) -> AsyncIterator[Queue]:
    """Inference's queue on a database of its own, claimed by hand."""
    async with open_queue(servers) as opened:
        yield opened
