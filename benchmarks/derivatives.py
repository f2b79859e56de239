"""Derivative sets per second on two cores: an original PNG and five derivatives of it, from the same PNG.

Against a Pillow script on one thread; a libvips script on one thread, on two (two processes of one each) and on two
told to hurry (PNG compression 1, WebP effort 0, as ours); and Thumbor with two processes. Each rival has an environment
of its own, made from a lock beside it. imgproxy, which one might take instead of Thumbor, comes as a container, or
from a Go proxy.

`--side 2048` takes larger originals. Files are compared: equal dimensions, SSIM (Wang 2004) against Pillow's Lanczos,
bytes against Pillow's. The files are unsigned; `signed_vs_unsigned` is the part of the rate that credentials leave.
`memory_4096_mb` is the most one child ever held resident for three originals of 4096², one after another, and
`memory_4096_signed_mb` the same where it signs.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.frame import Result, arguments, interleave, report, say
from deploy.local.certificates import AUTHORITY, CERTIFICATES, KEY, drawn
from services.inference.backends.proof.render import render
from services.postprocess.children import Children
from services.postprocess.development import Made
from services.postprocess.ordering import named
from services.postprocess.signing import Chain, KeySigner
from shared.library.documents import Operation, Recipe, Rendition

RIVALS = Path(__file__).parent / "rivals"
ENVIRONMENTS = Path("out/rivals")
UV = Path(".venv/uv/bin/uv")
CORES = 2
WANTED: list[dict[str, Any]] = [
    {"name": "original", "fit": "as-it-is", "width": 0, "height": 0, "format": "png", "quality": 0},
    {"name": "web-960", "fit": "inside", "width": 960, "height": 960, "format": "webp", "quality": 80},
    {"name": "web-480", "fit": "inside", "width": 480, "height": 480, "format": "webp", "quality": 80},
    {"name": "square", "fit": "cover", "width": 800, "height": 800, "format": "jpeg", "quality": 86},
    {"name": "portrait", "fit": "cover", "width": 640, "height": 800, "format": "jpeg", "quality": 86},
    {"name": "rectangle", "fit": "cover", "width": 300, "height": 250, "format": "jpeg", "quality": 86},
]
HURRIED = {"png": {"compression": 1}, "webp": {"effort": 0}}
SCENES = [
    {"sku": "SL-CND-220", "name": "Salt Marsh", "form": "candle", "wall": "fog", "accent": "brine"},
    {"sku": "SL-OIL-100", "name": "Body Oil", "form": "amber bottle", "wall": "blush", "accent": "clay"},
    {"sku": "SL-HND-300", "name": "Hand Wash", "form": "pump", "wall": "brine", "accent": "blush"},
    {"sku": "SL-TEA-080", "name": "Linden Tea", "form": "tin", "wall": "saffron", "accent": "bone"},
]
Gray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bench:
    folder: Path
    originals: list[Path]
    side: int
    sets: int

    def described(self, *, hurried: bool = False) -> Path:
        return self.folder / ("hurried.json" if hurried else "set.json")


def original(scene: Mapping[str, str], side: int) -> bytes:
    product = {name: scene[name] for name in ("sku", "name", "form")} | {"label": {"title": "Salt & Linden"}}
    told = {"template": "product-tile@3", "wall": scene["wall"], "accent": scene["accent"], "product": product}
    return render(told, seed=7, width=side, height=side).image


def recipe(side: int) -> Recipe:
    """The set as a recipe of ours."""
    inside = [Operation(op="resize", params={"mode": "inside"})]
    renditions = [
        Rendition(
            name=each["name"],
            width=each["width"] or side,
            height=each["height"] or side,
            format=each["format"],
            quality=each["quality"] or 80,
            operations=[] if each["fit"] == "cover" else inside,
        )
        for each in WANTED
    ]
    return Recipe(name="bench", version=1, owner="bench", channel="bench", renditions=renditions)


def order(side: int) -> dict[str, Any]:
    return {"recipes": {"bench": recipe(side).model_dump(mode="json")}, "focal": (0.5, 0.5)}


def signer() -> KeySigner:
    """A certificate as `calotype up` draws one."""
    made = {name: pem.decode() for name, pem in drawn(now=datetime.now(UTC)).items()}
    return KeySigner(Chain.read(made[CERTIFICATES], anchors=made[AUTHORITY]), made[KEY])


def signed(asked: dict[str, Any], chain: Chain) -> dict[str, Any]:
    """The same order, signed: every file and the original beside them."""
    said = {"source_type": "algorithmicMedia", "alt_text": "A candle", "manifest": "0" * 64}
    return {**asked, "origin": {**said, "recipes": {"bench": "1" * 64}, **named(chain)}}


async def ours(bench: Bench, children: Children, asked: dict[str, Any], arm: str = "calotype") -> dict[str, float]:
    sources = [path.read_bytes() for path in bench.originals]
    free = asyncio.Semaphore(CORES)

    async def one(number: int) -> None:
        async with free:
            made = (await children.develop(sources[number % len(sources)], asked)).made
        for each in made:
            _path(bench, arm, bench.originals[number % len(sources)], each).write_bytes(each.data)

    await asyncio.gather(*(one(number) for number in range(CORES)))  # warm: both children have started
    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(bench.sets)))
    return {"sets_s": bench.sets / (time.perf_counter() - begun)}


def _path(bench: Bench, arm: str, source: Path, made: Made) -> Path:
    return bench.folder / arm / f"{source.stem}-{made.rendition}.{made.media_type.removeprefix('image/')}"


async def script(
    bench: Bench, rival: str, *, processes: int = 1, arm: str = "", hurried: bool = False
) -> dict[str, float]:
    """A rival's script, in so many processes of one thread each; what they make counts together."""
    # A rival takes longer, and a quarter of the sets says as much.
    share = max(len(bench.originals), bench.sets // (processes * 4))
    out = bench.folder / (arm or rival)
    command = [
        _python(rival),
        str(RIVALS / f"{rival}_set.py"),
        str(out),
        str(share),
        str(bench.described(hurried=hurried)),
    ]
    environment = {**os.environ, "VIPS_CONCURRENCY": "1"}
    running = [
        await asyncio.create_subprocess_exec(
            *command, *map(str, bench.originals), stdout=asyncio.subprocess.PIPE, env=environment
        )
        for _ in range(processes)
    ]
    said = [json.loads((await process.communicate())[0]) for process in running]
    return {"sets_s": sum(share / each["seconds"] for each in said)}


async def service(bench: Bench, address: str) -> dict[str, float]:
    """Six requests a set, eight under way at once: what a page or a job would send it."""
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=httpx.Limits(max_connections=8)) as client:

        async def one(source: Path, each: Mapping[str, Any]) -> None:
            answer = await client.get(_address(source, each))
            answer.raise_for_status()
            (bench.folder / "thumbor" / f"{source.stem}-{each['name']}.{each['format']}").write_bytes(answer.content)

        await asyncio.gather(*(one(bench.originals[0], each) for each in WANTED))  # warm
        sets = max(len(bench.originals), bench.sets // 4)
        begun = time.perf_counter()
        turns = [bench.originals[number % len(bench.originals)] for number in range(sets)]
        await asyncio.gather(*(one(source, each) for source in turns for each in WANTED))
        return {"sets_s": sets / (time.perf_counter() - begun)}


def _address(source: Path, each: Mapping[str, Any]) -> str:
    sizes = {"as-it-is": "", "inside": f"fit-in/{each['width']}x{each['height']}/"}
    size = sizes.get(each["fit"], f"{each['width']}x{each['height']}/")
    quality = f":quality({each['quality']})" if each["quality"] else ""
    return f"/unsafe/{size}filters:format({each['format']}){quality}/{source.name}"


@asynccontextmanager
async def thumbor(bench: Bench) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = bench.folder / "thumbor.conf"
    settings.write_text(
        "LOADER = 'thumbor.loaders.file_loader'\n"
        f"FILE_LOADER_ROOT_PATH = {str(bench.originals[0].parent)!r}\n"
        "STORAGE = 'thumbor.storages.no_storage'\n"
        "AUTO_WEBP = False\n"
    )
    program = str(Path(_python("thumbor")).with_name("thumbor"))
    command = [program, "-i", "127.0.0.1", "-p", str(port), "-c", str(settings)]
    with (bench.folder / "thumbor.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, "--processes", str(CORES), stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(60):
                while not await _answers(client):
                    await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthcheck")).is_success
    except httpx.TransportError:
        return False


def _python(rival: str) -> str:
    return str(ENVIRONMENTS / rival / "bin/python")


def environments() -> None:
    """One a rival, from its lock; those that are there are kept."""
    for rival in ("pillow", "vips", "thumbor"):
        if not Path(_python(rival)).exists():
            say(f"  making the environment of {rival}")
            uv, place, lock = str(UV), str(ENVIRONMENTS / rival), str(RIVALS / f"{rival}.txt")
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
            install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", _python(rival), "-r", lock]
            subprocess.run(install, check=True, env={**os.environ, "UV_PYTHON": _python(rival)})


def compared(bench: Bench) -> dict[str, float]:
    """Ours against Pillow's: the least SSIM of the derivatives, bytes of theirs and of the lossless original."""
    worst, mine, theirs, lossless = 1.0, 0, 0, []
    for source in bench.originals:
        for each in WANTED:
            name = f"{source.stem}-{each['name']}.{each['format']}"
            one, other = (bench.folder / arm / name for arm in ("calotype", "pillow"))
            if each["fit"] == "as-it-is":
                lossless.append(one.stat().st_size / other.stat().st_size)
                continue
            worst = min(worst, ssim(_gray(one), _gray(other)))
            mine, theirs = mine + one.stat().st_size, theirs + other.stat().st_size
    return {
        "ssim_least": round(worst, 4),
        "bytes_vs_pillow": round(mine / theirs, 3),
        "original_bytes_vs_pillow": round(max(lossless), 3),
    }


def sizes_differ(bench: Bench, arms: Sequence[str]) -> list[str]:
    """Files of any arm whose dimensions are not Pillow's."""
    return [
        f"{arm}/{path.name}: {size} instead of {wanted}"
        for arm in arms
        for path in sorted((bench.folder / arm).iterdir())
        if (size := _size(path)) != (wanted := _size(bench.folder / "pillow" / path.name))
    ]


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _gray(path: Path) -> Gray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.float64)


def ssim(one: Gray, other: Gray) -> float:
    """Zhou Wang et al., Image Quality Assessment, 2004: a window of 11 × 11, σ 1.5."""

    def mean(plane: Gray) -> Gray:
        return np.asarray(cv2.GaussianBlur(plane, (11, 11), 1.5), dtype=np.float64)

    low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    a, b = mean(one), mean(other)
    variance = mean(one * one) - a * a + mean(other * other) - b * b
    covariance = mean(one * other) - a * b
    similar = ((2 * a * b + low) * (2 * covariance + high)) / ((a * a + b * b + low) * (variance + high))
    return float(similar.mean())


async def memory_mb(signer: KeySigner | None = None) -> float:
    """Peak resident memory of one child that makes the set of originals of 4096²."""
    children, asked = Children(count=1, signer=signer), order(4096)
    for scene in SCENES[:3]:
        await children.develop(original(scene, 4096), signed(asked, signer.chain) if signer else asked)
    (pid,) = children.pids
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    await children.stop()
    return int(peak.split()[1]) / 1024


async def main(rounds: int, *, save: bool, side: int, sets: int) -> None:
    environments()
    folder = Path(tempfile.mkdtemp(prefix="calotype-derivatives-"))
    key = signer()
    children, signing = Children(count=CORES), Children(count=CORES, signer=key)
    try:
        bench = Bench(folder, [folder / "originals" / f"{scene['sku']}.png" for scene in SCENES], side, sets)
        for name in ("originals", "calotype", "signed", "pillow", "vips", "vips_two", "vips_hurried", "thumbor"):
            (folder / name).mkdir()
        hurried = [each | {"vips": HURRIED.get(each["format"], {})} for each in WANTED]
        bench.described().write_text(json.dumps(WANTED))
        bench.described(hurried=True).write_text(json.dumps(hurried))
        for scene, path in zip(SCENES, bench.originals, strict=True):
            path.write_bytes(original(scene, side))
        result = Result("derivatives", f"sets a second of originals of {side}²")
        async with thumbor(bench) as address:
            arms = {
                "calotype": partial(ours, bench, children, order(side)),
                "signed": partial(ours, bench, signing, signed(order(side), key.chain), "signed"),
                "pillow": partial(script, bench, "pillow"),
                "vips": partial(script, bench, "vips"),
                "vips_two": partial(script, bench, "vips", processes=CORES, arm="vips_two"),
                "vips_hurried": partial(script, bench, "vips", processes=CORES, arm="vips_hurried", hurried=True),
                "thumbor": partial(service, bench, address),
            }
            await interleave(result, arms, rounds=rounds, warm=0)
        if wrong := sizes_differ(bench, ["calotype", "vips", "vips_hurried", "thumbor"]):
            raise SystemExit("not the same set: " + "; ".join(wrong))
        ratios = {
            "vs_pillow": result.ratio("calotype", "pillow", "sets_s"),
            "vs_libvips_1t": result.ratio("calotype", "vips", "sets_s"),
            "vs_libvips": result.ratio("calotype", "vips_two", "sets_s"),
            "vs_libvips_hurried": result.ratio("calotype", "vips_hurried", "sets_s"),
            "vs_service": result.ratio("calotype", "thumbor", "sets_s"),
            "signed_vs_unsigned": result.ratio("signed", "calotype", "sets_s"),
            **compared(bench),
            "memory_4096_mb": round(await memory_mb(), 1),
            "memory_4096_signed_mb": round(await memory_mb(key), 1),
        }
        report(result, ratios, save=save, side=side, sets=sets)
    finally:
        await children.stop()
        await signing.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    given = arguments(
        __doc__,
        more=[
            ("--side", {"type": int, "default": 1024, "help": "of the square originals, in pixels"}),
            ("--sets", {"type": int, "default": 48, "help": "that our arm makes a round"}),
        ],
    )
    asyncio.run(main(given.rounds, save=given.save, side=given.side, sets=given.sets))
