"""Bytes: the object store, the published folder and logs, read and hashed here; and texts that may stand nowhere."""

import asyncio
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.oracle.evidence import Leak, Set
from tests.faults.oracle.world import World

CHUNK = 1024 * 1024
AT_ONCE = 32
INCOMING = ".incoming"


# -- the object store


async def blobs(world: World, keys: Iterable[str]) -> dict[str, tuple[int, str] | None]:
    """Key → size and SHA-256 of what is stored there, None for nothing."""
    if folder := world.blobs.get("folder"):
        return {key: measured(Path(folder) / key) for key in keys}
    return await _from_bucket(world, keys)


def measured(path: Path) -> tuple[int, str] | None:
    try:
        with path.open("rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


async def _from_bucket(world: World, keys: Iterable[str]) -> dict[str, tuple[int, str] | None]:
    import aioboto3  # noqa: PLC0415  # a world with a folder needs none
    from botocore.exceptions import ClientError  # noqa: PLC0415

    told = world.blobs
    session = aioboto3.Session(aws_access_key_id=told["access_key"], aws_secret_access_key=told["secret_key"])
    places = asyncio.Semaphore(AT_ONCE)
    found: dict[str, tuple[int, str] | None] = {}
    async with session.client("s3", endpoint_url=told["endpoint"], region_name="us-east-1") as s3:

        async def one(key: str) -> None:
            async with places:
                try:
                    answer = await s3.get_object(Bucket=told["bucket"], Key=key)
                except ClientError as error:
                    if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
                        raise
                    found[key] = None
                    return
                data = await answer["Body"].read()
                found[key] = len(data), hashlib.sha256(data).hexdigest()

        await asyncio.gather(*map(one, keys))
    return found


# -- the folder target


def published(root: Path) -> tuple[list[Set], list[str]]:
    """Every set that stands there, and what writers that were killed left behind."""
    sets, leftovers = [], []
    for path, _, names in os.walk(root):
        folder = Path(path)
        if not names:
            continue
        inside = folder.relative_to(root)
        if INCOMING in inside.parts:
            leftovers.append(str(inside))
            continue
        files = {name: found for name in names if (found := measured(folder / name)) is not None}
        sets.append(Set(place=folder.as_uri(), workspace=inside.parts[0], files=files, sidecar=_sidecar(folder, files)))
    return sets, leftovers


def _sidecar(folder: Path, files: Iterable[str]) -> dict[str, Any] | None:
    for name in files:
        if name.endswith(".json"):
            try:
                told: dict[str, Any] = json.loads((folder / name).read_bytes())
            except ValueError:
                return None
            return told
    return None


# -- what may stand nowhere


class Search:
    """Texts by what they are; a finding never repeats the text."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = [(what, text.encode()) for what, text in texts.items() if text]
        self.found: dict[tuple[str, str], Leak] = {}

    def look(self, where: str, *data: bytes | None) -> None:
        for some in data:
            for what, text in self._texts:
                if some and text in some:
                    self.found.setdefault((what, where), Leak(what=what, where=where))

    def look_through(self, root: Path) -> None:
        """All files below, however large."""
        longest = max((len(text) for _, text in self._texts), default=0)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    rest = b""
                    while data := file.read(CHUNK):
                        self.look(f"file {path.name}", rest + data)
                        rest = data[-longest:]

    @property
    def leaks(self) -> list[Leak]:
        return list(self.found.values())


def lines(path: Path) -> list[dict[str, Any]]:
    """A ledger's lines; the last one may have been cut short."""
    if not path.exists():
        return []
    found = []
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") or line.rstrip().endswith(b"}"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
    return found


def texts_of(world: World, tokens: Sequence[str]) -> dict[str, str]:
    """What may stand nowhere, by what it is: the world's own secrets, and the secret part of each key."""
    texts = {f"secret {number}": text for number, text in enumerate(world.secrets)}
    texts |= {f"key {token.split('_')[1]}": token.split("_", 2)[2] for token in tokens if token.count("_") >= 2}
    return texts
