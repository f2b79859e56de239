"""A folder: one subfolder per asset version, with its files and a JSON sidecar, that appears whole or not at all.

<publish folder>/<workspace>/<path>/<campaign>/<name>-<version>/. The set is written beside, flushed, and renamed into
place: a rename never replaces a folder that has something in it, so the first of two writers wins and nothing is
overwritten.
"""

import asyncio
import errno
import hashlib
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

from services.publisher.domain import Delivered, Delivery
from shared.durable import flush, make_folder, write_file
from shared.errors import Rejected, Unavailable
from shared.events import PublicFile, Receipt
from shared.library.documents import TargetDocument

INCOMING = ".incoming"  # a leading dot, and no accepted name has one: nobody takes what is half written for a set
VERSION_DIGITS = (
    12  # of the asset version's id: 48 bits keep a folder of millions apart, and a clash is found, not overwritten
)

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_FILE_NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,229}"
)  # and the set's name, longer by 13, still fits in 255 bytes


class FolderTarget:
    keyed = True  # the place follows from the asset version

    def __init__(self, root: Path, *, folder: Path) -> None:
        """`root` is the operator's and must exist; `folder` below it is the workspace's and is made as needed."""
        self._root = root
        self._folder = folder

    @classmethod
    def of(cls, document: TargetDocument, *, workspace: UUID, publish_folder: Path) -> Self:
        """`settings.path` is relative to the workspace's own folder: no workspace writes into another's."""
        unknown = set(document.settings) - {"path"}
        path = document.settings.get("path", "")
        segments = path.split("/") if isinstance(path, str) and path else []
        if unknown or not isinstance(path, str) or not all(map(_SEGMENT.fullmatch, segments)):
            raise Rejected(
                "target_settings",
                f"unknown settings: {', '.join(sorted(unknown))}" if unknown else f"{path!r} is no relative path",
                document.label,
                "give `path`: names of letters, digits, _ . and -, joined by /, or nothing",
            )
        return cls(publish_folder, folder=publish_folder.joinpath(str(workspace), *segments))

    def place(self, delivery: Delivery) -> Path:
        """Where the set stands; a function of the asset version alone."""
        asset = delivery.asset
        campaign = re.sub(r"[^A-Za-z0-9_-]+", "-", asset.brief.campaign or "").strip("-")[:100] or "no-campaign"
        return self._folder / campaign / f"{_stem(delivery)}-{asset.asset_version_id.hex[:VERSION_DIGITS]}"

    async def look_up(self, delivery: Delivery) -> bool:
        with _away():
            self._present()
            return await asyncio.to_thread(self.place(delivery).is_dir)

    async def deliver(self, delivery: Delivery, *, read: Callable[[PublicFile], Awaitable[bytes]]) -> None:
        _check_names(delivery)
        self._present()
        files = {file.name: await read(file) for file in delivery.asset.files}
        with _away():
            await asyncio.to_thread(self._write, files | {_sidecar_name(delivery): delivery.sidecar}, delivery)

    async def read_back(self, delivery: Delivery) -> Delivered:
        place = self.place(delivery)
        with _away():
            self._present()
            receipts = await asyncio.to_thread(
                lambda: [_receipt(path) for path in sorted(place.iterdir()) if path.is_file()]
            )
        return Delivered(location=place.as_uri(), receipts=receipts)

    async def close(self) -> None:
        pass

    def _present(self) -> None:
        """A publish folder that is gone (a share not mounted) is away; making it would publish into nowhere."""
        if not self._root.is_dir():
            raise Unavailable("publish folder", f"{self._root} is not there")

    def _write(self, files: Mapping[str, bytes], delivery: Delivery) -> None:
        place = self.place(delivery)
        incoming = self._folder / INCOMING / f"{delivery.publication_id}.{uuid4().hex}"
        try:
            make_folder(incoming)
            for name, data in files.items():
                write_file(incoming / name, data)
            flush(incoming)
            make_folder(place.parent)
            incoming.rename(place)
        except OSError as error:
            first = error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT} and place.is_dir()
            if not first:
                raise
            # Another writer was, and may have swept ours away. Whether its set is this one, reading back will tell.
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        flush(place.parent)
        for leftover in incoming.parent.glob(f"{delivery.publication_id}.*"):  # of writers that were killed
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _away() -> Iterator[None]:
    """A disk that is full, read-only or broken passes when somebody mends it."""
    try:
        yield
    except OSError as error:
        raise Unavailable("publish folder", error) from error


def _check_names(delivery: Delivery) -> None:
    for name in [file.name for file in delivery.asset.files]:
        if not _FILE_NAME.fullmatch(name) or name == _sidecar_name(delivery):
            raise Rejected(
                "file_names", f"{name!r} cannot be a file's name in a folder", remedy="process the job again"
            )


def _stem(delivery: Delivery) -> str:
    """The original's name without its ending; every file of the asset begins so."""
    files = delivery.asset.files
    original = next((file for file in files if file.rendition == "original"), files[0])
    return Path(original.name).stem.removesuffix("-original")


def _sidecar_name(delivery: Delivery) -> str:
    return f"{_stem(delivery)}.json"


def _receipt(path: Path) -> Receipt:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return Receipt(location=path.as_uri(), sha256=digest.hexdigest(), bytes=path.stat().st_size, name=path.name)
