"""Copies into a backup: each file hashed as it goes, the list of hashes written as `sha256sum` reads it."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from deploy.local.progress import Progress

SUMS = "SHA256SUMS"
PIECE = 1 << 20
TELL_EVERY = 0.2  # seconds


class Copy:
    """Copies files into a folder; counts and lists them."""

    def __init__(self, into: Path, sums: TextIO, progress: Progress) -> None:
        self.into = into
        self.files = 0
        self.bytes = 0
        self._sums = sums
        self._progress = progress
        self._what = ""
        self._total = 0
        self._began_at = 0
        self._told = 0.0

    def begin(self, what: str, total: int) -> None:
        """Say what comes next, and how many bytes it has."""
        self._what, self._total, self._began_at = what, total, self.bytes
        self._progress.share(what, done=0, total=total)

    def end(self) -> None:
        """Say that it is all there."""
        self._progress.share(self._what, done=self._total, total=self._total)

    def file(self, source: Path, name: str) -> None:
        """Copy `source` to `name` below the folder."""
        with source.open("rb") as reading:
            self.stream(reading, name)

    def stream(self, reading: BinaryIO, name: str, *, length: int | None = None) -> None:
        """Copy what an open file holds, or its first `length` bytes."""
        target = self.into / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, left = hashlib.sha256(), length
        with target.open("xb") as writing:
            while piece := reading.read(PIECE if left is None else min(PIECE, left)):
                writing.write(piece)
                digest.update(piece)
                self.bytes += len(piece)
                left = None if left is None else left - len(piece)
                self._tell()
        self._listed(name, digest.hexdigest())

    def link(self, source: Path, name: str, *, sha256: str) -> bool:
        """Give a file that never changes a second name; False where the file system cannot."""
        target = self.into / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            return False
        self.bytes += target.stat().st_size
        self._listed(name, sha256)
        self._tell()
        return True

    def made(self, name: str) -> None:
        """Hash and list a file that somebody else wrote into the folder."""
        digest = hashed(self.into / name)
        self.bytes += (self.into / name).stat().st_size
        self._listed(name, digest)
        self._tell()

    def _listed(self, name: str, sha256: str) -> None:
        self.files += 1
        self._sums.write(f"{sha256}  {name}\n")

    def _tell(self) -> None:
        if time.monotonic() - self._told > TELL_EVERY:
            self._told = time.monotonic()
            self._progress.share(self._what, done=min(self.bytes - self._began_at, self._total), total=self._total)


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and hash of each file of a list."""
    with (folder / SUMS).open() as lines:
        for line in lines:
            sha256, _, name = line.rstrip("\n").partition("  ")
            yield name, sha256


def files_below(folder: Path, *, without: str | None = None) -> Iterator[Path]:
    """Every file, walked as it is met; what goes away meanwhile is not missed."""
    for parent, folders, names in os.walk(folder):
        if without in folders:
            folders.remove(without)
        yield from (Path(parent, name) for name in names)


def size_of(folder: Path, *, without: str | None = None) -> int:
    total = 0
    for path in files_below(folder, without=without):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
