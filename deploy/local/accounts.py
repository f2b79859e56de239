"""Who the embedded servers run as.

PostgreSQL refuses to run as root, and a Kafka that strangers' bytes reach has no business doing so: started by root,
both become `nobody`, and whatever they read or write has to be reachable by it.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import CannotStart

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """A user to become before a server's program is executed."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """Return the account the servers must change to, or None where they stay who we are."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise CannotStart(
            f"PostgreSQL refuses to run as root, and this system has no user {UNPRIVILEGED!r} to run it as.",
            remedy=f"Run calotype as an ordinary user, or add one: useradd --system {UNPRIVILEGED}",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def may_enter(folder: Path, account: Account | None) -> bool:
    """Tell whether `account` can walk down to `folder`; access lists are not read, so a True may be denied late."""
    return account is None or all(_searchable(step, account) for step in _steps(folder))


def reachable(source: Path, account: Account | None, *, copies: Path) -> Path:
    """Return `source`, or a copy of it under `copies` where `account` cannot get to it (a checkout below /root)."""
    if may_enter(source, account):
        return source
    copy = copies / source.name
    if not copy.exists():
        copies.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Copied beside and renamed: a start that dies halfway leaves no half of a Java behind.
        partial = copies / f".{source.name}.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, symlinks=True)
        try:
            partial.rename(copy)
        except OSError:
            shutil.rmtree(partial)
            if not copy.exists():
                raise
    return copy


def own(folder: Path, account: Account | None) -> Path:
    """Make `folder` and hand it to `account`."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def _steps(folder: Path) -> Iterator[Path]:
    resolved = folder.resolve()
    yield from (step for step in (resolved, *resolved.parents) if step.is_dir())


def _searchable(step: Path, account: Account) -> bool:
    status = step.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
