"""A backup of a running world, and what becomes of it: everything once, as if nothing had been lost that was told."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import pytest

from deploy.local import backup as backing_up
from deploy.local.backup import Backup
from deploy.local.data import DataFolder
from deploy.local.positions import read_positions
from deploy.local.progress import Silent
from deploy.local.restoring import restore
from deploy.local.supervisor import Supervisor
from tests.live.delivered import assert_each_once
from tests.live.judged import assert_the_oracle_finds_nothing
from tests.live.pipeline import Pipeline, Studio
from tests.live.stage import PARTITIONS, eventually

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
pytestmark = pytest.mark.timeout(300)


@dataclass(eq=False)
class World:
    """Everything on one data folder, as `calotype up` runs it; it can be destroyed and started again."""

    parent: Path
    loop: asyncio.AbstractEventLoop
    supervisor: Supervisor | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> DataFolder:
        return DataFolder(self.parent / "data")

    async def up(self) -> Pipeline:
        own = {"CALOTYPE_TOPIC_PARTITIONS": str(PARTITIONS), "CALOTYPE_LEASE_SECONDS": "5"}
        self.supervisor = Supervisor(self.data.root, environment={**os.environ, **own, **self.environment})
        await self.do(self.supervisor.start())
        servers = self.supervisor._servers
        return Pipeline(servers, servers.admin_database_url, self.supervisor, "", self.loop)

    async def down(self) -> None:
        if self.supervisor is not None:
            await self.do(self.supervisor.stop())
            self.supervisor = None

    async def destroy(self) -> None:
        """The machine is gone, disk and all; only the backup is left."""
        assert self.supervisor is not None
        self.supervisor.kill()
        await self.down()
        shutil.rmtree(self.data.root)

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "deploy.cli", *arguments, "--data", str(self.data.root)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    # Not pytest's own folder, which only its user may enter: the servers run as nobody.
    parent = Path(tempfile.mkdtemp(prefix="calotype-backup-"))
    parent.chmod(0o755)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="world")
    thread.start()
    made = World(parent, loop)
    try:
        yield made
    finally:
        await made.down()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        shutil.rmtree(parent)


@asynccontextmanager
async def again(pipeline: Pipeline, before: Studio) -> AsyncIterator[Studio]:
    """The same people, with the key they had."""
    async with pipeline.client(before.token) as admin:
        yield Studio(pipeline, admin, before.workspace, before.token)


class Pause:
    """Holds a backup up between two of its steps."""

    def __init__(self) -> None:
        self.reached, self.go_on = Event(), Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.go_on.wait(120)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 120)


async def take(pipeline: Pipeline, into: Path) -> dict[str, Any]:
    began, positions = datetime.now(UTC), await read_positions(pipeline.servers.kafka_bootstrap)
    return await asyncio.to_thread(Backup(pipeline.data, into, positions, Silent()).take, began)


async def told(pipeline: Pipeline) -> None:
    """Until Kafka knows all that the databases know."""

    async def all_left() -> bool:
        return await pipeline.unsent() == 0

    await eventually(all_left)


async def test_what_was_told_after_the_databases_snapshot_is_neither_lost_nor_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The backup is held up where it is weakest: the database is copied, Kafka and the files are not yet."""
    between, afterwards = Pause(), Pause()
    cut, copy_blobs = backing_up.cut, backing_up._copy_blobs

    def late_cut(log: Path) -> Any:
        if sys._getframe(1).f_code.co_name == "_take":  # not when it only measures
            between()
        return cut(log)

    def late_blobs(*arguments: Any) -> None:
        afterwards()
        copy_blobs(*arguments)

    monkeypatch.setattr(backing_up, "cut", late_cut)
    monkeypatch.setattr(backing_up, "_copy_blobs", late_blobs)
    into = world.parent / "backup"
    pipeline = await world.up()
    async with pipeline.studio() as studio:
        accepted = await studio.submit_all([f"before {number}" for number in range(6)])
        await studio.finish(3)
        taking = asyncio.create_task(take(pipeline, into))

        await between.wait()  # the database is older than all of this, and Kafka will know it
        accepted |= await studio.submit_all([f"between {number}" for number in range(6)])
        await studio.finish(9)
        revoked = await studio.call("POST", "/v1/keys", json={"principal": "gone", "roles": ["reader"]})
        assert (await studio.admin.delete(f"/v1/keys/{revoked['key_id']}")).is_success
        await told(pipeline)
        between.go_on.set()

        await afterwards.wait()  # and this neither will
        forgotten = await studio.submit_all([f"after {number}" for number in range(4)])
        await studio.finish(14)
        afterwards.go_on.set()
        manifest = await taking
    assert manifest["parts"]["postgres"]["ended_at"] < manifest["parts"]["blobs"]["started_at"]
    await world.destroy()

    await asyncio.to_thread(restore, into, world.data, replace=False, progress=Silent())
    pipeline = await world.up()
    async with again(pipeline, studio) as people:
        async with pipeline.client(revoked["token"]) as stranger:
            for path in ("/v1/requests/unknown", "/v1/jobs"):
                assert (await stranger.get(path)).status_code == 401
        # Whoever got an answer that the backup does not know asks again under the same key; nobody else has to.
        assert await people.submit_all(list(forgotten)) == forgotten
        accepted |= forgotten
        await people.finish(len(accepted))
        await assert_each_once(people, requests=len(accepted), jobs=len(accepted))
        await assert_the_oracle_finds_nothing(people, accepted, into=tmp_path)
    await world.down()
    assert not (world.data.root / "restored.json").exists()
