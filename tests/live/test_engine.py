"""Many images in one model process: what they share is time, never a bit of each other.

The real path: a real (small, random) pipeline in a real model process. Where there is a GPU, there as well.
"""

import asyncio
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from prometheus_client import REGISTRY
from safetensors.numpy import load_file, save_file

from deploy.cli.demo import MODELS
from services.inference.backends import BackendFailure, Generated, Generation, GenerationCancelled, Lora, Source
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from shared.events import FailureReason, Lane
from tests.inference.generations import WORK
from tests.inference.tiny import tiny_model

ROOT = Path(__file__).parents[2]
GPU = pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="not measured: no GPU")


def picture(role: str, image: Image.Image, *, box: tuple[int, int, int, int] | None = None) -> Source:
    if box is not None:
        image.paste(255, box)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Source(role=role, data=buffer.getvalue(), media_type="image/png", width=image.width, height=image.height)


REFERENCE = picture("reference", Image.radial_gradient("L").resize((96, 96)).convert("RGB"))
MASK = picture("mask", Image.new("L", (96, 96)), box=(40, 0, 96, 96))
MIXED = [replace(WORK, seed=seed, steps=(10, 20, 30)[seed % 3], prompt=f"mug {seed}") for seed in range(8)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(models: Path) -> AsyncIterator[DiffusionBackend]:
    backend = DiffusionBackend(DiffusionOptions(models=models, device="cpu"))
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["cpu", pytest.param("cuda", marks=GPU)])
async def on(
    request: pytest.FixtureRequest, models: Path, backend: DiffusionBackend
) -> AsyncIterator[DiffusionBackend]:
    """For what has to hold on every device."""
    if request.param == "cpu":
        yield backend
        return
    on_gpu = DiffusionBackend(DiffusionOptions(models=models, device=request.param))
    yield on_gpu
    await on_gpu.close()


def write(models: Path, kind: str) -> None:
    if not (models / kind).exists():
        tiny_model(models / kind, kind)


def device_of(backend: DiffusionBackend) -> str:
    return backend._options.device


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout


async def make(backend: DiffusionBackend, work: Generation = WORK) -> Generated:
    return await backend.generate(work, progress=lambda step, steps: None, cancelled=lambda: False)


async def make_all(backend: DiffusionBackend, works: Sequence[Generation]) -> list[Generated]:
    return await asyncio.gather(*(make(backend, work) for work in works))


def pinned(work: Generation, made: Generated) -> Generation:
    places = made.manifest.get("batch_places")
    return replace(work, shapes=tuple(made.manifest["batch_shapes"]), places=places and tuple(places))


def pixels(made: Generated) -> str:
    return hashlib.sha256(Image.open(io.BytesIO(made.image), formats=["PNG"]).tobytes()).hexdigest()


def plain(model: Path, works: Sequence[Generation], device: str) -> list[str]:
    """The pixels that `pipe()` by itself makes."""
    names = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "scheduler", "seed")
    asked = [json.dumps({name: getattr(work, name) for name in names}) for work in works]
    return run("-m", "tests.inference.plain_pipe", str(model), device, *asked).split()


def process_of(backend: DiffusionBackend) -> int:
    assert backend._model is not None
    return backend._model._process.pid


@pytest.mark.asyncio(loop_scope="module")
async def test_an_image_that_is_alone_is_what_pipe_makes_of_it(on: DiffusionBackend, models: Path) -> None:
    works = [
        WORK,
        replace(WORK, guidance=1.0, negative_prompt=""),
        replace(WORK, width=96, steps=7, seed=8),
        *(replace(WORK, scheduler=name, steps=6) for name in ("dpm++_2m", "euler", "euler_a", "heun", "pndm", "unipc")),
    ]
    assert [pixels(await make(on, work)) for work in works] == plain(models / "tiny", works, device_of(on))


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
@pytest.mark.asyncio(loop_scope="module")
async def test_other_families_share_steps_by_the_same_engine(on: DiffusionBackend, models: Path, kind: str) -> None:
    write(models, kind)
    lone = replace(WORK, model=kind)
    assert [pixels(await make(on, lone))] == plain(models / kind, [lone], device_of(on))
    least = 5 if device_of(on) == "cpu" else 40  # enough that one is not through when the next one comes
    works = [replace(work, model=kind, steps=least + work.seed) for work in MIXED[:5]]
    crowd = await make_all(on, works)
    assert max(max(made.manifest["batch_shapes"]) for made in crowd) > 1
    for work, made in zip(works, crowd, strict=True):
        assert (await make(on, pinned(work, made))).image == made.image


@pytest.mark.asyncio(loop_scope="module")
async def test_images_of_any_age_share_steps_and_each_is_made_again_from_its_recorded_shapes(
    on: DiffusionBackend,
) -> None:
    crowd = await make_all(on, MIXED)
    assert [len(made.manifest["batch_shapes"]) for made in crowd] == [work.steps for work in MIXED]
    assert max(max(made.manifest["batch_shapes"]) for made in crowd) > 1
    for work, made in zip(MIXED, crowd, strict=True):
        again = await make(on, pinned(work, made))
        assert again.image == made.image
        assert again.manifest == made.manifest


@pytest.mark.asyncio(loop_scope="module")
async def test_an_image_joins_between_the_steps_of_another_and_leaves_before_its_end(
    on: DiffusionBackend,
) -> None:
    old, young = replace(WORK, steps=400, shapes=(2,)), replace(WORK, seed=8, steps=5, shapes=(2,))
    told: list[int] = []
    under_way = asyncio.Event()

    def on_step(step: int, _: int) -> None:
        told.append(step)
        if step >= 3:
            under_way.set()

    task = asyncio.create_task(on.generate(old, progress=on_step, cancelled=lambda: False))
    await under_way.wait()
    joined = await make(on, young)
    assert told[-1] < 400, "the young one left while the old one went on"
    lasted = await task
    assert joined.image == (await make(on, young)).image
    assert lasted.image == (await make(on, old)).image


@pytest.mark.asyncio(loop_scope="module")
async def test_neighbours_and_the_row_it_had_change_nothing_at_an_equal_sequence_of_shapes(
    on: DiffusionBackend,
) -> None:
    mine = replace(WORK, steps=10, shapes=(4,), places=None if device_of(on) == "cpu" else (1,))
    others = [
        replace(mine, seed=seed, prompt=f"a tin {seed}", guidance=2.0 + seed, places=None) for seed in range(20, 26)
    ]
    alone = await make(on, mine)
    for crowd in ([mine, *others[:3]], [*others[2:5], mine], [others[5], mine]):
        made = await make_all(on, crowd)
        assert made[crowd.index(mine)].image == alone.image


@pytest.mark.asyncio(loop_scope="module")
async def test_strict_is_the_same_alone_and_crowded(on: DiffusionBackend) -> None:
    strict = replace(WORK, steps=10, shapes=(1,))
    alone = await make(on, strict)
    crowded = (await make_all(on, [*MIXED[:4], strict, *MIXED[4:]]))[4]
    assert crowded.image == alone.image
    assert crowded.manifest["batch_shapes"] == [1] * 10


@pytest.mark.asyncio(loop_scope="module")
async def test_a_cancel_of_one_ends_no_other(on: DiffusionBackend) -> None:
    await make(on)
    process, told = process_of(on), list[int]()
    unwanted = on.generate(
        replace(WORK, steps=900), progress=lambda step, _: told.append(step), cancelled=lambda: len(told) > 3
    )
    ends = await asyncio.gather(unwanted, *(make(on, work) for work in MIXED), return_exceptions=True)
    assert isinstance(ends[0], GenerationCancelled)
    assert all(isinstance(made, Generated) for made in ends[1:])
    assert process_of(on) == process


@pytest.mark.asyncio(loop_scope="module")
async def test_a_caller_that_goes_away_ends_no_other(on: DiffusionBackend) -> None:
    await make(on)
    process, under_way = process_of(on), asyncio.Event()

    def on_step(step: int, _: int) -> None:
        if step:
            under_way.set()

    unending = replace(WORK, steps=900)
    gone = asyncio.create_task(on.generate(unending, progress=on_step, cancelled=lambda: False))
    others = asyncio.create_task(make_all(on, MIXED))
    await under_way.wait()
    gone.cancel()
    assert len(await others) == len(MIXED)
    assert process_of(on) == process


@pytest.mark.asyncio(loop_scope="module")
async def test_a_death_with_several_inside_is_shared_and_a_death_of_one_alone_is_its_own(
    on: DiffusionBackend,
) -> None:
    def kill(step: int, _: int) -> None:
        if step == 2:
            os.kill(process_of(on), signal.SIGKILL)

    async def ends(works: Sequence[Generation], spoil: Callable[[int, int], None]) -> list[BackendFailure]:
        ended = await asyncio.gather(
            *(on.generate(work, progress=spoil, cancelled=lambda: False) for work in works),
            return_exceptions=True,
        )
        return [end for end in ended if isinstance(end, BackendFailure)]

    long = [replace(work, steps=900) for work in MIXED[:3]]
    crowd = await ends(long, kill)
    assert [failure.shared for failure in crowd] == [True] * 3
    assert {failure.reason for failure in crowd} == {FailureReason.BACKEND_UNAVAILABLE}
    lone = await ends(long[:1], kill)
    assert [failure.shared for failure in lone] == [False]
    assert (await make(on)).image, "and the next process makes the next image"


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_made_beside_an_image_that_has_to_be_alone(on: DiffusionBackend) -> None:
    order: list[str] = []

    def note(name: str) -> Callable[[int, int], None]:
        return lambda step, steps: order.append(name) if step in (0, steps) else None

    async def one(name: str, **how: bool) -> None:
        work = replace(WORK, steps=6, alone=how.get("alone", False))
        await on.generate(work, progress=note(name), cancelled=lambda: False)

    await asyncio.gather(one("a"), one("b"), one("suspect", alone=True), one("c"))
    place = order.index("suspect")
    assert order[place + 1] == "suspect"
    assert set(order[:place]) == {"a", "b"} and set(order[place + 2 :]) == {"c"}


@pytest.mark.asyncio(loop_scope="module")
async def test_dedicated_work_is_done_before_the_bulk_it_came_behind(backend: DiffusionBackend) -> None:
    await make(backend)
    done: list[Lane] = []

    async def one(work: Generation) -> None:
        await make(backend, work)
        done.append(work.lane)

    bulk = [replace(WORK, steps=60, seed=seed, lane=Lane.BULK) for seed in range(6)]
    await asyncio.gather(*map(one, bulk), one(replace(WORK, steps=60, lane=Lane.DEDICATED)))
    assert done[0] is Lane.DEDICATED


@pytest.mark.asyncio(loop_scope="module")
async def test_a_crowd_that_does_not_fit_into_memory_is_made_in_smaller_batches(
    backend: DiffusionBackend, models: Path
) -> None:
    write(models, "wide")
    works = [replace(WORK, model="wide", width=512, height=512, steps=5, seed=seed) for seed in range(8)]
    capped = DiffusionBackend(DiffusionOptions(models=models, device="cpu", memory=168 * 2**20))
    crowd = await make_all(capped, works)
    await capped.close()
    assert [len(made.manifest["batch_shapes"]) for made in crowd] == [5] * 8
    largest = [
        max(max(made.manifest["batch_shapes"]) for made in each) for each in (crowd, await make_all(backend, works))
    ]
    assert largest[0] < 8 == largest[1]


@GPU
@pytest.mark.asyncio(loop_scope="module")
async def test_a_gpu_that_others_fill_makes_smaller_batches_or_fails_images_by_name_and_goes_on(models: Path) -> None:
    write(models, "wide")
    backend = DiffusionBackend(DiffusionOptions(models=models, device="cuda", warm=2**30))
    works = [replace(WORK, model="wide", width=2048, height=2048, steps=5, seed=seed) for seed in range(8)]
    small = replace(works[0], width=64, height=64)
    first, *_ = await make_all(backend, [small] * 10)  # so many threads there are, and each has what it keeps by then
    whole = await make(backend, replace(works[0], shapes=(1,)))
    process = process_of(backend)
    for leaving in (2**33, 2**29, 2**24):
        with hogged(leaving=leaving):
            works = [replace(work, shapes=(1,)) if work.seed == 0 else work for work in works]
            ends = await asyncio.gather(*(make(backend, work) for work in works), return_exceptions=True)
        failed = [end for end in ends if not isinstance(end, Generated)]
        assert {end.reason if isinstance(end, BackendFailure) else end for end in failed} <= {
            FailureReason.OUT_OF_MEMORY
        }
        assert not isinstance(ends[0], Generated) or ends[0].image == whole.image
        assert leaving < 2**33 or not failed
    assert failed, "16 MiB are not enough"
    assert (await make(backend, small)).image == first.image
    assert (await make(backend, replace(works[0], shapes=(1,)))).image == whole.image
    assert process_of(backend) == process
    await backend.close()


@contextmanager
def hogged(*, leaving: int) -> Iterator[None]:
    """The first GPU's memory is another program's, but for so many bytes."""
    hog = subprocess.Popen(
        [sys.executable, "-c", HOG, str(leaving)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert hog.stdout is not None
    assert hog.stdout.readline() == "held\n"
    try:
        yield
    finally:
        hog.communicate()


HOG = """
import sys, torch
torch.cuda.init()
torch.ones(1, device="cuda")
held = torch.empty(torch.cuda.mem_get_info()[0] - int(sys.argv[1]), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""


@GPU
@pytest.mark.asyncio(loop_scope="module")
async def test_a_model_of_the_size_people_run_keeps_to_its_bits_on_a_gpu(models: Path) -> None:
    """Stable Diffusion XL's own layers, in bfloat16 at 512 px: larger matrices have other kernels than small ones."""
    run("-m", "benchmarks.engine_pipes", "write", str(models / "large"), "cuda")
    backend = DiffusionBackend(DiffusionOptions(models=models, device="cuda"))
    works = [replace(work, model="large", width=512, height=512) for work in MIXED]
    alone = await make(backend, replace(works[0], shapes=(1,)))
    assert [pixels(alone)] == plain(models / "large", works[:1], "cuda")
    crowd = await make_all(backend, [*works, replace(works[0], shapes=(1,))])
    assert crowd.pop().image == alone.image
    assert max(max(made.manifest["batch_shapes"]) for made in crowd) > 1
    for work, made in zip(works, crowd, strict=True):
        assert (await make(backend, pinned(work, made))).image == made.image
    for shape in (2, 4, 8):
        mine = replace(works[0], shapes=(shape,), places=(shape - 1,))
        others = [replace(mine, seed=seed, prompt=f"a tin {seed}", places=None) for seed in range(20, 19 + shape)]
        crowd = await make_all(backend, [mine, *others])
        assert crowd[0].manifest["batch_places"] == [shape - 1] * mine.steps
        assert crowd[0].image == (await make(backend, mine)).image
    await backend.close()


@GPU
def test_a_step_that_is_recorded_has_the_same_bits_and_one_that_cannot_be_runs_as_it_is() -> None:
    assert run("-c", RECORDED).split() == ["Recording", "Recording", "NoneType", "NoneType", "True", "False"]


NET = """
import os, torch
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
from services.inference.backends.diffusion import graphs as recording, loop as loops
from services.inference.backends.diffusion.adapters import ADAPTERS, Call, Core, together
from services.inference.backends.diffusion.graphs import Graphs
from services.inference.backends.diffusion.planner import Batch

class Net(torch.nn.Module):
    def __init__(self, asks=False):
        super().__init__()
        self.layer, self.asks = torch.nn.Linear(64, 64), asks

    def forward(self, sample, timestep, encoder_hidden_states, return_dict=True):
        if self.asks and sample.sum().item() > 1e9:
            return (sample,)
        return (self.layer(sample) * timestep[:, None] + encoder_hidden_states,)

adapter = ADAPTERS["StableDiffusionPipeline"]
"""
RECORDED = (
    NET
    + """
graphs = Graphs()
first, asks, last = (Core(adapter, Net(asks).cuda().bfloat16()) for asks in (False, True, False))
batch = Batch((0, 1, 2), 4, (3, 0, 1))
with torch.no_grad():
    for core in (first, last, asks, first):
        for _ in range(4):
            rows = [torch.randn(2, 2, 64).cuda().bfloat16() for _ in range(3)]
            steps = torch.rand(3).cuda().bfloat16()
            calls = [
                Call(core, (sample, step), {"encoder_hidden_states": text, "return_dict": False})
                for (sample, text), step in zip(rows, steps)
            ]
            found, wanted = graphs.prepared(calls, batch)(), together(calls, batch)
            assert all(torch.equal(one[0], other[0]) for one, other in zip(found, wanted))
        print(type(next(reversed(graphs._known.values()))).__name__)
print(graphs.clear(), graphs.clear())
"""
)


def test_a_step_is_recorded_the_second_time_unless_it_cannot_be_or_comes_out_otherwise() -> None:
    """With recordings that are not any: what a GPU makes of them is the test before."""
    ran, told = run("-c", UNRECORDED).splitlines()
    assert ran.split("|") == [
        *("ran", "ran recorded replayed replayed", "replayed"),
        *("ran", "ran recorded replayed ran", "ran"),  # other bits: not this one
        *("ran", "ran ran", "ran"),  # no memory: not this one
        "replayed",
        *("ran", "ran", "ran", "ran"),  # three others, and what came before them is forgotten
        *("ran", "ran ran", "ran", "ran"),  # a failure: none any more
    ]
    assert told == "OtherBits MemoryError RuntimeError"


UNRECORDED = (
    NET
    + """
Call.is_recordable, recording.REMEMBERED = True, 3
torch.cuda.graph_pool_handle = torch.cuda.current_stream = lambda: "given"
torch.cuda.set_stream = lambda stream: None
said, whys = [], []

class Recording:
    def __init__(self, calls, batch, pool):
        if batch.shape in (8, 2):
            raise MemoryError if batch.shape == 8 else RuntimeError("a recording that fails")
        said.append("recorded")

    def replay(self, calls, batch):
        said.append("replayed")
        return [(torch.full((1,), float(batch.shape == 4)),)]

def together(calls, batch):
    said.append("ran")
    return [(torch.zeros(1),)]

recording.Recording, recording.together = Recording, together
core, graphs, taken = Core(adapter, Net()), Graphs(on_unrecorded=whys.append), []
call = Call(core, (torch.ones(2, 64), torch.ones(2)), {"encoder_hidden_states": torch.ones(2, 64)})
for shape in (1, 1, 1, 4, 4, 4, 8, 8, 8, 1, 16, 32, 64, 1, 2, 2, 1, 1):
    graphs.prepared([call], Batch((0,), shape, (0,)))()
    taken.append(" ".join(said))
    said.clear()
print(*taken, sep="|")
print(*(why.partition(":")[0] for why in whys))
"""
)


def test_a_step_is_planned_while_the_one_before_is_under_way_and_no_sooner() -> None:
    assert run("-c", AHEAD).split() == ["1"]


AHEAD = (
    NET
    + """
import threading

class Took(loops.Took):
    under_way, most = 0, 0

    def __init__(self, device):
        super().__init__(device)
        Took.most = max(Took.most, Took.under_way)
        Took.under_way += 1

    def wait(self):
        Took.under_way -= 1

loops.Took, over, core = Took, threading.Event(), Core(adapter, Net())

def make(row):
    for step in range(9):
        row.take(Call(core, (torch.ones(2, 64), torch.ones(2)), {"encoder_hidden_states": torch.ones(2, 64)}))

loop = loops.Loop(make, lambda row, made: over.set(), lambda: False, size=1, shares={})
threading.Thread(target=loop.run, daemon=True).start()
loop.submit(1, {"lane": "standard", "shapes": None, "places": None})
assert over.wait(60)
print(Took.most, flush=True)
os._exit(0)
"""
)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_image_that_lacks_the_memory_another_model_has_is_not_to_blame_and_is_made_alone(models: Path) -> None:
    shutil.copytree(models / "tiny", models / "heavy")
    encoder = models / "heavy/text_encoder"
    config, weights = json.loads((encoder / "config.json").read_bytes()), load_file(encoder / "model.safetensors")
    (key,) = (key for key in weights if key.endswith("token_embedding.weight"))
    (encoder / "config.json").write_text(json.dumps(config | {"vocab_size": WORDS}))
    save_file(weights | {key: np.resize(weights[key], (WORDS, 32))}, encoder / "model.safetensors")
    shutil.copytree(models / "heavy", models / "other", copy_function=os.link)
    backend = DiffusionBackend(DiffusionOptions(models=models, device="cpu", memory=640 * 2**20))
    under_way = asyncio.Event()

    def on_step(step: int, _: int) -> None:
        if step:
            under_way.set()

    unending = replace(WORK, model="heavy", steps=900)
    beside = asyncio.create_task(backend.generate(unending, progress=on_step, cancelled=lambda: False))
    await under_way.wait()
    work = replace(WORK, model="other")
    with pytest.raises(BackendFailure, match="than there is beside another model") as caught:
        await make(backend, work)
    assert (caught.value.reason, caught.value.shared) == (FailureReason.OUT_OF_MEMORY, True)
    assert not beside.done()
    beside.cancel()
    await make(backend, replace(work, alone=True))
    await backend.close()
    shutil.rmtree(models / "heavy")
    shutil.rmtree(models / "other")


WORDS = 2_500_000  # of an encoder that has 305 MiB of them


@pytest.mark.asyncio(loop_scope="module")
async def test_a_pipeline_without_an_adapter_runs_whole_beside_the_others(on: DiffusionBackend, models: Path) -> None:
    tiny_model(models / "whole")
    index = json.loads((models / "whole/model_index.json").read_bytes())
    index |= {"_class_name": "StableDiffusionPAGPipeline"}
    (models / "whole/model_index.json").write_text(json.dumps(index))
    short, long = (replace(WORK, model="whole", seed=seed, steps=steps) for seed, steps in ((8, 6), (7, 12)))
    alone = [await make(on, work) for work in (short, long)]
    assert [made.manifest["batch_shapes"] for made in alone] == [[1] * 6, [1] * 12]
    assert alone[0].manifest["pipeline"] == "StableDiffusionPAGPipeline"
    # This class of diffusers lays other attention into its model while it runs, and takes it out when it ends.
    crowded = await make_all(on, [MIXED[0], short, MIXED[1], long])
    for made, expected in zip((crowded[1], crowded[3]), alone, strict=True):
        assert (made.image, made.manifest) == (expected.image, expected.manifest)
    told: list[int] = []
    with pytest.raises(GenerationCancelled):
        await on.generate(long, progress=lambda step, _: told.append(step), cancelled=lambda: 1 in told)
    assert (await make(on, long)).manifest == alone[1].manifest


@pytest.mark.parametrize("kind", ["tiny", "sdxl", "sd3"])
@pytest.mark.asyncio(loop_scope="module")
async def test_images_that_start_from_a_picture_share_steps_with_those_that_do_not(
    on: DiffusionBackend, models: Path, kind: str
) -> None:
    write(models, kind)
    words = replace(WORK, model=kind, steps=10)
    edited = replace(words, sources=(REFERENCE,), strength=0.6)
    masked = replace(words, sources=(REFERENCE, MASK))
    works = [edited, words, masked, replace(edited, seed=8, strength=0.9), replace(masked, seed=9, strength=0.5)]
    crowd = await make_all(on, works)
    assert [len(made.manifest["batch_shapes"]) for made in crowd] == [6, 10, 10, 9, 5]
    assert max(max(made.manifest["batch_shapes"]) for made in crowd) > 1
    for work, made in zip(works, crowd, strict=True):
        assert (await make(on, pinned(work, made))).image == made.image
    assert len({pixels(made) for made in crowd}) == len(works)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_mask_keeps_is_the_reference_s_bit_for_bit(on: DiffusionBackend) -> None:
    made = await make(on, replace(WORK, width=96, sources=(REFERENCE, MASK), strength=0.7))
    image = Image.open(io.BytesIO(made.image), formats=["PNG"])
    whole, mask = (Image.open(io.BytesIO(source.data), formats=["PNG"]) for source in (REFERENCE, MASK))
    reference = whole.crop((0, 16, 96, 80))  # what is too tall loses as much above as below
    box = (0, 0, 40, 64)
    assert mask.crop((0, 16, 40, 80)).getextrema() == (0, 0)
    assert image.crop(box).tobytes() == reference.crop(box).tobytes()
    fresh = (40, 0, 96, 64)
    assert image.crop(fresh).tobytes() != reference.crop(fresh).tobytes()
    assert (made.manifest["pipeline"], made.manifest["strength"]) == ("StableDiffusionInpaintPipeline", 0.7)


@pytest.mark.asyncio(loop_scope="module")
async def test_strength_is_how_far_an_image_may_leave_its_reference(backend: DiffusionBackend) -> None:
    edited = replace(WORK, sources=(REFERENCE,))
    assert (await make(backend, replace(edited, strength=1.0))).image == (await make(backend, WORK)).image
    assert (await make(backend, edited)).manifest["strength"] == 0.8
    with pytest.raises(BackendFailure, match="leaves none of 4 steps") as caught:
        await make(backend, replace(edited, strength=0.2))
    assert caught.value.reason is FailureReason.INVALID_REQUEST


@pytest.fixture(scope="module")
def loras(models: Path) -> dict[str, Any]:
    """One LoRA in two layouts, of the UNet and the text encoder, and a model that was changed by hand to match."""
    query = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    text = "encoder.layers.0.self_attn.q_proj"
    rows = np.random.default_rng(5)
    # Eighths, so that sums of their products are the same in any order.
    down, up, of_text = (rows.integers(-8, 9, size).astype(np.float32) / 8 for size in ((2, 64), (64, 2), (2, 32)))
    (models / "loras").mkdir()
    diffusers = {f"unet.{query}.lora_A.weight": down, f"unet.{query}.lora_B.weight": up}
    diffusers |= {f"text_encoder.text_model.{text}.lora_{part}.weight": of_text for part in "A"}
    diffusers |= {f"text_encoder.text_model.{text}.lora_B.weight": up[:32]}
    save_file(diffusers, models / "loras/new.safetensors")
    kohya: dict[str, Any] = {}
    for layer, first, second in ((f"unet_{query}", down, up), (f"te_text_model_{text}", of_text, up[:32])):
        name = f"lora_{layer.replace('.', '_')}"
        kohya |= {f"{name}.lora_down.weight": first, f"{name}.lora_up.weight": second * 4}
        kohya |= {f"{name}.alpha": np.array(0.5, dtype=np.float32)}
    save_file(kohya, models / "loras/kohya.safetensors")
    save_file(
        {"unet.no.layer.lora_A.weight": down, "unet.no.layer.lora_B.weight": up}, models / "loras/odd.safetensors"
    )
    by_hand = models / "by-hand"
    shutil.copytree(models / "tiny", by_hand)
    for file, layer, change in (
        ("unet/diffusion_pytorch_model.safetensors", query, up @ down),
        ("text_encoder/model.safetensors", text, up[:32] @ of_text),
    ):
        weights = load_file(by_hand / file)
        weights[f"{layer}.weight"] = weights[f"{layer}.weight"] + np.float32(0.5) * change
        save_file(weights, by_hand / file)
    return {name: hashlib.sha256((models / f"loras/{name}.safetensors").read_bytes()).hexdigest() for name in NAMES}


NAMES = ("new", "kohya")

# A model as it loads beside steps, against how it loads by itself; and what type others' tensors have meanwhile.
LOADED = """
import contextlib, json, sys, threading, diffusers, torch
from pathlib import Path
from services.inference.backends.diffusion.models import Models

folder, names, seen, over = Path(sys.argv[1]), sys.argv[2:], set(), threading.Event()

def weights(pipe):
    found = {}
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            found |= {f"{name}.{key}": each for key, each in (*part.named_parameters(), *part.named_buffers())}
    return found

def watch():
    while not over.is_set():
        seen.add(str(torch.ones(1).dtype))

def by_itself(path):
    index = json.loads((path / "model_index.json").read_bytes())
    absent = dict.fromkeys(name for name, place in index.items() if place == [None, None])
    return weights(diffusers.DiffusionPipeline.from_pretrained(path, dtype=torch.bfloat16, **absent))

alone = {name: by_itself(folder / name) for name in names}
models = Models(folder, device=torch.device("cpu"), dtype=torch.bfloat16, budget=0, on_load=lambda *_: None)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
serials = []
for name in [*names, names[0]]:
    with models.held(name, lambda *_: None, before_load=lambda: None) as warm:
        beside = weights(warm.pipe)
        serials += [warm.core.serial, warm.core.within(contextlib.nullcontext).serial]
    assert alone[name].keys() == beside.keys()
    assert all(
        each.dtype == beside[key].dtype and torch.equal(each, beside[key]) for key, each in alone[name].items()
    ), name
over.set()
watcher.join()
assert len(set(serials)) == len(serials), "a model that is loaded again, or wears LoRAs, shares nobody's steps"
print(*seen)
"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_lora_changes_the_weights_as_its_matrices_say(
    backend: DiffusionBackend, loras: dict[str, Any], name: str
) -> None:
    made = await make(backend, replace(WORK, loras=(Lora(name=name, weight=0.5),)))
    by_hand = await make(backend, replace(WORK, model="by-hand"))
    assert made.image == by_hand.image != (await make(backend, WORK)).image
    assert made.manifest["loras"] == [{"name": name, "weight": 0.5, "sha256": loras[name]}]


@pytest.mark.usefixtures("loras")
@pytest.mark.asyncio(loop_scope="module")
async def test_images_share_steps_with_those_of_the_same_loras_alone_and_keep_no_trace_of_others(
    on: DiffusionBackend,
) -> None:
    half, whole = (replace(WORK, steps=12, loras=(Lora(name="new", weight=weight),)) for weight in (0.5, 1.0))
    none = replace(half, loras=(Lora(name="new", weight=0.0),))
    plain = replace(WORK, steps=12)
    alone = await make_all(on, [replace(work, shapes=(2,)) for work in (half, plain, whole)])
    works = [half, plain, whole, replace(half, seed=8), none, replace(whole, seed=9)]
    crowd = await make_all(on, [replace(work, shapes=(2,)) for work in works])
    assert [made.image for made in crowd[:3]] == [made.image for made in alone]
    assert crowd[4].image == crowd[1].image
    manifests = [{**made.manifest, "batch_places": None} for made in crowd]
    assert manifests[4] == manifests[1]
    assert len({pixels(made) for made in crowd}) == 5


@pytest.mark.usefixtures("loras")
@pytest.mark.parametrize(
    ("name", "why"), [("absent", "there is no loras/absent.safetensors"), ("odd", "which has no layer unet_no_layer")]
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_lora_that_is_not_there_or_fits_another_model_fails_its_job_by_name(
    backend: DiffusionBackend, name: str, why: str
) -> None:
    with pytest.raises(BackendFailure, match=why) as caught:
        await make(backend, replace(WORK, loras=(Lora(name=name),)))
    assert not caught.value.retriable


@pytest.mark.asyncio(loop_scope="module")
async def test_thumbnails_are_small_show_what_comes_and_change_no_bit_of_it(on: DiffusionBackend, models: Path) -> None:
    """With the model of the repository, whose pictures show something."""
    shutil.copytree(MODELS / "small-products", models / "small-products", dirs_exist_ok=True)
    steps = STEPS[device_of(on)]
    asked = replace(WORK, model="small-products", negative_prompt="", width=128, height=128, steps=steps, shapes=(1,))
    mug, bottle = (replace(asked, prompt=f"a matte {what} on grey, light from the left") for what in WHAT)
    drawn: list[tuple[int, bytes]] = []
    made = await make(on, replace(mug, preview=lambda step, image: drawn.append((step, image))))
    assert (await make(on, mug)).image == made.image
    assert drawn and all(step % 3 == 0 and len(image) < 16_384 for step, image in drawn)
    with Image.open(io.BytesIO(drawn[-1][1]), formats=["JPEG"]) as last:
        assert last.size == (96, 96)
    other = await make(on, replace(bottle, steps=20))
    likeness, otherwise = (alike(drawn[-1][1], each.image) for each in (made, other))
    assert likeness > max(0.7, otherwise + 0.2), (likeness, otherwise)


WHAT = ("red mug", "blue bottle")
STEPS = {"cpu": 100, "cuda": 900}  # the first thumbnail is drawn half a second after the third step


def alike(one: bytes, two: bytes) -> float:
    """Correlation of two pictures, by pixel and colour."""
    first, second = (
        np.asarray(Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]).resize((32, 32)), float) for data in (one, two)
    )
    return float(np.corrcoef((first - first.mean((0, 1))).ravel(), (second - second.mean((0, 1))).ravel())[0, 1])


@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be_drawn_costs_an_image_its_thumbnails_and_nothing_else(
    on: DiffusionBackend, models: Path
) -> None:
    shutil.copytree(MODELS / "small-products", models / "blind")
    file = models / "blind/vae/diffusion_pytorch_model.safetensors"
    save_file({name: weights * np.float32(np.nan) for name, weights in load_file(file).items()}, file)
    drawn: list[int] = []
    work = replace(WORK, model="blind", width=128, height=128, steps=STEPS[device_of(on)], shapes=(1,))
    with pytest.raises(BackendFailure, match="no colour") as caught:
        await make(on, replace(work, preview=lambda step, _: drawn.append(step)))
    assert (caught.value.reason, drawn) == (FailureReason.CORRUPT_OUTPUT, [])


@pytest.mark.asyncio(loop_scope="module")
async def test_a_step_that_is_shared_is_paid_for_by_those_who_shared_it(on: DiffusionBackend) -> None:
    pair = [replace(WORK, steps=40, seed=seed, shapes=(2,)) for seed in (1, 2)]
    began = time.monotonic()
    used = [made.device_seconds or 0.0 for made in await make_all(on, pair)]
    assert 0 < sum(used) <= time.monotonic() - began
    assert max(used) < 2 * min(used)


def device_seconds(state: str, model: str) -> float:
    samples = (
        sample for metric in REGISTRY.collect() if metric.name == "calotype_device_seconds" for sample in metric.samples
    )
    return sum(
        sample.value
        for sample in samples
        if sample.name.endswith("_total") and (sample.labels["state"], sample.labels["model"]) == (state, model)
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_used_last_stays_loaded_within_the_budget_and_the_seconds_are_told(models: Path) -> None:
    for name in ("first", "second", "third"):
        shutil.copytree(models / "tiny", models / name)
    size = sum(file.stat().st_size for file in (models / "tiny").rglob("*.safetensors"))
    backend = DiffusionBackend(DiffusionOptions(models=models, device="cpu", warm=2 * size))

    async def loads(name: str) -> bool:
        before, busy = device_seconds("loading", name), device_seconds("busy", name)
        made = await make(backend, replace(WORK, model=name))
        assert device_seconds("busy", name) == pytest.approx(busy + (made.device_seconds or 0.0))
        return device_seconds("loading", name) > before

    assert [await loads(name) for name in ("first", "second", "first", "third")] == [True, True, False, True]
    assert [await loads(name) for name in ("first", "third", "second")] == [False, False, True]
    idle = device_seconds("idle", "")
    backend.tell_idle()
    assert device_seconds("idle", "") > idle
    await backend.close()


def test_a_model_that_loads_in_another_type_changes_none_of_those_beside_it(models: Path) -> None:
    for kind in ("sdxl", "sd3"):
        write(models, kind)
    assert run("-c", LOADED, str(models), "tiny", "sdxl", "sd3").split() == ["torch.float32"]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_next_model_is_loaded_while_the_one_before_takes_its_steps(
    backend: DiffusionBackend, models: Path
) -> None:
    await make(backend)
    shutil.copytree(models / "tiny", models / "next")
    told: list[int] = []
    under_way = asyncio.Event()

    def on_step(step: int, _: int) -> None:
        told.append(step)
        if step:  # 0 comes before its own model is loaded
            under_way.set()

    task = asyncio.create_task(
        backend.generate(replace(WORK, steps=900), progress=on_step, cancelled=lambda: len(told) > 880)
    )
    await under_way.wait()
    before = told[-1]
    await make(backend, replace(WORK, model="next"))
    assert before < told[-1] < 880
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@contextmanager
def closed(file: Path) -> Iterator[asyncio.Event]:
    """By a lease of Linux: whoever opens the file waits until this is over, and the event says that somebody does."""
    waits, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGIO, waits.set)
    try:
        with file.open("r+b") as opened:
            fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            yield waits
    finally:
        loop.remove_signal_handler(signal.SIGIO)


@pytest.mark.asyncio(loop_scope="module")
async def test_while_a_model_is_loaded_images_of_others_are_begun_and_finished(models: Path) -> None:
    backend = DiffusionBackend(DiffusionOptions(models=models, device="cpu", warm=2**30))
    alone = await make(backend)
    for name in ("slow", "unwanted"):
        shutil.copytree(models / "tiny", models / name)
    with closed(models / "slow/scheduler/scheduler_config.json") as opened:
        loads = asyncio.create_task(make(backend, replace(WORK, model="slow")))
        await asyncio.wait_for(opened.wait(), 60)
        answers = iter([False])  # wanted until it waits for its model
        waits = backend.generate(
            replace(WORK, model="unwanted"), progress=lambda *_: None, cancelled=lambda: next(answers, True)
        )
        cancelled = asyncio.create_task(waits)
        async with asyncio.timeout(40):  # Linux opens the file after 45
            newcomer = await make(backend)
        assert not loads.done()
    assert (await loads).image == newcomer.image == alone.image
    with pytest.raises(GenerationCancelled):
        await cancelled
    assert device_seconds("loading", "slow") > 0 == device_seconds("loading", "unwanted")
    await backend.close()
