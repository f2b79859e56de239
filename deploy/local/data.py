"""The data folder: where everything is kept, who holds it, its ports and its secrets."""

import contextlib
import fcntl
import hashlib
import json
import os
import random
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.local.accounts import Account, may_enter, own
from deploy.local.errors import CannotStart
from deploy.local.ports import is_free
from deploy.local.processes import Identity

# Below Linux's range for outgoing connections (32768 up), so that a remembered port is not lost to one of those.
PORTS = range(20_000, 32_000)
# Where servers keep their files if root's data folder lies where only root may go.
ELSEWHERE = Path("/var/lib/calotype")


class DataFolder:
    """One installation's files; all of them are found from its root."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.blobs = self.root / "blobs"
        self.published = self.root / "published"
        self._holder = self.run / "supervisor.json"
        self._last_run = self.root / "last-run.json"

    def prepare(self) -> None:
        """Make the folders that are ours; the servers make their own."""
        try:
            for folder in (self.root, self.logs, self.run, self.blobs, self.published):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStart(
                f"{self.root} cannot be written: {error.strerror}.", remedy="Name another folder with --data DIR."
            ) from error

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder alone, or say who does; the kernel lets go of it when this process dies, however it dies."""
        self.prepare()
        with (self.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self.holder()
                who = f"process {holder.pid}" if holder else "another process"
                raise CannotStart(
                    f"{self.root} is in use by {who}.",
                    remedy=f"Stop it with `calotype down --data {self.root}`, or name another folder with --data DIR.",
                ) from None
            write_json(self._holder, Identity.of(os.getpid()).document())
            try:
                yield
            finally:
                self._holder.unlink()

    def announce(self, *, public: str, local: str) -> None:
        """Say to whoever asks that everything is ready, and where; only the holder may."""
        write_json(self._holder, read_json(self._holder) | {"url": public, "local_url": local})

    def local_address(self, *, of: int | None = None) -> str | None:
        """Return where everything is reached from this machine, once it is ready, if `of` (or anybody) holds us."""
        holder = self.holder()
        if holder is None or of not in {None, holder.pid}:
            return None
        return read_json(self._holder).get("local_url")

    def holder(self) -> Identity | None:
        """Return the running supervisor of this folder."""
        identity = Identity.read(read_json(self._holder))
        return identity if identity and identity.alive() else None

    def begins(self) -> bool:
        """Note that a run begins; tell whether the machine went down under the last one, and not only its processes."""
        last = read_json(self._last_run)
        write_json(self._last_run, {"boot": _boot()})
        return bool(last) and last["boot"] not in {"", _boot()}

    def ends(self) -> None:
        """Note that everything has been stopped in order."""
        self._last_run.unlink(missing_ok=True)

    def let_through(self, account: Account | None) -> None:
        """Let the servers' account pass through our root; it may neither list it nor enter what is ours alone."""
        if account is not None:
            self.root.chmod(self.root.stat().st_mode | stat.S_IXOTH)

    def server_folder(self, name: str, account: Account | None) -> Path:
        """Make the folder of a server that runs as `account`, elsewhere if it could not enter ours."""
        link = self.root / name
        if account is None or may_enter(self.root, account):
            return own(link, account)
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = ELSEWHERE / f"{self.root.parent.name}-{digest}"
        folder.mkdir(mode=0o755, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(folder / name)
        return own(folder / name, account)

    def port(self, name: str, *, preferred: int | None = None) -> int:
        """Return the port that `name` had before, or another where somebody has taken that meanwhile."""
        path = self.root / "ports.json"
        ports: dict[str, int] = read_json(path)
        remembered = ports.get(name) or preferred
        others = {port for other, port in ports.items() if other != name}
        if remembered and remembered not in others and is_free(remembered):
            port = remembered
        else:
            free = (port for port in random.sample(PORTS, len(PORTS)) if port not in others and is_free(port))
            port = next(free)
        if ports.get(name) != port:
            write_json(path, ports | {name: port})
        return port

    def secret(self, name: str) -> str:
        """Return a secret of this installation, drawn the first time it is asked for."""
        path = self.root / "secrets.json"
        known: dict[str, str] = read_json(path)
        if name not in known:
            known[name] = secrets.token_urlsafe(32)
            write_json(path, known)
        return known[name]

    def mark_key(self) -> str:
        """Return the key of this installation's invisible marks, in the form that the stages take."""
        return hashlib.sha256(self.secret("mark_key").encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a small document, empty where there is none."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        remedy = "Restore it, or start over with --data DIR."
        raise CannotStart(f"{path} is not readable: {error}.", remedy=remedy) from error
    return document if isinstance(document, dict) else {}


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a small document for our eyes only, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(json.dumps(document, indent=1))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _boot() -> str:
    """Which start of the machine this is; empty where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def cache_folder(data: DataFolder, account: Account | None) -> Path:
    """Return where downloads shared by all data folders of this user are kept: CALOTYPE_CACHE, else the usual place."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calotype"
    usual = home if account is None else Path("/var/cache/calotype")
    for folder in (os.environ.get("CALOTYPE_CACHE"), usual, data.root / "cache"):
        if folder:
            with contextlib.suppress(OSError):
                Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)
                if os.access(folder, os.W_OK | os.X_OK) and may_enter(Path(folder), account):
                    return Path(folder)
    raise CannotStart(
        "There is no folder to keep Kafka's program files in that its account may enter.",
        remedy="Name one with CALOTYPE_CACHE=/some/folder.",
    )
