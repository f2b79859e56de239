"""A host that a document or a target's answer names, reached by the address that was checked and no other."""

from typing import Any

import httpx

from services.publisher.targets.outside import Outside
from shared.errors import Rejected


async def address_of(url: httpx.URL, outside: Outside) -> str:
    """Raises as `Outside.address_of`."""
    return await outside.address_of(url.raw_host.decode(), _port(url), scheme=url.scheme)


def towards(url: httpx.URL, address: str, **headers: str) -> dict[str, Any]:
    """What httpx is told of a request to this url at this address: its certificate is the name's."""
    return {
        "url": url.copy_with(host=address),
        "headers": {"user-agent": "Calotype", "host": url.netloc.decode(), **headers},
        "extensions": {"sni_hostname": url.raw_host.decode()},
    }


def origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, _port(url)


async def received(answer: httpx.Response, *, most: int) -> bytes:
    """As it comes, for nothing of a stranger's is unpacked here. Raises Rejected for more."""
    parts, size = [], 0
    async for part in answer.aiter_raw():
        size += len(part)
        if size > most:
            raise Rejected("too_large", f"more than {most:,} bytes", remedy="serve the file as it was fetched")
        parts.append(part)
    return b"".join(parts)


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
