"""How far two pictures are from each other, found out in a process of its own: pictures may be a provider's.

The process reads the length of the first picture and then both from its standard input, and answers with JSON: null for
pictures of different sizes, or that cannot be decoded.
"""

import asyncio
import json
import struct
import sys
from typing import Any

from services.inference.processes import start_module
from services.inference.replaying import Measure
from shared.pictures import Limits, Refused

LENGTH = struct.Struct("!Q")
SECONDS = 60.0
MOST_PIXELS = 64 * 2**20


async def compare(first: bytes, second: bytes) -> Measure | None:
    """None where they cannot be compared: their sizes differ, or one is no picture."""
    process = await start_module("services.inference.comparing")
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate(LENGTH.pack(len(first)) + first + second)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the process that compares pictures ended with {process.returncode}")
    found = json.loads(said)
    return None if found is None else Measure(**found)


def measured(first: bytes, second: bytes) -> dict[str, Any] | None:
    # Only in the process that compares.
    import numpy as np  # noqa: PLC0415

    from shared.pictures.opening import opened  # noqa: PLC0415

    limits = Limits(pixels=MOST_PIXELS)
    try:
        one, other = (np.asarray(opened(data, limits).convert("RGBA"), dtype=np.int16) for data in (first, second))
    except Refused:
        return None
    if one.shape != other.shape:
        return None
    apart = np.abs(one - other)
    error = float(np.mean(apart.astype(np.float64) ** 2))
    return {
        "psnr": round(float(10 * np.log10(255**2 / error)), 2) if error else None,
        "largest": int(apart.max()),
        "differing": round(float(apart.any(axis=2).mean()), 6),
    }


def main() -> None:
    (length,) = LENGTH.unpack(sys.stdin.buffer.read(LENGTH.size))
    first = sys.stdin.buffer.read(length)
    json.dump(measured(first, sys.stdin.buffer.read()), sys.stdout)


if __name__ == "__main__":
    main()
