"""The data folder: held by one, ports and secrets remembered, servers let through."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.accounts import Account, may_enter, reachable
from deploy.local.data import PORTS, DataFolder, cache_folder, read_json, write_json
from deploy.local.errors import CannotStart

HOLD = """
import sys
from pathlib import Path
from deploy.local.data import DataFolder
with DataFolder(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def folder(path: Path) -> DataFolder:
    data = DataFolder(path / "data")
    data.prepare()
    return data


def test_a_held_folder_is_refused_to_others_by_name_until_its_holder_is_killed(tmp_path: Path) -> None:
    data = folder(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CannotStart, match=f"in use by process {holder.pid}"), data.held():
            pass
        holder.kill()
    assert data.holder() is None, "it left its number behind, which means nothing now"
    with data.held():
        found = data.holder()
        assert found is not None
        assert found.pid == os.getpid()


def test_a_port_is_remembered_until_somebody_takes_it(tmp_path: Path) -> None:
    data = folder(tmp_path)
    first = data.port("kafka")
    assert first in PORTS
    assert data.port("kafka") == first
    assert data.port("postgres") != first
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", first))
        squatter.listen()
        second = data.port("kafka")
        assert second != first
    assert data.port("kafka") == second


def test_a_secret_is_drawn_once_and_only_we_may_read_it(tmp_path: Path) -> None:
    data = folder(tmp_path)
    secret = data.secret("session_secret")
    assert len(secret) >= 32
    assert DataFolder(data.root).secret("session_secret") == secret
    assert data.secret("other") != secret
    assert stat.S_IMODE((data.root / "secrets.json").stat().st_mode) == 0o600


def test_a_broken_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    with pytest.raises(CannotStart, match=r"ports\.json is not readable"):
        read_json(tmp_path / "ports.json")


def test_a_document_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    write_json(path, {"b": 2})
    assert read_json(path) == {"b": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands there")
    with pytest.raises(CannotStart) as caught:
        DataFolder(tmp_path / "data").prepare()
    assert "--data" in caught.value.remedy


STRANGER = Account("stranger", uid=os.getuid() + 1, gid=os.getgid() + 1)


def test_what_the_servers_account_cannot_reach_is_copied_for_it(tmp_path: Path) -> None:
    closed, opened = tmp_path / "closed", tmp_path / "open"
    (closed / "java").mkdir(parents=True)
    (closed / "java" / "release").write_text("25")
    closed.chmod(0o700)
    assert not may_enter(closed / "java", STRANGER)
    assert may_enter(closed / "java", None)
    copy = reachable(closed / "java", STRANGER, copies=opened)
    assert (copy / "release").read_text() == "25"
    assert copy.parent == opened
    assert reachable(closed / "java", STRANGER, copies=opened) == copy
    assert reachable(closed / "java", None, copies=opened) == closed / "java"


def test_downloads_go_where_the_environment_says_and_else_where_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "usual"))
    monkeypatch.delenv("CALOTYPE_CACHE", raising=False)
    assert cache_folder(data, None) == tmp_path / "usual" / "calotype"
    monkeypatch.setenv("CALOTYPE_CACHE", str(tmp_path / "asked"))
    assert cache_folder(data, None) == tmp_path / "asked"
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("CALOTYPE_CACHE", str(blocked))
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert cache_folder(data, None) == data.root / "cache"
