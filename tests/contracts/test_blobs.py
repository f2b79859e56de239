"""What every object store must do, over both; S3 is a real server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.blobs import BlobInfo, Blobs, FileBlobs, blob_key, library_key, open_blobs
from shared.blobs_s3 import S3Blobs
from shared.errors import BlobMissing, Rejected
from tests.servers.s3proxy import S3Proxy, s3proxy

WORKSPACE = UUID("00000000-0000-4000-8000-000000000001")


def key_of(data: bytes, extension: str = "png") -> str:
    return blob_key(WORKSPACE, uuid4(), hashlib.sha256(data).hexdigest(), extension)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Proxy]:
    with s3proxy() as running:
        running.bucket("contract")
        yield running


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.live)])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    store: Blobs
    if request.param == "file":
        store = open_blobs((tmp_path / "a store").as_uri(), public_url="http://127.0.0.1:1", secret="s")
        assert isinstance(store, FileBlobs)
    else:
        running: S3Proxy = request.getfixturevalue("server")
        store = open_blobs(
            "s3://contract/some/prefix",
            public_url="http://127.0.0.1:1",
            secret="s",
            s3_endpoint=running.endpoint,
            region="us-east-1",
            access_key=running.access_key,
            secret_key=running.secret_key,
        )
        assert isinstance(store, S3Blobs)
    yield store
    await store.close()


async def test_what_was_put_comes_back(blobs: Blobs) -> None:
    key = key_of(b"an image")
    await blobs.put(key, b"an image", media_type="image/png")
    assert await blobs.get(key) == b"an image"
    assert await blobs.head(key) == BlobInfo(bytes=8, media_type="image/png")


async def test_a_library_document_has_a_key_of_its_own_kind(blobs: Blobs) -> None:
    key = library_key(WORKSPACE, hashlib.sha256(b"{}").hexdigest())
    await blobs.put(key, b"{}", media_type="application/json")
    assert await blobs.get(key) == b"{}"


async def test_what_is_stored_of_one_owner_is_named_and_of_nobody_else(blobs: Blobs) -> None:
    owner, other = uuid4(), uuid4()
    for of, data in ((owner, b"one"), (owner, b"two"), (other, b"another's")):
        sha256 = hashlib.sha256(data).hexdigest()
        await blobs.put(blob_key(WORKSPACE, of, sha256, "png"), data, media_type="image/png")
    assert await blobs.names(WORKSPACE, owner) == {f"{hashlib.sha256(d).hexdigest()}.png" for d in (b"one", b"two")}
    assert await blobs.names(uuid4(), owner) == await blobs.names(WORKSPACE, uuid4()) == set()


async def test_the_same_put_again_changes_nothing(blobs: Blobs) -> None:
    key = key_of(b"twice")
    await blobs.put(key, b"twice", media_type="image/png")
    await blobs.put(key, b"twice", media_type="image/png")
    assert await blobs.get(key) == b"twice"


async def test_what_is_deleted_is_missing_until_it_is_put_again_and_its_neighbours_stay(blobs: Blobs) -> None:
    gone, stays = key_of(b"gone"), key_of(b"stays")
    for key, data in ((gone, b"gone"), (stays, b"stays")):
        await blobs.put(key, data, media_type="image/png")
    for _ in range(2):
        await blobs.delete(gone)
        with pytest.raises(BlobMissing):
            await blobs.get(gone)
    assert await blobs.get(stays) == b"stays"
    await blobs.put(gone, b"gone", media_type="image/png")
    assert await blobs.get(gone) == b"gone"


async def test_racing_writers_of_one_key_all_succeed(blobs: Blobs) -> None:
    data = b"raced" * 50_000
    key = key_of(data)
    await asyncio.gather(*(blobs.put(key, data, media_type="image/png") for _ in range(12)))
    assert await blobs.get(key) == data


async def test_an_empty_and_a_big_blob_come_back_whole(blobs: Blobs) -> None:
    for data in (b"", bytes(range(256)) * (24 * 4096)):  # 24 MiB
        key = key_of(data)
        await blobs.put(key, data, media_type="image/png")
        assert (await blobs.head(key)) == BlobInfo(bytes=len(data), media_type="image/png")
        assert hashlib.sha256(await blobs.get(key)).hexdigest() in key


async def test_a_missing_blob_is_said_to_be_missing(blobs: Blobs) -> None:
    key = key_of(b"never put")
    assert await blobs.head(key) is None
    with pytest.raises(BlobMissing) as missing:
        await blobs.get(key)
    assert missing.value.key == key


async def test_bytes_that_are_not_the_keys_are_refused(blobs: Blobs) -> None:
    key = key_of(b"promised")
    with pytest.raises(Rejected, match="SHA-256"):
        await blobs.put(key, b"delivered", media_type="image/png")
    assert await blobs.head(key) is None


async def test_a_media_type_that_is_not_the_extensions_is_refused(blobs: Blobs) -> None:
    with pytest.raises(Rejected, match="image/jpeg"):
        await blobs.put(key_of(b"x"), b"x", media_type="image/jpeg")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../outside.png",
        f"ws/{WORKSPACE}/../../../etc/{'0' * 64}.png",
        f"ws/{WORKSPACE}/{WORKSPACE}/{'0' * 64}.png/../x",
        f"ws/{WORKSPACE}/{WORKSPACE}/{'0' * 63}.png",
        f"ws/{WORKSPACE}/{WORKSPACE}/{'0' * 64}.exe",
        f"ws/{WORKSPACE}/{WORKSPACE}/{'0' * 64}.png\n",
        f"WS/{WORKSPACE}/{WORKSPACE}/{'0' * 64}.png",
    ],
)
async def test_a_key_of_foreign_making_is_refused_everywhere(blobs: Blobs, key: str) -> None:
    with pytest.raises(Rejected):
        await blobs.put(key, b"", media_type="image/png")
    with pytest.raises(Rejected):
        await blobs.get(key)
    with pytest.raises(Rejected):
        await blobs.head(key)
    with pytest.raises(Rejected):
        await blobs.address(key)


async def test_an_address_is_absolute_and_names_the_key(blobs: Blobs) -> None:
    address = await blobs.address(key_of(b"x"), filename="Öl – 1.png", media_type="image/png")
    assert address.startswith("http://127.0.0.1:")


async def test_a_store_that_is_there_passes_its_check(blobs: Blobs) -> None:
    await blobs.check()
