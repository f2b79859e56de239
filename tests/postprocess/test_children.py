"""Real child processes: what breaks one of them, and that nothing else breaks."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import pytest_asyncio

from services.postprocess import child
from services.postprocess.children import ChildDied, Children, OutOfMemory, PictureRefused
from services.postprocess.operations import NO_EQUIPMENT
from services.postprocess.orders import Developed
from shared.pictures import Limits
from tests.postprocess.documents import recipe, rendition, step
from tests.postprocess.pictures import grainy, plain, read, written

GOOD = written(plain())


def order(*renditions: dict[str, Any], proxies: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"recipes": {"web": recipe(*renditions).model_dump(mode="json")}, "proxies": proxies}


SIMPLE = order(rendition())


@pytest_asyncio.fixture
async def children() -> AsyncIterator[Children]:
    opened = Children(count=2)
    yield opened
    await opened.stop()


async def test_a_child_hands_back_files_and_what_they_are(children: Children) -> None:
    developed = await children.develop(GOOD, order(rendition("small", 10, 8), proxies=(32,)))
    assert (developed.media_type, developed.width, developed.height) == ("image/png", 64, 64)
    assert [(made.channel, made.rendition, made.width, made.height) for made in developed.made] == [
        (None, "proxy-32", 32, 32),
        ("web", "small", 10, 8),
    ]
    assert read(developed.made[1].data).size == (10, 8)
    assert "pillow" in developed.versions


async def test_one_child_serves_many_pictures(children: Children) -> None:
    await children.develop(GOOD, SIMPLE)
    first = children.pids
    await children.develop(GOOD, SIMPLE)
    assert children.pids == first


async def test_a_corrupt_picture_is_refused_and_the_child_goes_on(children: Children) -> None:
    await children.develop(GOOD, SIMPLE)
    pids = children.pids
    with pytest.raises(PictureRefused, match="does not decode") as refused:
        await children.develop(written(grainy())[:3000], SIMPLE)
    assert refused.value.code == "damaged_picture"
    assert children.pids == pids


async def test_a_recipe_that_makes_no_sense_is_refused_by_name(children: Children) -> None:
    with pytest.raises(PictureRefused, match="no operation 'solarise'") as refused:
        await children.develop(GOOD, order(rendition(operations=[step("solarise")])))
    assert refused.value.code == "recipe"


async def test_a_child_that_is_killed_costs_its_own_picture_only(children: Children) -> None:
    heavy = order(*(rendition(f"r{n}", 2000, 2000, format="avif") for n in range(40)))
    doomed = asyncio.create_task(children.develop(written(plain(2000, 2000)), heavy))
    pid = await _child_of_this_process()
    neighbour = asyncio.create_task(children.develop(GOOD, SIMPLE))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildDied, match="signal 9"):
        await doomed
    assert (await neighbour).made
    assert (await children.develop(GOOD, SIMPLE)).made


async def _child_of_this_process() -> int:
    """The pid of the one child there is, as soon as there is one."""
    tasks = Path(f"/proc/{os.getpid()}/task")
    while True:
        for listing in tasks.glob("*/children"):
            if pids := listing.read_text().split():
                return int(pids[-1])
        await asyncio.sleep(0)


async def test_an_idle_child_that_died_is_replaced(children: Children) -> None:
    await children.develop(GOOD, SIMPLE)
    (pid,) = children.pids
    os.kill(pid, signal.SIGKILL)
    while children.pids:
        await asyncio.sleep(0.01)
    assert (await children.develop(GOOD, SIMPLE)).made


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_a_child_that_takes_too_long_is_ended() -> None:
    children = Children(count=1, seconds=0.05)
    with pytest.raises(ChildDied, match=r"longer than 0.05 s"):
        await children.develop(GOOD, SIMPLE)
    await children.stop()


async def test_a_picture_that_needs_too_much_memory_is_named_and_ends_nothing() -> None:
    children = Children(count=1, memory_mb=512)
    large = written(plain(6000, 6000))
    with pytest.raises(OutOfMemory):
        await children.develop(large, SIMPLE)
    assert children.pids == [], "its memory may be in pieces"
    assert (await children.develop(GOOD, SIMPLE)).made
    await children.stop()


@pytest.mark.parametrize(("code", "told"), [(-4, "memory"), (-215, "bug")])
def test_opencv_out_of_memory_is_told_as_memory(monkeypatch: pytest.MonkeyPatch, code: int, told: str) -> None:
    def develop(*_: Any, **__: Any) -> Developed:
        error = cv2.error("OpenCV: (-4:Insufficient memory) Failed to allocate 24000000 bytes")
        error.code = code
        raise error

    monkeypatch.setattr(child, "develop", develop)
    desk = child.Desk(io.BytesIO(), io.BytesIO())
    answer, blobs = child._answer({"order": SIMPLE}, GOOD, [], desk=desk, equipment=NO_EQUIPMENT, limits=Limits())
    assert (answer["error"], blobs) == (told, [])


async def test_a_large_approved_photo_takes_no_more_memory_than_a_small_one() -> None:
    """Compared at its own size it took 2 GB."""
    children = Children(count=1, memory_mb=1024)
    photo = plain(6000, 4000, (255, 255, 255))
    photo.paste((200, 30, 30), (2000, 1000, 4000, 3000))
    asked = {"recipes": {}, "inputs": ["photo"], "live_area": (0.2, 0.2, 0.8, 0.8), "checks": ["fidelity", "label"]}
    developed = await children.develop(written(plain(600, 400)), asked, [written(photo, compress_level=1)])
    await children.stop()
    (found,) = [verdict for verdict in developed.checks if verdict.check == "fidelity"]
    assert found.number is not None


async def test_a_caller_that_gives_up_leaves_no_child_with_a_stale_answer(children: Children) -> None:
    heavy = order(*(rendition(f"r{n}", 2000, 2000, format="avif") for n in range(40)))
    abandoned = asyncio.create_task(children.develop(written(plain(2000, 2000)), heavy))
    pid = await _child_of_this_process()
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    assert _is_gone(pid)
    assert [made.rendition for made in (await children.develop(GOOD, SIMPLE)).made] == ["main"]


async def test_idle_children_leave() -> None:
    children = Children(count=1, idle_seconds=0)
    await children.develop(GOOD, SIMPLE)
    (pid,) = children.pids
    while not _is_gone(pid):
        await asyncio.sleep(0.01)
    assert children.pids == []


async def test_a_child_inherits_no_secret(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    await children.develop(GOOD, SIMPLE)
    (pid,) = children.pids
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_service_itself_loads_no_imaging_library() -> None:
    """Decoders stay out of the process that holds the keys; and an idle service is 30 MB smaller."""
    program = "import sys, services.postprocess.app; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
