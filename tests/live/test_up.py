"""`calotype up` as a process among processes: kills, second instances, Ctrl-C, other users.

The services are stand-ins where the test is about processes and not about them.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.cli.status import look
from deploy.local.accounts import may_enter, server_account
from deploy.local.data import DataFolder, read_json
from deploy.local.processes import Identity, is_over
from deploy.local.servers import EmbeddedServers
from deploy.local.supervisor import STAGES

ROOT = Path(__file__).parents[2]
STAND_INS = [sys.executable, "-m", "tests.servers.up"]
REAL = [sys.executable, "-m", "deploy.cli", "up"]
PATIENCE = 90.0
# In a process of a process: the first one may still have been executed with root's rights.
PROBE = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import deploy.local.supervisor'], check=True)"


def wait_for(condition: Callable[[], object], *, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.05)


@dataclass
class Up:
    """A running `up`, in a process of its own."""

    folder: DataFolder
    command: Sequence[str] = field(default_factory=lambda: STAND_INS)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> float:
        """Return how many seconds it took to be ready."""
        self.folder.root.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command, "--data", str(self.folder.root), *options],
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | self.environment,
            )
        wait_for(lambda: self.ended or self.address)
        assert not self.ended, self.output.read_text()
        return time.monotonic() - began

    @property
    def ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    @property
    def output(self) -> Path:
        return self.folder.root.with_suffix(".out")

    @property
    def address(self) -> str:
        return self.folder.local_address() or ""

    @property
    def records(self) -> dict[str, Identity]:
        found = {path.stem: Identity.read(read_json(path)) for path in self.folder.run.glob("*.json")}
        return {name: identity for name, identity in found.items() if identity is not None}

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None and not self.ended:
            self.signal(signal.SIGTERM)
            self.process.wait(PATIENCE)


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


@contextmanager
def new_folder() -> Iterator[DataFolder]:
    # Not pytest's own folder, which only its user may enter: the servers run as nobody.
    parent = Path(tempfile.mkdtemp(prefix="calotype-up-"))
    parent.chmod(0o755)
    data = DataFolder(parent / "data")
    try:
        yield data
    finally:
        run_cli("down", "--data", str(data.root))
        shutil.rmtree(parent)


@pytest.fixture
def folder() -> Iterator[DataFolder]:
    """A data folder that nothing ran on yet."""
    with new_folder() as data:
        yield data


@pytest.fixture(scope="module")
def used_folder() -> Iterator[DataFolder]:
    """One data folder for many tests, so that only the first of them makes the servers' files."""
    with new_folder() as data:
        yield data


@pytest.fixture
def up(used_folder: DataFolder) -> Iterator[Up]:
    running = Up(used_folder)
    yield running
    running.stop()


@pytest.mark.timeout(300)
def test_up_is_ready_within_seconds_and_small_when_warm(folder: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    up = Up(folder, REAL)
    up.start()
    up.signal(signal.SIGINT)
    assert up.process is not None
    assert up.process.wait(PATIENCE) == 0
    seconds = up.start()
    try:
        found = look(folder)
        assert {p["name"] for p in found["processes"]} == {"supervisor", "kafka", "postgres", *STAGES}
        assert {p["state"] for p in found["processes"]} == {"ready"}
        for name in STAGES:
            assert httpx.get(f"{up.address}/v1/stages/{name}/readyz").status_code == 200
        megabytes = {p["name"]: round(p["rss"] / 2**20) for p in found["processes"]}
        services = found["services_rss"] / 2**20
        with capsys.disabled():
            sys.stdout.write(f"\nup, warm: {seconds:.1f} s; six services {services:.0f} MB; {megabytes}\n")
        assert seconds < 45, "15 s is the aim on an idle machine; tests share theirs"
        assert services < 700
        assert megabytes["kafka"] < 400
    finally:
        up.stop()


def test_a_second_instance_on_the_same_data_is_refused_and_told_who_has_it(up: Up) -> None:
    up.start()
    assert up.process is not None
    refused = run_cli("up", "--data", str(up.folder.root))
    assert refused.returncode == 1
    assert f"is in use by process {up.process.pid}" in refused.stderr
    assert "calotype down" in refused.stderr
    assert httpx.get(f"{up.address}/").status_code == 200


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "unrecorded", [(), ("kafka", "postgres")], ids=["recorded", "killed before it was written down"]
)
async def test_after_a_kill_the_next_up_stops_what_was_left_and_has_lost_nothing(
    up: Up, unrecorded: tuple[str, ...]
) -> None:
    await asyncio.to_thread(up.start)
    word = str(uuid4())
    await _write(up, word)
    left = {name: identity for name, identity in up.records.items() if name != "supervisor"}
    workers = [process for identity in left.values() for process in identity.session()]
    up.signal(signal.SIGKILL)
    assert up.process is not None
    up.process.wait()
    assert all(identity.alive() for identity in left.values()), "orphans, as a kill leaves them"
    assert "left running" in run_cli("status", "--data", str(up.folder.root)).stdout
    for name in unrecorded:
        (up.folder.run / f"{name}.json").unlink()

    await asyncio.to_thread(up.start)
    assert not any(identity.alive() for identity in left.values())
    assert all(is_over(worker) for worker in workers)
    assert set(up.records) == {*left, "supervisor"}
    assert await _read(up, word) == (word, word.encode())


@pytest.mark.timeout(240)
def test_a_child_that_dies_is_started_again_and_its_workers_are_not_left_behind(up: Up) -> None:
    up.start()
    before = up.records
    for name in ("prompt", "kafka", "postgres"):
        workers = before[name].session()
        os.kill(before[name].pid, signal.SIGKILL)
        wait_for(partial(_is_new_and_ready, up, name, before[name]))
        assert read_json(up.folder.run / f"{name}.json")["restarts"] == 1
        assert all(is_over(worker) for worker in workers)
    assert httpx.get(f"{up.address}/v1/stages/prompt/readyz").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_no_process_and_no_lock(up: Up, number: signal.Signals) -> None:
    up.start()
    records = up.records
    processes = [process for identity in records.values() for process in identity.session()]
    assert len(processes) >= 2 * len(STAGES) + 2, "each stand-in has a worker"
    up.signal(number)
    assert up.process is not None
    assert up.process.wait(PATIENCE) == 0, up.output.read_text()
    assert not any(identity.alive() for identity in records.values())
    assert all(is_over(process) for process in processes)
    assert up.folder.holder() is None
    assert run_cli("status", "--data", str(up.folder.root)).returncode == 1


def test_down_stops_it_and_says_when_nothing_runs(up: Up) -> None:
    up.start()
    assert run_cli("down", "--data", str(up.folder.root)).stdout == "Stopped.\n"
    assert up.ended
    assert run_cli("down", "--data", str(up.folder.root)).stdout == "Nothing was running.\n"


@pytest.mark.timeout(300)
def test_a_second_up_finds_its_ports_and_takes_another_for_one_that_is_taken(up: Up) -> None:
    up.start()
    before, address = read_json(up.folder.root / "ports.json"), up.address
    up.stop()
    squatter = subprocess.Popen([sys.executable, "-m", "http.server", str(before["postgres"]), "--bind", "127.0.0.1"])
    try:
        wait_for(lambda: _listens(before["postgres"]))
        up.start()
        after = read_json(up.folder.root / "ports.json")
        assert after["postgres"] != before["postgres"]
        assert after | {"postgres": 0} == before | {"postgres": 0}
        assert up.address == address
    finally:
        squatter.kill()
        squatter.wait()


def test_an_unusable_port_is_refused_with_the_way_out(folder: DataFolder, servers: EmbeddedServers) -> None:
    taken = servers.postgres.port if servers.postgres else 0
    refused = run_cli("up", "--data", str(folder.root), "--port", str(taken))
    assert refused.returncode == 1
    assert f"Port {taken} cannot be listened on" in refused.stderr
    assert "--port" in refused.stderr
    assert list(folder.run.glob("*.json")) == [], "nothing is left running"


def test_outside_servers_are_used_where_the_environment_names_them(
    folder: DataFolder, servers: EmbeddedServers
) -> None:
    outside = {
        "CALOTYPE_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
        "CALOTYPE_TOPIC_PREFIX": "outside.",
        "CALOTYPE_TOPIC_PARTITIONS": "1",
        "CALOTYPE_TOPIC_REPLICATION": "1",
        "DATABASE_URL": servers.admin_database_url,
        "CALOTYPE_BLOBS_URL": "s3://elsewhere/images",
    }
    up = Up(folder, environment=outside)
    up.start()
    try:
        assert set(up.records) == {"supervisor", *STAGES}
        seen = httpx.get(f"{up.address}/").json()["environment"]
        assert {name: seen[name] for name in outside} == outside
    finally:
        up.stop()


@pytest.mark.timeout(240)
def test_detach_returns_when_everything_is_ready(used_folder: DataFolder) -> None:
    folder = used_folder
    started = run_cli("up", "--data", str(folder.root), "--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    found = json.loads(run_cli("status", "--json", "--data", str(folder.root)).stdout)
    assert found["running"]
    assert f"{found['address']}/sign-in?" in started.stdout
    assert run_cli("logs", "catalog", "--data", str(folder.root)).returncode == 0
    assert run_cli("down", "--data", str(folder.root)).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root runs every other test as an ordinary user")
@pytest.mark.timeout(240)
def test_an_ordinary_user_needs_no_rights(folder: DataFolder) -> None:
    command, owner = _as_ordinary_user()
    folder.root.mkdir()
    home = folder.root.parent / "home"
    home.mkdir()
    for path in (folder.root, home, folder.root.parent):
        os.chown(path, owner, -1)
    up = Up(folder, [*command, *STAND_INS], {"HOME": str(home), "CALOTYPE_CACHE": str(home / "cache")})
    _lend_cache(home / "cache", owner)
    up.start()
    try:
        for identity in up.records.values():
            assert psutil.Process(identity.pid).uids().real == owner
        assert not (folder.root / "postgres").is_symlink()
    finally:
        up.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can keep files where its servers' account may not go")
@pytest.mark.timeout(240)
def test_root_may_keep_its_data_where_only_root_may_go() -> None:
    closed = Path(tempfile.mkdtemp(prefix="calotype-closed-"))
    assert not may_enter(closed, server_account())
    up = Up(DataFolder(closed / "data"))
    try:
        up.start()
        elsewhere = (up.folder.root / "postgres").resolve()
        assert may_enter(elsewhere.parent, server_account())
        assert psutil.Process(up.records["postgres"].pid).uids().real != 0
    finally:
        up.stop()
        shutil.rmtree((up.folder.root / "postgres").resolve().parent)
        shutil.rmtree(closed)


def _is_new_and_ready(up: Up, name: str, before: Identity) -> bool:
    return up.records[name] != before and read_json(up.folder.run / f"{name}.json")["state"] == "ready"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _addresses(up: Up) -> tuple[str, str]:
    """Return Kafka's address and the database's."""
    kafka, postgres = (read_json(up.folder.run / f"{name}.json")["address"] for name in ("kafka", "postgres"))
    return kafka, f"postgresql://postgres:{up.folder.secret('postgres_password')}@{postgres}/calotype"


async def _write(up: Up, word: str) -> None:
    bootstrap, database = _addresses(up)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(word, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(word, word.encode())
    connection = await asyncpg.connect(database)
    await connection.execute("create table if not exists kept (word text)")
    await connection.execute("insert into kept values ($1)", word)
    await connection.close()


async def _read(up: Up, word: str) -> tuple[str, bytes]:
    bootstrap, database = _addresses(up)
    connection = await asyncpg.connect(database)
    row = await connection.fetchval("select word from kept where word = $1", word)
    await connection.close()
    async with AIOKafkaConsumer(word, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        return row, (await consumer.getone()).value


def _as_ordinary_user() -> tuple[list[str], int]:
    """Return what to put before a command to run it without root's rights, and its user id as seen from here."""
    account = server_account()
    assert account is not None
    become_nobody = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    # Where Python itself lies where only root may go, a user namespace takes root's rights away and not its files.
    for command, uid in ((become_nobody, account.uid), (["unshare", "--user", "--map-user=1000"], 0)):
        probe = [*command, sys.executable, "-c", PROBE]
        tried = subprocess.run(probe, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
        if tried.returncode == 0:
            return command, uid
    raise AssertionError("neither setpriv nor unshare can run Python here without root's rights")


def _lend_cache(cache: Path, owner: int) -> None:
    """Give a user what root has downloaded, so that the test does not do it again."""
    for part in ("jars", "aot"):
        if (Path("/var/cache/calotype") / part).is_dir():
            shutil.copytree(Path("/var/cache/calotype") / part, cache / part)
            for path in (cache, cache / part):
                os.chown(path, owner, -1)
