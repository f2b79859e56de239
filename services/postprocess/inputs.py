"""The pictures that go with an original, from the store: its mask, the product's approved photo, the brand's marks.

One that is gone costs no image that was paid for: what wanted it is left out or done without it, and a person told.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from shared.blobs import Blobs
from shared.errors import BlobMissing, Rejected


class Inputs(NamedTuple):
    """Bytes by name; and of those that are not to be had, why."""

    pictures: dict[str, bytes]
    missing: dict[str, str]


async def fetched(blobs: Blobs, keys: Mapping[str, str]) -> Inputs:
    """Raises Unavailable."""
    read = dict(zip(keys, await asyncio.gather(*(_read(blobs, key) for key in keys.values())), strict=True))
    return Inputs(
        {name: got for name, got in read.items() if isinstance(got, bytes)},
        {name: why for name, why in read.items() if isinstance(why, str)},
    )


async def _read(blobs: Blobs, key: str) -> bytes | str:
    try:
        return await blobs.get(key)
    except BlobMissing:
        return "is not stored any more"
    except Rejected as error:
        return f"cannot be read: {error}"
