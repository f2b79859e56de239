"""The object store in a bucket: any S3 server that knows conditional writes."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import aioboto3
import aiohttp
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.blobs import BlobInfo, content_disposition, fits, owner_prefix, parse_key, same_bytes, undamaged
from shared.crash import crash_point
from shared.errors import BlobMissing, Unavailable


class S3Blobs:
    """A bucket of any S3 server that knows conditional writes."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint
        self._region = region
        self._keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None

    async def put(self, key: str, data: bytes, *, media_type: str) -> None:
        fits(key, media_type)
        digest = same_bytes(key, data)
        crash_point("blob.before")
        try:
            async with self._s3() as s3:
                await s3.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + key,
                    Body=data,
                    ContentType=media_type,
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(digest).decode(),
                )
        except FileExistsError:
            pass
        crash_point("blob.after")

    async def get(self, key: str) -> bytes:
        parse_key(key)
        try:
            async with self._s3() as s3:
                answer = await s3.get_object(Bucket=self._bucket, Key=self._prefix + key)
                async with answer["Body"] as body:
                    data: bytes = await body.read()
        except FileNotFoundError as error:
            raise BlobMissing(key) from error
        return undamaged(key, data)

    async def head(self, key: str) -> BlobInfo | None:
        parse_key(key)
        try:
            async with self._s3() as s3:
                answer = await s3.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except FileNotFoundError:
            await self.check()  # HEAD has no body, so a missing bucket looks like a missing key
            return None
        return BlobInfo(answer["ContentLength"], answer["ContentType"])

    async def names(self, workspace: UUID, owner: UUID) -> set[str]:
        prefix = self._prefix + owner_prefix(workspace, owner)
        try:
            async with self._s3() as s3:
                answer = await s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
        except FileNotFoundError as error:
            raise Unavailable("blobs", f"there is no bucket {self._bucket!r}") from error
        return {each["Key"].removeprefix(prefix) for each in answer.get("Contents", ())}

    async def address(
        self, key: str, *, seconds: int = 300, filename: str | None = None, media_type: str | None = None
    ) -> str:
        parse_key(key)
        asked = {"Bucket": self._bucket, "Key": self._prefix + key}
        if media_type:
            asked["ResponseContentType"] = media_type
        if filename:
            asked["ResponseContentDisposition"] = content_disposition(filename)
        async with self._s3() as s3:
            url: str = await s3.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds)
        return url

    async def delete(self, key: str) -> None:
        parse_key(key)
        async with self._s3() as s3:
            await s3.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    async def check(self) -> None:
        try:
            async with self._s3() as s3:
                await s3.head_bucket(Bucket=self._bucket)
        except FileNotFoundError as error:
            raise Unavailable("blobs", f"there is no bucket {self._bucket!r}") from error

    async def close(self) -> None:
        await self._stack.aclose()
        self._client = None

    @asynccontextmanager
    async def _s3(self) -> AsyncIterator[Any]:
        """The client; what it raises becomes FileNotFoundError, FileExistsError or Unavailable."""
        client = await self._open()
        try:
            yield client
        except ClientError as error:
            raise _translated(error) from error
        except (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("blobs", error) from error

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                config = Config(
                    # Retries are the caller's, with jitter and no end; botocore's would hide an outage from /readyz.
                    retries={"total_max_attempts": 1},
                    connect_timeout=5,
                    read_timeout=30,
                    max_pool_connections=32,
                    signature_version="s3v4",
                    s3={"addressing_style": "path" if self._endpoint else "auto"},
                    # Ours is the SHA-256; CRC32 trailers on top are refused by many servers that are not AWS.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                )
                session = aioboto3.Session(region_name=self._region, **self._keys)
                self._client = await self._stack.enter_async_context(
                    session.client("s3", endpoint_url=self._endpoint, config=config)
                )
            return self._client


def _translated(error: ClientError) -> Exception:
    bug: Exception = error
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if code == "NoSuchBucket":
        return Unavailable("blobs", error)
    if status == 404:
        return FileNotFoundError(code)
    if status == 412:
        return FileExistsError(code)
    # 403: keys that were rotated or never right. The ask is good, so it waits for an operator. 409: a racing write that
    # has not ended. Bad digest: damaged on the way.
    if status in {403, 408, 409, 429} or status >= 500 or code in {"BadDigest", "InvalidDigest", "RequestTimeout"}:
        return Unavailable("blobs", error)
    return bug
