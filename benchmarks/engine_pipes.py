"""The arms of `bench-engine` that call `pipe()` themselves, and what they all run; a process of its own, as torch is.

`python -m benchmarks.engine_pipes write FOLDER` writes the model. `… serve MODEL` answers one JSON line with another:
`{"arm", "jobs": [[seconds, steps, seed], …], "px"}` → `{"latencies": […], "seconds"}`. `… outside MODELS` says what
part of its time the engine's loop spent outside the model.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch

from services.inference.backends.diffusion import loop as loops
from services.inference.backends.diffusion.adapters import together
from services.inference.backends.diffusion.engine import Engine
from tests.inference.tiny_pipeline import build

Job = tuple[float, int, int]
PROMPT, GUIDANCE = "a red mug", 5.0
MOST, PATIENCE = 8, 0.05  # rows of a dynamic batch, and seconds that the first of them waits for company


def write(folder: Path) -> None:
    """The tests' pipeline with a UNet of 78 M parameters: a lone step takes 0.1 s at 64 px on one thread."""
    pipe = build()
    torch.manual_seed(0)
    channels = (192, 384, 384)
    pipe.unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
    )
    pipe.save_pretrained(folder, safe_serialization=True)


def serve(model: Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    diffusers.utils.logging.disable_progress_bar()
    pipe = diffusers.DiffusionPipeline.from_pretrained(model, local_files_only=True)
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
        paint([(0.0, 1, 0)] * many, 64)
    for line in sys.stdin:
        asked = json.loads(line)
        chosen = serially if asked["arm"] == "serial" else dynamically
        jobs, painted = [(at, steps, seed) for at, steps, seed in asked["jobs"]], partial(paint, px=asked["px"])
        began = time.monotonic()
        done = chosen(jobs, painted)
        sys.stdout.write(json.dumps({"latencies": done, "seconds": time.monotonic() - began}) + "\n")
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


def outside(models: Path) -> None:
    """Eight images of 30 steps that come together, in the engine's own loop: time not spent in the model's core."""
    spent = 0.0

    def timed(calls: Sequence[Any], shape: int) -> Any:
        nonlocal spent
        began = time.monotonic()
        made = together(calls, shape)
        spent += time.monotonic() - began
        return made

    engine, ended, spans = Engine(models, device="cpu", dtype="auto", threads=1, warm=2**40), threading.Event(), []

    def make(row: loops.Row) -> None:
        engine.make(row, on_step=lambda *_: spans.append(time.monotonic()))

    def tell(row: loops.Row, _: Any) -> None:
        if row.id in (0, 8):
            ended.set()

    loop = loops.Loop(make, tell, size=8, shares={})
    threading.Thread(target=loop.run, daemon=True).start()
    work = {"prompt": PROMPT, "negative_prompt": "", "width": 64, "height": 64, "guidance": GUIDANCE, "model": "bench"}
    work |= {"scheduler": "default", "lane": "standard", "shapes": None}
    loop.submit(0, work | {"steps": 4, "seed": 0})
    ended.wait()
    ended.clear()
    loops.together = timed  # type: ignore[attr-defined]  # the loop's own name for it
    spans.clear()
    for number in range(1, 9):
        loop.submit(number, work | {"steps": 30, "seed": number, "shapes": (8,)})
    ended.wait()
    # From the end of the first step to the end of the last: what comes before is loading and encoding.
    steps = spans[-1] - spans[0]
    sys.stdout.write(json.dumps({"outside_model": max(0.0, 1 - spent * 29 / 30 / steps)}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # its threads have no other end


if __name__ == "__main__":
    {"write": write, "serve": serve, "outside": outside}[sys.argv[1]](Path(sys.argv[2]))
