"""Hostile files through real children: none crashes, hangs or grows, each answer has a name, and neighbours are whole.

`CALOTYPE_MUTATIONS` is how many files are changed at random (10,000), `CALOTYPE_MUTATIONS_SEED` by which draw (7).
"""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.postprocess.children import Children, PictureRefused
from shared.pictures import REMEDIES
from tests.postprocess.corpus import groups, pngs, pngs_bad
from tests.postprocess.corpus.cases import IsRefused
from tests.postprocess.corpus.mutations import mutations
from tests.postprocess.documents import recipe, rendition
from tests.postprocess.pictures import plain, written

pytestmark = pytest.mark.live

COUNT = int(os.environ.get("CALOTYPE_MUTATIONS", "10000"))
SEED = int(os.environ.get("CALOTYPE_MUTATIONS_SEED", "7"))
HANGS = 5.0  # seconds
GROWN = 400  # MB of a child that decodes what has up to 40 million pixels
NEIGHBOUR_EVERY = 50
SMALL: dict[str, Any] = {"recipes": {}, "proxies": [16]}
FILES: dict[str, Any] = {
    "recipes": {
        "web": recipe(rendition("small", 12, 8, format="webp"), rendition("wide", 24, 4)).model_dump(mode="json")
    },
    "proxies": [16],
}


@pytest_asyncio.fixture
async def children() -> AsyncIterator[Children]:
    opened = Children(count=2)
    yield opened
    await opened.stop()


async def became(children: Children, data: bytes) -> str:
    """`decoded`, or the code of the refusal. Whatever else comes of it is raised."""
    try:
        await children.develop(data, SMALL)
    except PictureRefused as refused:
        return refused.code if refused.detail else ""
    return "decoded"


async def made(children: Children) -> list[bytes]:
    """The files of a good picture."""
    return [each.data for each in (await children.develop(pngs.small(), FILES)).made]


def most_memory(pids: list[int]) -> int:
    """MB that any of these processes had at its largest."""
    return max(int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) for pid in pids) // 1024


async def test_files_changed_at_random_crash_and_hang_nothing(children: Children) -> None:
    right = await made(children)
    first = set(children.pids)
    hostile = zip(count(1), mutations(groups.good_files(), seed=SEED, count=COUNT), strict=False)
    ends: Counter[str] = Counter()
    longest, began = 0.0, time.monotonic()

    async def feed() -> None:
        nonlocal longest
        for number, data in hostile:  # each of the two takes the next
            start = time.monotonic()
            ends[await became(children, data)] += 1
            longest = max(longest, time.monotonic() - start)
            if number % NEIGHBOUR_EVERY == 0:
                assert await made(children) == right

    await asyncio.gather(feed(), feed())
    seconds, memory = time.monotonic() - began, most_memory(children.pids)
    what = ", ".join(f"{many:,} {end}" for end, many in ends.most_common())
    sys.stdout.write(
        f"\n{COUNT:,} changed files (seed {SEED}) in {seconds:.1f} s: {what}; longest {longest:.2f} s, {memory} MB\n"
    )
    assert ends.total() == COUNT
    assert ends.keys() <= {"decoded", *REMEDIES}
    assert longest < HANGS
    assert memory < GROWN
    assert first <= set(children.pids) and len(children.pids) == 2, "no child was lost on the way"


async def test_bombs_are_refused_and_take_no_memory(children: Children) -> None:
    right, first = await made(children), children.pids
    cases = [case for name, group in groups.BAD.items() if "bombs" in name for case in group()]
    for case in cases:
        assert isinstance(case.expected, IsRefused)
        assert await became(children, case.data) == case.expected.code, case
    more = pngs_bad.unpacks_to_more(300_000_000)
    assert await became(children, more) == "decoded"
    assert await made(children) == right
    assert children.pids == first
    assert most_memory(first) < 150


async def test_a_picture_that_is_too_slow_is_refused_and_its_neighbours_are_made() -> None:
    """The clock ends a decoder in the middle of C code; a handler of Python's would wait until that returns."""
    children = Children(count=2, decode_seconds=0.2)
    slow, right = written(plain(6300, 6300)), await made(children)
    code, *neighbours = await asyncio.gather(became(children, slow), *(made(children) for _ in range(5)))
    assert code == "too_slow"
    assert neighbours == [right] * 5
    assert await became(children, slow) == "too_slow", "a new child has the same clock"
    await children.stop()
