"""The arms of `bench-engine` that call `pipe()` themselves, and what they all run; a process of its own, as torch is.

`python -m benchmarks.engine_pipes write FOLDER DEVICE` writes the model. `… serve MODEL DEVICE` answers one JSON line
with another: `{"arm", "jobs": [[seconds, steps, seed], …], "px"}` → `{"latencies": […], "seconds", "cpu_seconds"}`.
`… outside MODELS DEVICE` says what part of its time the engine's loop spent outside the model. DEVICE: `cpu` or `cuda`.
"""

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import torch

from services.inference.backends.diffusion.engine import Engine
from services.inference.backends.diffusion.graphs import Graphs
from services.inference.backends.diffusion.loop import Loop
from services.inference.backends.diffusion.rows import Row
from tests.inference.tiny_pipeline import build, build_sdxl

Job = tuple[float, int, int]
PROMPT, GUIDANCE = "a red mug", 5.0
MOST, PATIENCE = 8, 0.05  # rows of a dynamic batch, and seconds that the first of them waits for company


def write(folder: Path, device: str) -> None:
    """The tests' pipeline with a UNet of 78 M parameters: a lone step takes 0.1 s at 64 px on one thread.

    For a GPU, Stable Diffusion XL's own UNet and decoder (2.6 billion parameters, random as well) in bfloat16.
    """
    torch.manual_seed(0)
    if device == "cpu":
        pipe: Any = build()
        pipe.unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(192, 384, 384),
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
        )
    else:
        pipe = build_sdxl()
        with torch.device(device):
            pipe.unet = diffusers.UNet2DConditionModel(
                sample_size=64,
                block_out_channels=(320, 640, 1280),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2, 10),
                attention_head_dim=(5, 10, 20),
                use_linear_projection=True,
                cross_attention_dim=64,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 32,
            )
            pipe.vae = diffusers.AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                force_upcast=False,
            )
        pipe.to(torch.bfloat16)
    pipe.save_pretrained(folder, safe_serialization=True)


def serve(model: Path, device: str) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # as the engine has it
    diffusers.utils.logging.disable_progress_bar()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    pipe = diffusers.DiffusionPipeline.from_pretrained(model, local_files_only=True, dtype=dtype).to(device)
    pipe.set_progress_bar_config(disable=True)

    def paint(jobs: Sequence[Job], px: int) -> None:
        many = len(jobs)
        pipe(
            [PROMPT] * many,
            negative_prompt=[""] * many,
            guidance_scale=GUIDANCE,
            width=px,
            height=px,
            num_inference_steps=jobs[0][1],
            generator=[torch.Generator("cpu").manual_seed(seed) for _, _, seed in jobs],
        )

    for many in range(1, MOST + 1):
        paint([(0.0, 1, 0)] * many, 64 if device == "cpu" else 512)
    for line in sys.stdin:
        asked = json.loads(line)
        chosen = serially if asked["arm"] == "serial" else dynamically
        jobs, painted = [(at, steps, seed) for at, steps, seed in asked["jobs"]], partial(paint, px=asked["px"])
        began, worked = time.monotonic(), time.process_time()
        done = chosen(jobs, painted)
        answer = {"latencies": done, "seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - worked}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def serially(jobs: Sequence[Job], paint: Callable[[Sequence[Job]], None]) -> list[float]:
    """One `pipe()` after another, in the order of arrival."""
    began, latencies = time.monotonic(), []
    for job in jobs:
        time.sleep(max(0.0, began + job[0] - time.monotonic()))
        paint([job])
        latencies.append(time.monotonic() - began - job[0])
    return latencies


def dynamically(jobs: Sequence[Job], paint: Callable[[Sequence[Job]], None]) -> list[float]:
    """Whole requests together: up to eight that are there and take as many steps as the oldest one."""
    began, waiting, latencies = time.monotonic(), list(jobs), []
    while waiting:
        first = waiting[0]
        time.sleep(max(0.0, began + first[0] - time.monotonic()))
        alike = _alike(waiting, first, by=time.monotonic() - began)
        if len(alike) < MOST and (rest := began + first[0] + PATIENCE - time.monotonic()) > 0:
            time.sleep(rest)
            alike = _alike(waiting, first, by=time.monotonic() - began)
        paint(alike)
        ended = time.monotonic() - began
        latencies += [ended - at for at, _, _ in alike]
        waiting = [job for job in waiting if job not in alike]
    return latencies


def _alike(waiting: Sequence[Job], first: Job, *, by: float) -> list[Job]:
    return [job for job in waiting if job[0] <= by and job[1] == first[1]][:MOST]


def outside(models: Path, device: str) -> None:
    """Eight images of 30 steps that come together, in the engine's own loop: time not spent in the model's core.

    The median over the steps, from one's beginning to the next one's: where another process had the core in between,
    that step says nothing of us.
    """
    taken: list[tuple[Any, Any]] = []

    prepared = Graphs.prepared

    def timed(graphs: Graphs, calls: Sequence[Any], batch: Any) -> Any:
        step = prepared(graphs, calls, batch)

        def taking() -> Any:
            began = _now(device)
            made = step()
            taken.append((began, _now(device)))
            return made

        return taking

    engine = Engine(
        models,
        device=device,
        dtype="auto",
        threads=1,
        warm=2**40,
        on_load=lambda *_: None,
        on_sketch=lambda *_: None,
    )
    ended = threading.Event()

    def make(row: Row) -> None:
        engine.make(row, on_step=lambda *_: None)

    def tell(row: Row, _: Any) -> None:
        if row.id in (0, 8):
            ended.set()

    loop = Loop(make, tell, engine.free, size=8, shares={})
    threading.Thread(target=loop.run, daemon=True).start()
    px = 64 if device == "cpu" else 512
    work = {"prompt": PROMPT, "negative_prompt": "", "width": px, "height": px, "guidance": GUIDANCE, "model": "bench"}
    work |= {"scheduler": "default", "lane": "standard", "shapes": None, "preview": True, "places": None}
    work |= {"sources": [], "pictures": b"", "strength": None, "loras": []}
    loop.submit(0, work | {"steps": 4, "seed": 0})
    ended.wait()
    ended.clear()
    Graphs.prepared = timed  # type: ignore[assignment, method-assign]
    for number in range(1, 9):
        loop.submit(number, work | {"steps": 30, "seed": number, "shapes": (8,)})
    ended.wait()
    parts = [_between(over, follows) / _between(began, follows) for (began, over), (follows, _) in pairwise(taken)]
    sys.stdout.write(json.dumps({"outside_model": statistics.median(parts)}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # its threads have no other end


def _now(device: str) -> Any:
    """By the device's own clock: a GPU works behind the program that tells it what to do."""
    if device == "cpu":
        return time.monotonic()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(first: Any, then: Any) -> float:
    if isinstance(first, float):
        return float(then - first)
    then.synchronize()
    return float(first.elapsed_time(then)) / 1000


if __name__ == "__main__":
    {"write": write, "serve": serve, "outside": outside}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
