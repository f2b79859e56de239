"""The folder target: whole sets, never half of one, whatever happens in between."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from services.publisher.domain import difference
from services.publisher.targets import open_target
from services.publisher.targets.folder import FolderTarget
from shared.errors import Rejected, Unavailable
from tests.publisher.builders import FILES, WORKSPACE, approved, delivery, public_file, reader, target_document

SET = "winter-home-a"
WRITING_EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def folder_target(root: Path, *, workspace: UUID = WORKSPACE, **settings: object) -> FolderTarget:
    target = open_target(target_document(settings=settings), workspace=workspace, publish_folder=root)
    assert isinstance(target, FolderTarget)
    return target


def sets(root: Path) -> list[Path]:
    """Every folder with a file in it that a person looking at the target would take for a set."""
    found = {path.parent for path in root.rglob("*") if path.is_file()}
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


async def test_a_set_stands_under_its_workspace_path_and_campaign_with_a_sidecar(tmp_path: Path) -> None:
    target = folder_target(tmp_path, path="site/winter")
    await target.deliver(delivery(), read=reader())
    (place,) = sets(tmp_path)
    assert place.parent == tmp_path / str(WORKSPACE) / "site" / "winter" / "winter-home"
    assert place.name == f"{SET}-{approved().asset_version_id.hex[:12]}"
    names = {path.name: path.read_bytes() for path in place.iterdir()}
    sidecar = json.loads(names.pop(f"{SET}.json"))
    assert names == {f"{SET}-{rendition}.png": data for rendition, data in FILES.items()}
    assert sidecar["alt_text"] == "An amber bottle on a bone wall"
    assert {file["name"]: file["sha256"] for file in sidecar["files"]} == {
        file.name: file.sha256 for file in approved().files
    }


def killed_at(step: int, work: Callable[[], None]) -> int:
    """Runs `work` in a process of its own that dies before its n-th change of the file system; its exit status."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in WRITING_EVENTS or writes:
                seen += 1
                if seen > step:
                    os._exit(9)

        sys.addaudithook(count)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def next_worker(target: FolderTarget, *, stands: bool) -> None:
    """What the publisher does with a lease that it took over."""
    assert await target.look_up(delivery()) == stands
    if not stands:
        await target.deliver(delivery(), read=reader())
    assert difference(approved(), (await target.read_back(delivery())).receipts) is None


def test_killed_before_any_change_it_leaves_nothing_or_all_and_the_next_worker_makes_one(tmp_path: Path) -> None:
    statuses = []
    for step in range(100):
        root = tmp_path / str(step)
        root.mkdir()
        target = folder_target(root)
        statuses.append(killed_at(step, lambda at=target: asyncio.run(at.deliver(delivery(), read=reader()))))  # type: ignore[misc]
        half_way = sets(root)
        for place in half_way:
            assert {path.name for path in place.iterdir()} == {f"{SET}-{r}.png" for r in FILES} | {f"{SET}.json"}

        asyncio.run(next_worker(target, stands=bool(half_way)))
        assert len(sets(root)) == 1
        if statuses[-1] == 0:
            break
    # Folders, four files, the rename: fewer deaths would mean that the hook saw nothing.
    assert statuses == [9] * (len(statuses) - 1) + [0]
    assert len(statuses) > 8


async def test_what_a_killed_worker_left_beside_goes_with_the_next_delivery(tmp_path: Path) -> None:
    target = folder_target(tmp_path)
    left = tmp_path / str(WORKSPACE) / ".incoming" / f"{delivery().publication_id}.dead"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    await target.deliver(delivery(), read=reader())
    assert list(left.parent.iterdir()) == []


async def test_a_file_that_somebody_changed_is_found_when_it_is_read_back(tmp_path: Path) -> None:
    target = folder_target(tmp_path)
    await target.deliver(delivery(), read=reader())
    (place,) = sets(tmp_path)
    (place / f"{SET}-web-wide.png").write_bytes(b"a wide derivativE")
    wrong = difference(approved(), (await target.read_back(delivery())).receipts)
    assert wrong is not None
    assert "winter-home-a-web-wide.png has other bytes" in wrong.detail


async def test_a_folder_that_is_not_mounted_is_away_and_is_not_made(tmp_path: Path) -> None:
    root = tmp_path / "share"
    root.mkdir()
    target = folder_target(root)
    shutil.rmtree(root)
    for waiting in (
        target.look_up(delivery()),
        target.deliver(delivery(), read=reader()),
        target.read_back(delivery()),
    ):
        with pytest.raises(Unavailable, match="is not there"):
            await waiting
    assert not root.exists()


async def test_a_disk_that_is_full_is_away_and_leaves_no_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await folder_target(tmp_path).deliver(delivery(), read=reader())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("path", ["..", "../other", "/etc", "a/../../b", "a//b", ".hidden", "a b", "a\x00b", 7, ["a"]])
def test_a_path_that_leaves_the_workspaces_folder_is_refused(tmp_path: Path, path: object) -> None:
    with pytest.raises(Rejected, match="no relative path"):
        folder_target(tmp_path, path=path)


def test_settings_that_a_folder_does_not_have_are_named(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="unknown settings: bucket"):
        folder_target(tmp_path, bucket="x")


@pytest.mark.parametrize("name", ["../x.png", "a/b.png", ".hidden.png", "", "x" * 300 + ".png", f"{SET}.json"])
async def test_a_file_name_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    original = public_file("a", "original", FILES["original"])
    harmful = public_file("a", "web", b"w").model_copy(update={"name": name})
    asset = approved().model_copy(update={"files": [original, harmful]})
    refused = delivery()
    with pytest.raises(Rejected, match="cannot be a file's name"):
        await folder_target(tmp_path).deliver(replace(refused, asset=asset), read=reader())
    assert list(tmp_path.iterdir()) == []


async def test_no_workspace_can_reach_into_anothers_folder(tmp_path: Path) -> None:
    await folder_target(tmp_path, path="site").deliver(delivery(), read=reader())
    other = UUID("00000000-0000-4000-8000-00000000b0b0")
    assert not await folder_target(tmp_path, path="site", workspace=other).look_up(delivery())


def test_a_type_that_this_release_lacks_is_refused_with_what_to_use(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="use a target of type folder"):
        open_target(target_document(type="webdav"), workspace=WORKSPACE, publish_folder=tmp_path)
