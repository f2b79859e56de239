"""The S3 store against a real, strict server: what it refuses, who wins a race, and what happens while it is away."""

import asyncio
import base64
import hashlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import aioboto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.blobs import blob_key
from shared.blobs_s3 import S3Blobs
from shared.errors import BlobMissing, Unavailable
from tests.servers.s3proxy import S3Proxy, s3proxy

DATA = b"an image"


def key_of(data: bytes) -> str:
    return blob_key(uuid4(), uuid4(), hashlib.sha256(data).hexdigest(), "png")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Proxy]:
    with s3proxy() as running:
        running.bucket("images")
        yield running


def store(server: S3Proxy, *, bucket: str = "images", secret_key: str | None = None) -> S3Blobs:
    return S3Blobs(
        bucket,
        endpoint=server.endpoint,
        region="us-east-1",
        access_key=server.access_key,
        secret_key=secret_key or server.secret_key,
    )


@pytest.fixture
async def blobs(server: S3Proxy) -> AsyncIterator[S3Blobs]:
    opened = store(server)
    yield opened
    await opened.close()


@pytest.fixture
async def client(server: S3Proxy) -> AsyncIterator[Any]:
    session = aioboto3.Session(server.access_key, server.secret_key, region_name="us-east-1")
    config = Config(retries={"total_max_attempts": 1})
    async with session.client("s3", endpoint_url=server.endpoint, config=config) as s3:
        yield s3


def fetch(address: str) -> tuple[int, bytes, dict[str, str]]:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


async def test_an_address_serves_the_bytes_to_anybody_as_it_says(blobs: S3Blobs) -> None:
    key = key_of(DATA)
    await blobs.put(key, DATA, media_type="image/png")
    status, body, headers = await asyncio.to_thread(fetch, await blobs.address(key, filename="Öl.png"))
    assert (status, body) == (200, DATA)
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"] == "inline; filename=\"_l.png\"; filename*=UTF-8''%C3%96l.png"


async def test_an_expired_address_is_refused(blobs: S3Blobs) -> None:
    key = key_of(DATA)
    await blobs.put(key, DATA, media_type="image/png")
    assert (await asyncio.to_thread(fetch, await blobs.address(key, seconds=-1)))[0] == 403


async def test_an_altered_address_is_refused(blobs: S3Blobs) -> None:
    key, other = key_of(DATA), key_of(DATA)
    await blobs.put(key, DATA, media_type="image/png")
    await blobs.put(other, DATA, media_type="image/png")
    address = await blobs.address(key)
    assert (await asyncio.to_thread(fetch, address.replace(key, other)))[0] == 403
    assert (await asyncio.to_thread(fetch, address.replace("Expires=300", "Expires=9999")))[0] == 403
    assert (await asyncio.to_thread(fetch, address.partition("?")[0]))[0] == 403


async def test_keys_that_are_wrong_mean_waiting_for_an_operator(server: S3Proxy) -> None:
    wrong = store(server, secret_key="not it")
    try:
        for refused in (
            wrong.put(key_of(DATA), DATA, media_type="image/png"),
            wrong.get(key_of(DATA)),
            wrong.head(key_of(DATA)),
            wrong.check(),
        ):
            with pytest.raises(Unavailable, match=r"403|Forbidden|Signature"):
                await refused
    finally:
        await wrong.close()


async def test_the_server_refuses_bytes_that_do_not_have_their_checksum(client: Any) -> None:
    key = key_of(DATA)
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    with pytest.raises(ClientError) as refused:
        await client.put_object(Bucket="images", Key=key, Body=DATA, ChecksumSHA256=wrong)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError):
        await client.head_object(Bucket="images", Key=key)


async def test_of_twelve_racing_conditional_puts_the_server_takes_one(client: Any) -> None:
    key = key_of(DATA)

    async def put(number: int) -> int:
        try:
            await client.put_object(Bucket="images", Key=key, Body=b"%d" % number, IfNoneMatch="*")
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return 200

    answers = await asyncio.gather(*(put(number) for number in range(12)))
    assert sorted(answers) == [200] + [412] * 11
    kept = await (await client.get_object(Bucket="images", Key=key))["Body"].read()
    assert kept == b"%d" % answers.index(200)


async def test_our_put_never_replaces_what_is_stored(blobs: S3Blobs, client: Any) -> None:
    key = key_of(DATA)
    await client.put_object(Bucket="images", Key=key, Body=b"was here first")
    await blobs.put(key, DATA, media_type="image/png")
    kept = await (await client.get_object(Bucket="images", Key=key))["Body"].read()
    assert kept == b"was here first"


async def test_a_bucket_that_is_not_there_is_an_outage_and_not_a_missing_blob(server: S3Proxy) -> None:
    elsewhere = store(server, bucket="nowhere")
    try:
        for refused in (
            elsewhere.get(key_of(DATA)),
            elsewhere.head(key_of(DATA)),
            elsewhere.put(key_of(DATA), DATA, media_type="image/png"),
            elsewhere.check(),
        ):
            with pytest.raises(Unavailable):
                await refused
    finally:
        await elsewhere.close()


async def test_a_store_that_is_away_is_unavailable_and_serves_again_when_it_is_back() -> None:
    with s3proxy() as server:
        server.bucket("images")
        blobs = store(server)
        try:
            key = key_of(DATA)
            await blobs.put(key, DATA, media_type="image/png")
            server.stop()
            for waiting in (
                blobs.put(key, DATA, media_type="image/png"),
                blobs.get(key),
                blobs.head(key),
                blobs.check(),
            ):
                with pytest.raises(Unavailable):
                    await waiting
            server.start()
            assert await blobs.get(key) == DATA
            with pytest.raises(BlobMissing):
                await blobs.get(key_of(b"never put"))
        finally:
            await blobs.close()
