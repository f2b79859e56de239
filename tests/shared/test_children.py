"""What a parent believes of a child's answer: no more than it has room for."""

import asyncio
import json
import sys

import pytest

from shared.children import MOST_BLOBS, MOST_HEADER, Child, ChildDied
from shared.confined import LENGTH


async def answering(answer: bytes) -> Child:
    """A child that says this to whatever it is asked, and stays."""
    program = f"import sys; sys.stdout.buffer.write({answer!r}); sys.stdout.flush(); sys.stdin.read()"
    pipe = asyncio.subprocess.PIPE
    return Child(await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe))


def announcing(*sizes: int) -> bytes:
    header = json.dumps({"sizes": sizes}).encode()
    return LENGTH.pack(len(header)) + header


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (LENGTH.pack(MOST_HEADER + 1), "a header of 16,777,217 bytes"),
        (LENGTH.pack(2**32 - 1) + b"{", "a header of 4,294,967,295 bytes"),
        (announcing(MOST_BLOBS // 2, MOST_BLOBS // 2 + 1), "blobs of 1,073,741,825 bytes"),
        (announcing(2**62), "blobs of"),
        (announcing(4, -1), "the smallest of -1"),
    ],
)
async def test_a_child_that_announces_too_much_is_ended_and_nothing_is_held_of_it(answer: bytes, words: str) -> None:
    child = await answering(answer)
    with pytest.raises(ChildDied, match=words):
        await child.ask({})
    assert not child.alive


async def test_an_answer_within_bounds_is_heard() -> None:
    child = await answering(announcing(3, 0, 2) + b"abcde")
    assert (await child.ask({}))[1] == [b"abc", b"", b"de"]
    await child.end()
