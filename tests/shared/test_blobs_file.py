"""What only the file store does: survive kills, full disks and volumes that are not mounted."""

import errno
import hashlib
import os
import shutil
import time
from pathlib import Path
from uuid import UUID

import pytest

from shared.blobs import FileBlobs, blob_key
from shared.errors import Rejected, Unavailable

OWNER = UUID("00000000-0000-4000-8000-000000000002")
DATA = b"an image"
KEY = blob_key(OWNER, OWNER, hashlib.sha256(DATA).hexdigest(), "png")


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "store", public_url="http://127.0.0.1:1", secret="s")


async def test_bytes_are_flushed_before_the_name_and_the_name_before_put_returns(
    blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    flush, link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        what = "folder" if path == blobs.path(KEY).parent else "parent" if path.is_dir() else "file"
        steps.append(f"flush {what}")
        flush(descriptor)

    def linked(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linked)
    await blobs.put(KEY, DATA, media_type="image/png")
    assert steps == ["flush parent"] * 3 + ["flush file", "link", "flush folder"]


async def test_a_second_put_flushes_the_name_and_leaves_the_first_file(
    blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await blobs.put(KEY, DATA, media_type="image/png")
    before = blobs.path(KEY).stat().st_ino
    flushed: list[Path] = []
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await blobs.put(KEY, DATA, media_type="image/png")
    assert blobs.path(KEY).stat().st_ino == before
    assert blobs.path(KEY).parent in flushed


@pytest.mark.parametrize("step", ["fsync", "link"])
async def test_a_disk_that_fails_half_way_leaves_no_file_and_is_unavailable(
    blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await blobs.put(KEY, DATA, media_type="image/png")
    blobs.path(KEY).unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(Unavailable, match="No space left"):
        await blobs.put(KEY, DATA, media_type="image/png")
    assert await blobs.head(KEY) is None
    assert [path for path in blobs.path(KEY).parents[3].rglob("*") if path.is_file()] == []


async def test_a_store_whose_folder_is_gone_is_away_and_not_empty(blobs: FileBlobs, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    for refused in (
        blobs.put(KEY, DATA, media_type="image/png"),
        blobs.get(KEY),
        blobs.head(KEY),
        blobs.check(),
    ):
        with pytest.raises(Unavailable, match="is not there"):
            await refused


async def test_damaged_bytes_are_never_handed_out(blobs: FileBlobs) -> None:
    await blobs.put(KEY, DATA, media_type="image/png")
    blobs.path(KEY).write_bytes(b"an imagE")
    with pytest.raises(Rejected) as damaged:
        await blobs.get(KEY)
    assert damaged.value.code == "blob_damaged"


async def test_what_a_killed_writer_left_goes_after_a_day_and_not_before(tmp_path: Path) -> None:
    incoming = tmp_path / "store" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "under-way").write_bytes(b"half")
    (incoming / "killed").write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    os.utime(incoming / "killed", (yesterday, yesterday))
    FileBlobs(tmp_path / "store", public_url="", secret="s")
    assert [path.name for path in incoming.iterdir()] == ["under-way"]
