"""Jars: what the lock says, whole or not at all."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from jgo.maven import Artifact, PythonResolver

from deploy.local.errors import CannotStart
from deploy.local.jars import LOCKS, fetch, read_lock


class Heard:
    """Remembers what a download said."""

    def __init__(self) -> None:
        self.bytes: list[tuple[int, int]] = []

    def step(self, text: str) -> None:
        raise AssertionError(text)

    def download(self, what: str, *, done: int, total: int) -> None:
        assert what == "salt"
        self.bytes.append((done, total))

    def share(self, what: str, *, done: int, total: int) -> None:
        raise AssertionError(what)


def serve(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes | Exception]) -> list[str]:
    """Answer downloads from `files`; return what is asked for."""
    asked: list[str] = []

    def download(resolver: PythonResolver, artifact: Artifact) -> Path:
        asked.append(artifact.filename)
        content = files[artifact.filename]
        if isinstance(content, Exception):
            raise content
        path: Any = artifact.cached_path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        assert resolver.progress_callback is not None
        with resolver.progress_callback(artifact.filename, len(content)) as update:
            update(len(content))
        return Path(path)

    monkeypatch.setattr(PythonResolver, "download", download)
    return asked


def lock(folder: Path, **jars: bytes) -> Path:
    path = folder / "salt.jars"
    lines = [f"{hashlib.sha256(b).hexdigest()} {len(b)} org.salt:{name}:1.0" for name, b in jars.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_jars_come_once_in_class_path_order_with_their_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve(monkeypatch, {"b-1.0.jar": b"bb", "a-1.0.jar": b"a"})
    heard = Heard()
    locked = lock(tmp_path, b=b"bb", a=b"a")
    found = fetch(locked, tmp_path / "cache", progress=heard)
    assert [path.name for path in found] == ["b-1.0.jar", "a-1.0.jar"]
    assert [path.read_bytes() for path in found] == [b"bb", b"a"]
    assert heard.bytes[0] == (0, 3)
    assert heard.bytes[-1] == (3, 3)
    assert fetch(locked, tmp_path / "cache", progress=heard) == found
    assert sorted(asked) == ["a-1.0.jar", "b-1.0.jar"]


def test_one_that_is_not_what_the_lock_says_is_refused_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, {"a-1.0.jar": b"altered"})
    with pytest.raises(CannotStart, match=r"org\.salt:a:1\.0 has SHA-256"):
        fetch(lock(tmp_path, a=b"a"), tmp_path / "cache", progress=Heard())
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_failed_download_says_what_to_look_at_and_the_next_one_starts_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = lock(tmp_path, a=b"a")
    serve(monkeypatch, {"a-1.0.jar": OSError("no route to host")})
    with pytest.raises(CannotStart, match="no route to host") as caught:
        fetch(locked, tmp_path / "cache", progress=Heard())
    assert "network" in caught.value.remedy
    serve(monkeypatch, {"a-1.0.jar": b"a"})
    assert fetch(locked, tmp_path / "cache", progress=Heard())[0].read_bytes() == b"a"


def test_kafkas_lock_has_the_broker_a_log_binding_and_one_version_of_each() -> None:
    coordinates = [jar.coordinate for jar in read_lock(LOCKS / "kafka.jars")]
    assert coordinates[0].startswith("org.apache.kafka:kafka_2.13:")
    version = coordinates[0].rpartition(":")[2]
    assert {c.rpartition(":")[2] for c in coordinates if c.startswith("org.apache.kafka:")} == {version}
    assert any("log4j-slf4j-impl" in c for c in coordinates)
    names = [c.rpartition(":")[0] for c in coordinates]
    assert len(names) == len(set(names))
