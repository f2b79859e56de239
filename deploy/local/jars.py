"""Java archives from Maven: exactly the ones a lock file names, each checked against its hash.

A lock is made by resolving coordinates once (`python -m deploy.local.jars COORDINATE… > FILE`) and names no host, so it
installs through whichever mirror jgo is configured for. Fetching from it asks for no POM and takes seconds.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import requests
from jgo.config import GlobalSettings
from jgo.maven import Artifact, MavenContext, PythonResolver
from jgo.parse import Coordinate

from deploy.local.errors import CannotStart
from deploy.local.progress import Progress

LOCKS = Path(__file__).parent.parent / "locks"
# Many small files from one host: a few at once hide the round trips, more only queue there.
CONNECTIONS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Jar:
    """One locked archive."""

    coordinate: str
    sha256: str
    bytes: int


def read_lock(lock: Path) -> list[Jar]:
    """Read the archives of a lock: one `sha256 bytes coordinate` a line, in class path order."""
    rows = [line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    return [Jar(coordinate, sha256, int(size)) for sha256, size, coordinate in rows]


def fetch(lock: Path, cache: Path, *, progress: Progress) -> list[Path]:
    """Return the archives of `lock` in class path order, downloading what `cache` lacks."""
    jars = read_lock(lock)
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = cache / f"{lock.stem}-{digest}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f"{folder.name}.lock"):
            if not folder.is_dir():
                _download(jars, folder, what=lock.stem, progress=progress)
    return [folder / _filename(jar) for jar in jars]


def _download(jars: list[Jar], folder: Path, *, what: str, progress: Progress) -> None:
    total = sum(jar.bytes for jar in jars)
    done, guard = 0, Lock()
    progress.download(what, done=0, total=total)

    def arrived(count: int) -> None:
        nonlocal done
        with guard:
            done += count
            progress.download(what, done=done, total=total)

    @contextlib.contextmanager
    def watch(_filename: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield arrived

    # The folder appears under its name only complete: a killed download leaves nothing that looks like a class path.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        partial = Path(scratch, "jars")
        partial.mkdir()
        resolver = PythonResolver(progress_callback=watch)
        context = MavenContext(
            repo_cache=Path(scratch, "maven"), remote_repos=_repositories(), resolver=resolver, timeout=60
        )
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            futures = [pool.submit(_download_one, jar, context, partial) for jar in jars]
            for future in futures:
                try:
                    future.result()
                except (requests.RequestException, RuntimeError, OSError) as error:
                    for other in futures:
                        other.cancel()
                    raise CannotStart(
                        f"Downloading {what} failed: {error}",
                        remedy="Check the network (or the Maven mirror in ~/.config/jgo.conf) and start again.",
                    ) from error
        for entry in (partial, *partial.iterdir()):
            entry.chmod(0o755 if entry.is_dir() else 0o644)
        partial.rename(folder)
    progress.download(what, done=total, total=total)


def _download_one(jar: Jar, context: MavenContext, folder: Path) -> None:
    path = _artifact(jar.coordinate, context).resolve()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise RuntimeError(f"{jar.coordinate} has SHA-256 {found}, the lock says {jar.sha256}")
    shutil.move(path, folder / _filename(jar))


def _repositories() -> dict[str, str] | None:
    """Return the mirrors of the user's jgo configuration, or None for jgo's own default."""
    return GlobalSettings.load().repositories or None


def _artifact(coordinate: str, context: MavenContext) -> Artifact:
    parsed = Coordinate.parse(coordinate)
    component = context.project(parsed.groupId, parsed.artifactId).at_version(parsed.version or "")
    return component.artifact(parsed.classifier or "", "jar")


def _filename(jar: Jar) -> str:
    return "-".join(jar.coordinate.split(":")[1:]) + ".jar"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def resolve(coordinates: list[str], *, transitive: bool = True) -> list[str]:
    """Return the lines of a lock for `coordinates` and what they need at run time."""
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos=_repositories(), resolver=PythonResolver())
        wanted = [
            context.create_dependency(dataclasses.replace(Coordinate.parse(text), scope="compile"))
            for text in coordinates
        ]
        direct, needed = context.resolver.resolve(wanted, transitive=transitive)
        needed = [dependency for dependency in needed if dependency.scope in {"compile", "runtime"}]
        lines = []
        for dependency in [*direct, *(needed if transitive else [])]:
            content = dependency.artifact.resolve().read_bytes()
            parts = [dependency.groupId, dependency.artifactId, dependency.version, dependency.classifier]
            coordinate = ":".join(part for part in parts if part)
            lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {coordinate}")
        return lines


if __name__ == "__main__":
    print("\n".join(resolve([a for a in sys.argv[1:] if a != "--alone"], transitive="--alone" not in sys.argv)))  # noqa: T201 the output is the lock
