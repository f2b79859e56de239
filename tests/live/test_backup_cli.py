"""`calotype backup` and `calotype restore` at the terminal: what they refuse, and what an interruption leaves.

Only the servers run: this is about files, and about processes that are stopped half-way.
"""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.backup import MANIFEST
from deploy.local.copying import SUMS
from deploy.local.data import DataFolder
from deploy.local.restoring import HALF
from deploy.local.servers import EmbeddedServers

ROOT = Path(__file__).parents[2]
PATIENCE = 200.0
pytestmark = pytest.mark.timeout(300)


@dataclass(eq=False)
class Taken:
    """A running data folder with one row and one record in it, and a backup of it."""

    servers: EmbeddedServers
    do: Callable[[Coroutine[Any, Any, None]], None]
    into: Path
    word: str
    told: dict[str, Any]

    @property
    def data(self) -> DataFolder:
        return self.servers.data


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def taken() -> Iterator[Taken]:
    # Not pytest's own folder, which only its user may enter: the servers run as nobody.
    parent = Path(tempfile.mkdtemp(prefix="calotype-backup-"))
    parent.chmod(0o755)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="servers")
    thread.start()

    def do(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)

    running = Taken(EmbeddedServers(parent / "data"), do, parent / "backup", str(uuid4()), {})
    try:
        do(running.servers.start())
        asyncio.run(write(running))
        answer = run("backup", running.into, "--data", running.data.root, "--json")
        assert answer.returncode == 0, answer.stderr
        running.told = json.loads(answer.stdout)
        yield running
    finally:
        do(running.servers.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        shutil.rmtree(parent)


async def write(taken: Taken) -> None:
    bootstrap = taken.servers.kafka_bootstrap
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(taken.word, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(taken.word, taken.word.encode())
    connection = await asyncpg.connect(taken.servers.admin_database_url)
    await connection.execute("create table kept (word text)")
    await connection.execute("insert into kept values ($1)", taken.word)
    await connection.close()


async def read(taken: Taken) -> tuple[str, bytes]:
    connection = await asyncpg.connect(taken.servers.admin_database_url)
    row = await connection.fetchval("select word from kept")
    await connection.close()
    bootstrap = taken.servers.kafka_bootstrap
    async with AIOKafkaConsumer(taken.word, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        return row, (await consumer.getone()).value


def test_a_backup_is_whole_private_and_checked_without_us(taken: Taken) -> None:
    assert taken.told["backup"] == str(taken.into)
    assert set(taken.told["parts"]) == {"postgres", "kafka", "blobs", "published"}
    checked = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=taken.into, check=False)
    assert checked.returncode == 0
    listed = {line.partition("  ")[2] for line in (taken.into / SUMS).read_text().splitlines()}
    found = {str(path.relative_to(taken.into)) for path in taken.into.rglob("*") if path.is_file()}
    assert found == listed | {SUMS, MANIFEST}
    assert taken.into.stat().st_mode & 0o077 == 0, "it holds the installation's secrets"
    assert not list(taken.into.parent.glob(".backup*"))


def test_a_second_backup_into_the_same_folder_is_refused(taken: Taken) -> None:
    before = (taken.into / MANIFEST).read_bytes()
    refused = run("backup", taken.into, "--data", taken.data.root)
    assert (refused.returncode, "is there already" in refused.stderr) == (1, True)
    assert (taken.into / MANIFEST).read_bytes() == before
    inside = run("backup", taken.data.root / "backup", "--data", taken.data.root)
    assert (inside.returncode, "lies in the data folder" in inside.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_backup_never_looks_like_one_and_the_next_takes_its_place(
    taken: Taken, number: signal.Signals
) -> None:
    into = taken.into.with_name(f"interrupted-{number.name}")
    partial = into.with_name(f".{into.name}.partial")
    command = [sys.executable, "-m", "deploy.cli", "backup", str(into), "--data", str(taken.data.root)]
    for _ in range(5):  # it may be done before the signal arrives, and is whole then
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not (partial / "postgres").is_dir():
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.01)
        running.send_signal(number)
        if running.wait(PATIENCE) != 0:
            break
        assert (into / MANIFEST).exists()
        shutil.rmtree(into)
    assert running.returncode != 0
    assert not into.exists()
    if number is not signal.SIGKILL:
        assert not partial.exists()


def test_a_restore_is_refused_where_something_runs_or_stands(taken: Taken, tmp_path: Path) -> None:
    running = run("restore", taken.into, "--data", taken.data.root, "--replace")
    assert (running.returncode, "is in use by process" in running.stderr) == (1, True)
    (tmp_path / "somebody's").touch()
    used = run("restore", taken.into, "--data", tmp_path)
    assert (used.returncode, "is not empty" in used.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's"]


@pytest.mark.parametrize("damage", ["a byte", "a file", "the list"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(taken: Taken, tmp_path: Path, damage: str) -> None:
    copy, data = tmp_path / "copy", tmp_path / "data"
    shutil.copytree(taken.into, copy)
    victim = next((copy / "kafka").rglob("*.log"))
    match damage:
        case "a byte":
            victim.write_bytes(victim.read_bytes() + b"x")
        case "a file":
            victim.unlink()
        case "the list":
            (copy / SUMS).write_text((copy / SUMS).read_text().replace(victim.name, "other.log"))
    refused = run("restore", copy, "--data", data)
    assert refused.returncode == 1
    assert ("missing or damaged" if damage != "the list" else "not what the manifest says") in refused.stderr
    assert not data.exists()


def test_a_folder_that_a_restore_did_not_finish_is_not_started(taken: Taken, tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    data.prepare()
    (data.root / HALF).touch()
    refused = run("up", "--data", data.root)
    assert (refused.returncode, "was interrupted" in refused.stderr) == (1, True)


def test_a_restored_folder_starts_stops_and_starts_again_with_everything_in_it(taken: Taken) -> None:
    """The last of them: it ends what the others use."""
    taken.do(taken.servers.stop())
    lost = taken.data.published / "lost"
    lost.touch()
    restored = run("restore", taken.into, "--data", taken.data.root, "--replace", "--json")
    assert restored.returncode == 0, restored.stderr
    aside = Path(json.loads(restored.stdout)["moved_aside"])
    assert (aside / "published" / "lost").exists() and not lost.exists()
    for _ in range(2):
        taken.do(taken.servers.start())
        assert asyncio.run(read(taken)) == (taken.word, taken.word.encode())
        taken.do(taken.servers.stop())
