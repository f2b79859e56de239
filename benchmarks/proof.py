"""What a proof comp costs, in CPU ms at 1024 × 1024, against encoding the same picture as PNG in Pillow's default way.

`cold` builds solids, materials and type anew, as the first comp of a process does; `warm` finds them in its caches.
"""

import asyncio
import io
import time
from collections.abc import Callable
from functools import partial

from PIL import Image

from benchmarks.frame import Result, arguments, interleave, report
from services.inference.backends.proof import label, light, matcap, solids, surface, texture
from services.inference.backends.proof.render import render

CACHES = (
    label.ink,
    label.font,
    light.branch,
    matcap.opaque,
    matcap.glass,
    matcap.normals,
    solids.box,
    solids.rod,
    surface.lathe,
    texture.tile,
)
SCENE = {
    "template": "product-tile@3",
    "wall": "fog",
    "accent": "brine",
    "season": "winter",
    "product": {"sku": "SL-CND-220", "name": "Salt Marsh", "form": "candle", "label": {"title": "Salt & Linden"}},
}


def draw() -> bytes:
    return render(SCENE, seed=7, width=1024, height=1024).image


def draw_cold() -> None:
    for cache in CACHES:
        cache.cache_clear()
    draw()


async def timed(work: Callable[[], object]) -> dict[str, float]:
    begun = time.process_time()
    work()
    return {"cpu_ms": (time.process_time() - begun) * 1000}


async def main(rounds: int, *, save: bool) -> None:
    picture = Image.open(io.BytesIO(draw()), formats=["PNG"]).convert("RGB")
    result = Result("proof", "CPU of one comp")
    arms = {
        "warm": partial(timed, draw),
        "cold": partial(timed, draw_cold),
        "default_png": partial(timed, lambda: picture.save(io.BytesIO(), "PNG")),
    }
    await interleave(result, arms, rounds=rounds)
    ratios = {
        "warm_vs_default_png": result.ratio("warm", "default_png", "cpu_ms"),
        "cold_vs_warm": result.ratio("cold", "warm", "cpu_ms"),
    }
    report(result, ratios, save=save)


if __name__ == "__main__":
    given = arguments(__doc__)
    asyncio.run(main(given.rounds, save=given.save))
