"""What a backup takes of Kafka's log, where groups go back to, and that it says so before a disk is full."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import Problem
from deploy.local.backup import METADATA, Backup, cut
from deploy.local.data import DataFolder
from deploy.local.positions import Positions
from deploy.local.progress import Silent


def log_folder(root: Path, folders: Sequence[str]) -> Path:
    log = root / "kafka" / "log"
    for folder in folders:
        (log / folder).mkdir(parents=True)
        for name in ("0.log", "0.index", "0.timeindex", "0.snapshot", "partition.metadata"):
            (log / folder / name).write_bytes(b"123")
    (log / "meta.properties").write_bytes(b"12345")
    (log / "recovery-point-offset-checkpoint").write_bytes(b"1")
    return log


def test_effects_are_cut_before_their_causes_and_the_list_of_topics_last(tmp_path: Path) -> None:
    topics = [
        "image-requests.v1",
        "assets-published.v1",
        "workspaces.v1",
        "images-generated.v1",
        "requests-completed.v1",
    ]
    names = [METADATA, *(f"t.{topic}-0" for topic in topics), "t.images-generated.v1.dlq-0", "t.images-generated.v1-1"]
    log = log_folder(tmp_path, names)
    assert [folder.name for folder in cut(log)] == [
        "log",
        "t.images-generated.v1.dlq-0",
        "t.requests-completed.v1-0",
        "t.assets-published.v1-0",
        "t.images-generated.v1-0",
        "t.images-generated.v1-1",
        "t.image-requests.v1-0",
        "t.workspaces.v1-0",
        METADATA,
    ]


def test_only_what_a_broker_cannot_compute_is_copied_and_no_positions_of_groups(tmp_path: Path) -> None:
    log = log_folder(tmp_path, ["a-0", "__consumer_offsets-3"])
    found = {str(path.relative_to(log)): length for lengths in cut(log).values() for path, length in lengths.items()}
    assert found == {"meta.properties": 5, "a-0/0.log": 3, "a-0/partition.metadata": 3}


def test_facts_are_read_again_from_where_the_slowest_group_stood() -> None:
    positions = Positions(
        ends={"a": {0: 10, 1: 5}, "b": {0: 7}},
        groups={"fast": {"a": {0: 10, 1: 5}}, "slow": {"a": {0: 4}}, "elsewhere": {"c": {0: 1}}},
    )
    # `slow` has finished nothing of a/1; nobody reads b, so what its writer knew ends where it ended.
    assert positions.behind == {"a": {0: 4, 1: 0}, "b": {0: 7}}
    assert Positions.read({"ends": {"a": {"0": 1}}, "groups": {"g": {"a": {"0": 1}}}}) == Positions(
        ends={"a": {0: 1}}, groups={"g": {"a": {0: 1}}}
    )


def backup_of(root: Path, into: Path) -> Backup:
    data = DataFolder(root)
    data.prepare()
    log_folder(data.root, ["a-0"])
    return Backup(data, into, Positions(ends={}, groups={}), Silent())


@pytest.mark.parametrize("when", ["beforehand", "in the middle"])
def test_a_full_disk_is_said_with_a_remedy_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    backup = backup_of(tmp_path / "data", tmp_path / "backup")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    if when == "beforehand":
        usage = shutil.disk_usage(tmp_path)._replace(free=1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    else:
        monkeypatch.setattr(backup, "_base_backup", full)
    with pytest.raises(Problem, match=r"MB free|No space left") as said:
        backup.take(datetime.now(UTC))
    assert "another disk" in said.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
