"""Step-level batching against `pipe()`: images that arrive by chance and take 10, 20 or 30 steps, on one thread each.

The arms have the same kernels, arrivals and environment (malloc's too): `serial` calls `pipe()` for one after another,
`dynamic` batches whole requests of as many steps (up to eight that wait, 50 ms patience), `engine` is the diffusion
backend as it is, and `strict` is the engine with every image pinned to steps of its own. `images_per_min` under more
than any of them can do, and `per_cpu_min` per minute of CPU time, which others on the machine cannot take; `p50` and
`p95` (seconds) at 1.5 × what `serial` can do. A random UNet of 78 M parameters, with guidance; on a GPU, where there is
one, random weights of Stable Diffusion XL's size at 512 px, as a result of its own.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.frame import Result, arguments, interleave, report, say
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions, environment
from tests.inference.generations import WORK

STEPS = (10, 20, 30)
SIZES = {"cpu": (64, 128), "cuda": (512,)}  # px
SATURATED, BUSY = 6.0, 1.5  # arrivals, in what `serial` can do
Job = tuple[float, int, int]


def arrivals(many: int, *, seconds: float, seed: int) -> list[Job]:
    """Poisson arrivals every `seconds` on average: when, how many steps, which seed."""
    draw, at, jobs = random.Random(seed), 0.0, []  # noqa: S311  # a load, not a secret
    for number in range(many):
        jobs.append((at, STEPS[number % len(STEPS)], 1000 * seed + number))
        at += draw.expovariate(1 / seconds)
    return jobs


class Pipes:
    """The process that calls `pipe()` itself."""

    def __init__(self, model: Path, options: DiffusionOptions) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine_pipes", "serve", str(model), options.device],
            env=environment(options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    async def run(self, arm: str, jobs: Sequence[Job], px: int) -> dict[str, Any]:
        return await asyncio.to_thread(self._ask, {"arm": arm, "jobs": jobs, "px": px})

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Shared:
    """The engine, asked as a worker asks it."""

    def __init__(self, backend: DiffusionBackend) -> None:
        self._backend = backend
        self.shapes: dict[int, set[int]] = {}
        self.ran_on: dict[str, str] = {}

    async def run(self, arm: str, jobs: Sequence[Job], px: int) -> dict[str, Any]:
        began, worked = time.monotonic(), self._cpu_seconds()

        async def one(job: Job) -> float:
            at, steps, seed = job
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            pinned = (1,) if arm == "strict" else None
            work = replace(WORK, model="bench", width=px, height=px, steps=steps, seed=seed, shapes=pinned)
            made = await self._backend.generate(
                replace(work, negative_prompt=""), progress=lambda *_: None, cancelled=lambda: False
            )
            if arm != "strict":
                self.shapes.setdefault(px, set()).update(made.manifest["batch_shapes"])
            where = made.manifest["device"] | {"processor": made.manifest.get("processor", "")}
            self.ran_on = {name: where[name] for name in ("name", "processor") if where[name]}
            self.ran_on |= {name: made.manifest["versions"][name] for name in ("torch", "diffusers")}
            return time.monotonic() - began - at

        latencies = await asyncio.gather(*map(one, jobs))
        worked = self._cpu_seconds() - worked
        return {"latencies": latencies, "seconds": time.monotonic() - began, "cpu_seconds": worked}

    def _cpu_seconds(self) -> float:
        """Of the model process so far, decoding and encoding included."""
        if self._backend.process is None:
            return 0.0
        fields = Path(f"/proc/{self._backend.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measured(of: Pipes | Shared, arm: str, px: int, service: float, jobs: int) -> dict[str, float]:
    saturated = await of.run(arm, arrivals(jobs, seconds=service / SATURATED, seed=1), px)
    busy = await of.run(arm, arrivals(jobs, seconds=service / BUSY, seed=2), px)
    ranked = statistics.quantiles(busy["latencies"], n=20, method="inclusive")
    per_image = saturated["cpu_seconds"] / jobs
    return {
        "images_per_min": 60 * jobs / saturated["seconds"],
        "per_cpu_min": 60 / per_image,
        "p50": ranked[9],
        "p95": ranked[18],
    }


async def main(devices: Sequence[str], rounds: int, jobs: int, *, save: bool) -> None:
    for device in devices:
        if device == "cuda" and not Path("/dev/nvidiactl").exists():
            say("engine_cuda: not measured: no GPU")
        else:
            result, ratios, more = await compared(device, rounds, jobs)
            report(result, ratios, save=save, **more)


async def compared(device: str, rounds: int, jobs: int) -> tuple[Result, dict[str, float], dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="calotype-bench-") as folder:
        models = Path(folder)
        options = DiffusionOptions(models=models, device=device)
        pipes_of("write", models / "bench", options)
        outside = json.loads(pipes_of("outside", models, options).splitlines()[-1])["outside_model"]
        pipes = Pipes(models / "bench", options)
        backend = DiffusionBackend(options)
        try:
            result = Result("engine" if device == "cpu" else f"engine_{device}", "images of 10, 20 and 30 steps")
            ratios, more = await compare(result, pipes, Shared(backend), SIZES[device], rounds, jobs)
        finally:
            await backend.close()
            pipes.close()
    return result, {"outside_model": round(outside, 4)} | ratios, more


def pipes_of(verb: str, folder: Path, options: DiffusionOptions) -> str:
    command = [sys.executable, "-m", "benchmarks.engine_pipes", verb, str(folder), options.device]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment(options)).stdout


async def compare(
    result: Result, pipes: Pipes, shared: Shared, sizes: Sequence[int], rounds: int, jobs: int
) -> tuple[dict[str, float], dict[str, Any]]:
    arms, step_ms = {}, {}
    for px in sizes:
        # Warms both up, measures what one image takes, and gives the engine steps to measure its shapes on.
        lone = await pipes.run("serial", [(0.0, 20, seed) for seed in range(3)], px)
        service = lone["seconds"] / 3
        step_ms[px] = round(1000 * service / 20, 1)
        await shared.run("engine", [(0.0, 10, seed) for seed in range(12)], px)
        by_arm: dict[str, Pipes | Shared] = {"serial": pipes, "dynamic": pipes, "engine": shared, "strict": shared}
        for arm, of in by_arm.items():
            arms[f"{arm}_{px}"] = partial(measured, of, arm, px, service, jobs * sizes[0] // px)
    await interleave(result, arms, rounds=rounds, warm=0)
    ratios: dict[str, float] = {}
    for px in sizes:
        engine, suffix = f"engine_{px}", "" if px == sizes[0] else f"_{px}"
        ratios |= {
            f"vs_serial{suffix}": result.ratio(engine, f"serial_{px}", "images_per_min"),
            f"vs_serial_cpu{suffix}": result.ratio(engine, f"serial_{px}", "per_cpu_min"),
            f"vs_dynamic{suffix}": result.ratio(engine, f"dynamic_{px}", "images_per_min"),
            f"p95_vs_dynamic{suffix}": result.ratio(engine, f"dynamic_{px}", "p95"),
            f"strict_vs_serial{suffix}": result.ratio(f"strict_{px}", f"serial_{px}", "images_per_min"),
        }
    more = {
        "step_ms": {str(px): ms for px, ms in step_ms.items()},
        "shapes": {str(px): sorted(shapes) for px, shapes in shared.shapes.items()},
        "ran_on": shared.ran_on,
    }
    return ratios, more


if __name__ == "__main__":
    more: list[tuple[str, dict[str, Any]]] = [
        ("--jobs", {"type": int, "default": 48, "help": "images a trace; at twice the side half as many"}),
        ("--device", {"action": "append", "choices": tuple(SIZES), "help": "only there; cpu and cuda unless told"}),
    ]
    given = arguments(__doc__, more=more)
    asyncio.run(main(given.device or tuple(SIZES), given.rounds, given.jobs, save=given.save))
