"""Comparing pictures: in bands what the whole would give, one at a time, in a process that may take so much."""

import asyncio
import os
import resource

import numpy as np
import pytest
from PIL import Image

from shared import comparing
from shared.comparing import MEMORY_MB, compare, measured
from shared.confined import NICENESS
from shared.processes import start_module
from tests.postprocess.pictures import written

SIZE = (29, 37)


def noisy(mode: str, seed: int, *, size: tuple[int, int] = SIZE) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (*reversed(size), 4), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def plainly(one: Image.Image, other: Image.Image) -> dict[str, float]:
    first, second = (np.asarray(each.convert("RGBA"), dtype=np.float64) for each in (one, other))
    apart = np.abs(first - second)
    return {
        "psnr": round(float(10 * np.log10(255**2 / np.mean(apart**2))), 2),
        "largest": int(apart.max()),
        "differing": round(float(apart.any(axis=2).mean()), 6),
    }


@pytest.mark.parametrize(("one", "other"), [("RGB", "RGB"), ("RGBA", "RGBA"), ("L", "RGB"), ("P", "RGBA")])
def test_bands_give_what_the_whole_picture_gives(monkeypatch: pytest.MonkeyPatch, one: str, other: str) -> None:
    first, second = noisy(one, 1), noisy(other, 2)
    expected = plainly(first, second)
    for band in (1, 29 * 5, 2**20):  # rows of one, five and a rest of two, all
        monkeypatch.setattr(comparing, "BAND", band)
        assert measured(written(first), written(second)) == expected


def test_one_pixel_that_differs_in_the_last_band_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "BAND", 29 * 5)
    first = noisy("RGB", 1)
    second = first.copy()
    red, green, blue = first.getpixel((28, 36))  # type: ignore[misc]
    second.putpixel((28, 36), (red ^ 128, green, blue))
    found = measured(written(first), written(second))
    assert found is not None and (found["largest"], found["differing"]) == (128, round(1 / (29 * 37), 6))


async def test_one_process_compares_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, most = 0, 0

    async def counted(*_: bytes, ours: bool) -> None:
        nonlocal at_work, most
        assert not ours
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1

    monkeypatch.setattr(comparing, "_compared", counted)
    await asyncio.gather(*(compare(b"", b"") for _ in range(4)))
    assert most == 1


async def test_the_process_that_compares_is_confined() -> None:
    process = await start_module("shared.comparing")
    try:
        while resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] != 0:  # the limit that it sets last
            await asyncio.sleep(0.01)
        assert resource.prlimit(process.pid, resource.RLIMIT_AS)[0] == MEMORY_MB * 2**20
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    finally:
        process.kill()
        await process.wait()


async def test_confined_it_still_compares() -> None:
    first, second = written(noisy("RGB", 1)), written(noisy("RGB", 2))
    found = await compare(first, second)
    assert found is not None and found.differing > 0.9
