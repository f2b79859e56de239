"""The small model of the repository, in a model process: it draws what it is asked for.

Last line printed: {"images": …, "colour": …, "chance_colour": …, "shape": …, "chance_shape": …}.
"""

import asyncio
import io
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.cli.demo import LIBRARY, MODELS
from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from services.inference.backends.diffusion.drawing import COLOURS, SHAPES, SIZE, asked_of, seen
from tests.inference.generations import WORK

IMAGES = 48
TRAINED = """
import sys, torch
from pathlib import Path
from services.inference.backends.diffusion import train
torch.set_num_threads(1)
train.DRAWN, train.KEPT_EVERY = 32, 0.0
whole, parts = (train.Training(Path(sys.argv[1]) / name, steps=(2, 3)) for name in ("whole", "parts"))
whole.run()
average = parts._average
parts._average = lambda step: sys.exit() if step == 1 else average(step)
try:
    parts.run()
except SystemExit:
    parts = train.Training(Path(sys.argv[1]) / "parts", steps=(2, 3))
    parts.run()
for name in ("taught", "shown", "vae"):
    mine, theirs = (each._modules()[name].state_dict() for each in (whole, parts))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine), name
print("equal")
"""


@pytest.mark.asyncio
async def test_the_colour_and_the_shape_asked_for_are_the_ones_drawn() -> None:
    rng = random.Random("the small model")
    asked = [asked_of(rng) for _ in range(IMAGES)]
    work = replace(WORK, model="small-products", negative_prompt="", width=SIZE, height=SIZE, steps=20, guidance=4.0)
    backend = DiffusionBackend(DiffusionOptions(models=MODELS))
    made = await asyncio.gather(
        *(
            backend.generate(replace(work, prompt=one.prompt, seed=seed), progress=lambda *_: None, cancelled=bool)
            for seed, one in enumerate(asked)
        )
    )
    await backend.close()
    found = [seen(np.asarray(Image.open(io.BytesIO(each.image), formats=["PNG"]))) for each in made]
    colour = sum(one.colour == colour for one, (colour, _) in zip(asked, found, strict=True)) / IMAGES
    shape = sum(one.shape == shape for one, (_, shape) in zip(asked, found, strict=True)) / IMAGES
    chance = {"chance_colour": round(1 / len(COLOURS), 3), "chance_shape": round(1 / len(SHAPES), 3)}
    print(json.dumps({"images": IMAGES, "colour": colour, "shape": shape} | chance))  # noqa: T201  # the figure
    assert colour >= 0.9
    assert shape >= 0.55


def test_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAINED, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=LIBRARY.parents[1],
    )
    assert done.stdout.splitlines()[-1] == "equal"
