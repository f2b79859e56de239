"""Whether a picture made again is the same: its bytes, else its pixels, else what of how it was made is another now.

Pixels are compared in a process of its own, for pictures may be a stranger's: confined, and one at a time. It reads
whether they are ours and the length of the first, then both from its standard input, and answers with JSON: null for
pictures of different sizes, or that cannot be decoded.
"""

import asyncio
import io
import json
import math
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from shared.confined import confine
from shared.processes import start_module

if TYPE_CHECKING:
    from PIL import Image

BEGINNING = struct.Struct("!?Q")
SECONDS = 60.0
MOST_PIXELS = 64 * 2**20
# Two such pictures take 512 MB, their files and the libraries the rest.
MEMORY_MB = 2048
BAND = 2**20  # pixels that are compared at once
# What nobody sees: 8 of 255 levels in any pixel, and far less in most. Other kernels or thread counts stay well within
# it; other weights, prompts or steps do not.
MOST_DIFFERENCE = 8
LEAST_PSNR = 40.0  # dB


class Verdict(StrEnum):
    """What came of making a picture again."""

    EXACT = "exact"
    WITHIN_TOLERANCE = "within tolerance"
    DRIFTED = "drifted"
    NOT_REPRODUCIBLE = "not reproducible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How far two pictures of one size are from each other; `psnr` in dB, None where every pixel is the same."""

    psnr: float | None
    largest: int
    differing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field of the manifest that is another now; None: it was, or is, not there."""

    field: str
    then: Any
    now: Any


def judged(*, same_bytes: bool, measure: Measure | None) -> Verdict:
    if same_bytes:
        return Verdict.EXACT
    near = measure is not None and measure.largest <= MOST_DIFFERENCE
    if near and (measure.psnr is None or measure.psnr >= LEAST_PSNR):  # type: ignore[union-attr]  # near: it is there
        return Verdict.WITHIN_TOLERANCE
    return Verdict.DRIFTED


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Each field of how it was made that is another now. What an older release did not record is not said to differ."""
    before, after = dict(_fields(then, "")), dict(_fields(now, ""))
    recorded = {name.partition(".")[0] for name in before}
    names = dict.fromkeys([*before, *(name for name in after if name.partition(".")[0] in recorded)])
    return [
        Change(field=name, then=before.get(name), now=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _fields(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _fields(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


# One process compares at a time. A semaphore belongs to the loop that first waits for it.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def compare(first: bytes, second: bytes, *, ours: bool = False) -> Measure | None:
    """None where they cannot be compared: their sizes differ, or one is no picture.

    `ours`: we encoded both, so what no stranger may send (AVIF) is opened too.
    """
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(1)):
        return await _compared(first, second, ours=ours)


async def _compared(first: bytes, second: bytes, *, ours: bool) -> Measure | None:
    process = await start_module("shared.comparing")
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate(BEGINNING.pack(ours, len(first)) + first + second)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the process that compares pictures ended with {process.returncode}")
    found = json.loads(said)
    return None if found is None else Measure(**found)


def measured(first: bytes, second: bytes, *, ours: bool = False) -> dict[str, Any] | None:
    """A band of rows at a time: beside the two pictures hardly anything is held."""
    from shared.pictures import Refused  # noqa: PLC0415  # only in the process that compares

    try:
        one, other = (_opened(data, ours=ours) for data in (first, second))
        if one.size != other.size:
            return None
        one.load()
        other.load()
    except (Refused, OSError):
        return None
    (width, height), squares, largest, differing = one.size, 0, 0, 0
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        found = _band(one, other, (0, top, width, min(top + rows, height)))
        squares, largest, differing = squares + found[0], max(largest, found[1]), differing + found[2]
    error = squares / (width * height * 4)
    return {
        "psnr": round(10 * math.log10(255**2 / error), 2) if error else None,
        "largest": largest,
        "differing": round(differing / (width * height), 6),
    }


def _band(one: "Image.Image", other: "Image.Image", box: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """The sum of squared differences, the largest of them, and how many pixels differ."""
    import numpy as np  # noqa: PLC0415

    first, second = (np.asarray(each.crop(box).convert("RGBA")) for each in (one, other))
    apart = np.maximum(first, second) - np.minimum(first, second)
    squares = np.square(apart, dtype=np.uint16)  # of a byte: at most 65,025
    return int(squares.sum(dtype=np.uint64)), int(apart.max()), int(apart.any(axis=2).sum())


def _opened(data: bytes, *, ours: bool) -> "Image.Image":
    from PIL import Image  # noqa: PLC0415

    from shared.pictures import Limits, is_avif  # noqa: PLC0415
    from shared.pictures.opening import opened  # noqa: PLC0415

    if ours and is_avif(data):
        return Image.open(io.BytesIO(data), formats=["AVIF"])
    return opened(data, Limits(pixels=MOST_PIXELS))


def main() -> None:
    answers = confine(memory_mb=MEMORY_MB)
    ours, length = BEGINNING.unpack(sys.stdin.buffer.read(BEGINNING.size))
    first = sys.stdin.buffer.read(length)
    answers.write(json.dumps(measured(first, sys.stdin.buffer.read(), ours=ours)).encode())
    answers.close()


if __name__ == "__main__":
    main()
