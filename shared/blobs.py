"""The object store: immutable files, each under a key that ends in the SHA-256 of its bytes.

A key never changes its meaning, so `put` may be repeated by anybody at any time and `get` can tell a damaged file
from a good one. Bytes are durable before `put` returns: the row or event that names them comes after.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID, uuid4

from shared.crash import crash_point
from shared.durable import flush, make_folder, write_file
from shared.errors import BlobMissing, Rejected, Unavailable

# The file system keeps no media type, so the extension says it; our own list, because the system's differs by machine.
MEDIA_TYPES = {
    "avif": "image/avif",
    "csv": "text/csv",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "png": "image/png",
    "webp": "image/webp",
}
EXTENSIONS = {media_type: extension for extension, media_type in MEDIA_TYPES.items()}

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(rf"ws/{_UUID}/(?:{_UUID}|library)/(?P<sha256>[0-9a-f]{{64}})\.(?P<extension>[a-z0-9]{{1,8}})")
_LEFTOVER_SECONDS = 24 * 3600  # far beyond any write that is still under way


@dataclass(frozen=True, slots=True)
class BlobInfo:
    bytes: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a signed address of ours allows: one key, until `expires` (Unix seconds), served as said here."""

    key: str
    expires: int
    filename: str | None = None
    media_type: str | None = None


class Blobs(Protocol):
    """Every method raises Unavailable while the store is away."""

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store `data` durably; the same key again is fine. Raises Rejected if key, bytes and type do not fit."""

    async def get(self, key: str) -> bytes:
        """Raises BlobMissing, and Rejected `blob_damaged` if the bytes no longer have the key's hash."""

    async def head(self, key: str) -> BlobInfo | None: ...

    async def names(self, workspace: UUID, owner: UUID) -> set[str]:
        """What is stored of an asset or a source, by its name in the owner's folder; a thousand at most."""

    async def address(
        self, key: str, *, seconds: int = 300, filename: str | None = None, media_type: str | None = None
    ) -> str:
        """An absolute URL that serves the blob, if there is one, to whoever holds it, for `seconds`."""

    async def delete(self, key: str) -> None:
        """Removes what is stored there, if there is anything: for whoever owns the key and no longer names it."""

    async def check(self) -> None:
        """Raises Unavailable unless the store can be used: what `/readyz` asks."""

    async def close(self) -> None: ...


def blob_key(workspace: UUID, owner: UUID, sha256: str, extension: str) -> str:
    return f"{owner_prefix(workspace, owner)}{sha256}.{extension}"


def owner_prefix(workspace: UUID, owner: UUID) -> str:
    """What the keys of everything of an asset or a source begin with."""
    return f"ws/{workspace}/{owner}/"


def library_key(workspace: UUID, sha256: str) -> str:
    return f"ws/{workspace}/library/{sha256}.json"


def open_blobs(
    url: str,
    *,
    public_url: str,
    secret: str,
    s3_endpoint: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
) -> Blobs:
    """The store that `url` names: `file:///folder` or `s3://bucket/prefix`; without keys S3 asks AWS's own chain."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return FileBlobs(Path(unquote(parts.path)), public_url=public_url, secret=secret)
    if parts.scheme == "s3" and parts.netloc:
        from shared.blobs_s3 import S3Blobs  # noqa: PLC0415  # aioboto3 is 24 MB a process, wanted only for S3

        return S3Blobs(
            parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=s3_endpoint,
            region=region,
            access_key=access_key,
            secret_key=secret_key,
        )
    raise Rejected("blobs_url", f"{url!r} names no object store", "BLOBS_URL", "write file:///folder or s3://bucket")


class FileBlobs:
    """One folder of one machine: written beside, flushed, linked into place, and the folder flushed too."""

    def __init__(self, root: Path, *, public_url: str, secret: str) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._public_url = public_url.rstrip("/")
        self._secret = secret
        self._incoming.mkdir(parents=True, exist_ok=True)
        _sweep(self._incoming)

    def path(self, key: str) -> Path:
        """Where the blob lies, for a server that streams files."""
        parse_key(key)
        return self._root / key

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        fits(key, media_type)
        crash_point("blob.before")
        await asyncio.to_thread(self._put, key, data)
        crash_point("blob.after")

    async def get(self, key: str) -> bytes:
        return await asyncio.to_thread(self._get, key)

    async def head(self, key: str) -> BlobInfo | None:
        path = self.path(key)
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
        except FileNotFoundError:
            self._present()
            return None
        except OSError as error:
            raise Unavailable("blobs", error) from error
        return BlobInfo(size, MEDIA_TYPES[path.suffix[1:]])

    async def names(self, workspace: UUID, owner: UUID) -> set[str]:
        self._present()
        try:
            return set(await asyncio.to_thread(os.listdir, self._root / owner_prefix(workspace, owner)))
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise Unavailable("blobs", error) from error

    async def address(
        self, key: str, *, seconds: int = 300, filename: str | None = None, media_type: str | None = None
    ) -> str:
        parse_key(key)
        address = Address(key=key, expires=int(time.time()) + seconds, filename=filename, media_type=media_type)
        return f"{self._public_url}/v1/blobs/{sign_address(address, secret=self._secret)}"

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, self.path(key))

    async def check(self) -> None:
        self._present()
        if not os.access(self._incoming, os.W_OK):
            raise Unavailable("blobs", f"{self._root} cannot be written")

    async def close(self) -> None:
        pass

    def _put(self, key: str, data: bytes) -> None:
        same_bytes(key, data)
        path, temporary = self.path(key), self._incoming / uuid4().hex
        self._present()
        try:
            make_folder(path.parent)
            try:
                write_file(temporary, data)
                with suppress(FileExistsError):  # somebody stored the same bytes; their link may not be flushed yet
                    os.link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            flush(path.parent)
        except OSError as error:
            raise Unavailable("blobs", error) from error

    def _delete(self, path: Path) -> None:
        self._present()
        try:
            path.unlink()
            flush(path.parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unavailable("blobs", error) from error

    def _get(self, key: str) -> bytes:
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            self._present()
            raise BlobMissing(key) from error
        except OSError as error:
            raise Unavailable("blobs", error) from error
        return undamaged(key, data)

    def _present(self) -> None:
        """A store whose folder is gone (a volume not mounted) is away, not a store in which all is missing."""
        if not self._incoming.is_dir():
            raise Unavailable("blobs", f"{self._root} is not there")


def sign_address(address: Address, *, secret: str) -> str:
    """The token of an address of ours: what it allows in base64url, a dot, and the HMAC over it."""
    payload = _b64(json.dumps(asdict(address), separators=(",", ":")).encode())
    return f"{payload}.{_b64(_mac(payload, secret))}"


def verify_address(token: str, *, secret: str, now: float) -> Address:
    """What a token allows at `now` (Unix seconds). Raises Rejected if it was altered or has expired."""
    payload, _, mac = token.partition(".")
    if not hmac.compare_digest(_b64(_mac(payload, secret)).encode(), mac.encode("utf-8", "surrogatepass")):
        raise Rejected("address_altered", "this address was not made here", remedy="ask for the file again")
    try:
        address = Address(**json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (binascii.Error, ValueError, TypeError) as error:  # ours, of another release
        raise Rejected("address_altered", "this address cannot be read", remedy="ask for the file again") from error
    if now >= address.expires:
        raise Rejected("address_expired", "this address has expired", remedy="ask for the file again")
    return address


def content_disposition(filename: str) -> str:
    """Names a download, for old and new readers of RFC 6266; nothing in the name can end the header."""
    ascii_name = re.sub(r"[^ !#-.0-9:-\[\]-~]", "_", filename)
    return f"inline; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _mac(payload: str, secret: str) -> bytes:
    # The purpose is part of what is signed: the same secret signs sessions.
    return hmac.digest(secret.encode(), b"blob-address\x1f" + payload.encode("utf-8", "surrogatepass"), "sha256")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parse_key(key: str) -> re.Match[str]:
    """Only keys of our own making pass, so no key can climb out of the store."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise Rejected(
            "blob_key", f"{key[:200]!r} is no key of a blob", remedy="make keys with blob_key or library_key"
        )
    if match["extension"] not in MEDIA_TYPES:
        raise Rejected("blob_type", f"no media type is known for .{match['extension']}", key, "add it to MEDIA_TYPES")
    return match


def fits(key: str, media_type: str) -> None:
    if media_type != MEDIA_TYPES[parse_key(key)["extension"]]:
        raise Rejected("blob_type", f"{media_type!r} does not belong to this extension", key, "see MEDIA_TYPES")


def same_bytes(key: str, data: bytes) -> bytes:
    digest = hashlib.sha256(data)
    if digest.hexdigest() != parse_key(key)["sha256"]:
        raise Rejected("blob_key", "the key must end in the SHA-256 of the bytes", key, "make it with blob_key")
    return digest.digest()


def undamaged(key: str, data: bytes) -> bytes:
    if hashlib.sha256(data).hexdigest() != parse_key(key)["sha256"]:
        raise Rejected("blob_damaged", "the stored bytes no longer have their hash", key, "restore it from a backup")
    return data


def _sweep(incoming: Path) -> None:
    """Remove what writers that were killed left behind."""
    for leftover in incoming.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()
