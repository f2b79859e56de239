"""The backend: comps drawn in processes that may be cancelled, killed and left idle."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import psutil
import pytest
import pytest_asyncio
from PIL import Image

from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled
from services.inference.backends.proof.backend import ProofBackend
from shared.events import FailureReason
from tests.inference.scenes import scene

pytestmark = pytest.mark.live  # a process for each
WORK = Generation(
    job_id=UUID(int=1),
    run=1,
    attempt_id=UUID(int=2),
    prompt="a candle",
    negative_prompt="people",
    width=128,
    height=128,
    steps=20,
    guidance=5.0,
    scheduler="default",
    seed=7,
    model="proof",
    scene=scene(form="candle"),
    label="product-tile@3",
)


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[ProofBackend]:
    proof = ProofBackend(children=1)
    yield proof
    await proof.close()
    assert drawing() == []


def drawing() -> list[psutil.Process]:
    """The children of the test that draw."""
    children = psutil.Process().children()
    return [child for child in children if "services.inference.backends.proof.child" in " ".join(child.cmdline())]


async def generate(
    backend: ProofBackend,
    work: Generation = WORK,
    *,
    progress: Callable[[int, int], None] = lambda _step, _steps: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generated:
    return await backend.generate(work, progress=progress, cancelled=cancelled)


async def test_a_comp_comes_with_mask_focal_point_manifest_and_no_cost(backend: ProofBackend) -> None:
    made = await generate(backend)
    assert Image.open(io.BytesIO(made.image)).size == (128, 128)
    assert made.mask is not None
    assert Image.open(io.BytesIO(made.mask)).mode == "L"
    assert made.focal is not None
    assert made.live_area is not None
    assert made.live_area[0] < made.focal[0] < made.live_area[2]
    assert made.manifest["seed"] == 7
    assert made.cost == Decimal(0)


async def test_progress_is_told_step_by_step(backend: ProofBackend) -> None:
    told: list[tuple[int, int]] = []
    await generate(backend, progress=lambda step, steps: told.append((step, steps)))
    assert told == [(step, 5) for step in range(1, 6)]


async def test_the_loop_goes_on_while_a_comp_is_drawn(backend: ProofBackend) -> None:
    await generate(backend)
    turns = 0
    making = asyncio.create_task(generate(backend, replace(WORK, width=1024, height=1024)))
    while not making.done():
        turns += 1
        await asyncio.sleep(0.001)
    await making
    assert turns > 20


async def test_a_cancel_ends_the_comp_at_its_next_step_and_keeps_the_process(backend: ProofBackend) -> None:
    await generate(backend)
    (before,) = drawing()
    told: list[int] = []
    with pytest.raises(GenerationCancelled):
        await generate(backend, progress=lambda step, _: told.append(step), cancelled=lambda: len(told) == 2)
    assert told == [1, 2]
    await generate(backend)
    assert drawing() == [before]


async def test_what_is_cancelled_before_it_began_starts_nothing(backend: ProofBackend) -> None:
    with pytest.raises(GenerationCancelled):
        await generate(backend, cancelled=lambda: True)
    assert drawing() == []


async def test_a_process_that_is_killed_fails_its_comp_and_is_started_again(backend: ProofBackend) -> None:
    def kill(step: int, _: int) -> None:
        if step == 1:
            drawing()[0].kill()

    with pytest.raises(BackendFailure) as caught:
        await generate(backend, progress=kill)
    assert (caught.value.reason, caught.value.retriable) == (FailureReason.BACKEND_UNAVAILABLE, True)
    assert caught.value.uncertain is False
    assert (await generate(backend)).width == 128


async def test_a_process_that_was_killed_while_idle_fails_nobody_s_comp(backend: ProofBackend) -> None:
    first = await generate(backend)
    (child,) = drawing()
    child.kill()  # and the loop has had no turn to hear of it
    assert (await generate(backend)).image == first.image


async def test_a_scene_that_cannot_be_drawn_fails_for_good_and_keeps_the_process(backend: ProofBackend) -> None:
    with pytest.raises(BackendFailure) as caught:
        await generate(backend, replace(WORK, width=0))
    assert (caught.value.reason, caught.value.retriable) == (FailureReason.INTERNAL, False)
    (before,) = drawing()
    await generate(backend)
    assert drawing() == [before]


async def test_a_worker_that_stops_waiting_ends_the_process(backend: ProofBackend) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(
        generate(backend, replace(WORK, width=2048, height=2048), progress=lambda _step, _steps: begun.set())
    )
    await begun.wait()
    (child,) = drawing()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(child)
    assert (await generate(backend)).width == 128


async def test_two_children_draw_at_once_and_alike() -> None:
    backend = ProofBackend(children=2)
    made = await asyncio.gather(*(generate(backend) for _ in range(4)))
    assert len(drawing()) == 2
    assert len({one.image for one in made}) == 1
    await backend.close()
    assert drawing() == []


async def test_an_idle_child_gives_its_memory_back() -> None:
    backend = ProofBackend(children=1, idle_seconds=0.01)
    first = await generate(backend)
    for child in drawing():
        await gone(child)
    assert (await generate(backend)).image == first.image
    await backend.close()


async def test_the_label_stands_in_for_a_scene_without_template(backend: ProofBackend) -> None:
    bare = {key: value for key, value in scene(form="candle").items() if key != "template"}
    assert (await generate(backend, replace(WORK, scene=bare))).image == (await generate(backend)).image


async def test_the_worker_itself_loads_no_imaging() -> None:
    program = (
        "import sys, services.inference.backends.proof.backend; "
        "sys.exit(bool({'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0


async def gone(process: psutil.Process) -> None:
    async with asyncio.timeout(20):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
