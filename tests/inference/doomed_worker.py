"""A worker in the middle of a long image, to be killed: prints its model process's id. `python -m … MODELS`."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from services.inference.backends.diffusion import DiffusionBackend, DiffusionOptions
from tests.inference.generations import WORK


async def main(models: Path) -> None:
    backend = DiffusionBackend(DiffusionOptions(models=models))

    def on_step(step: int, _: int) -> None:
        if step == 1:
            assert backend._model is not None
            print(backend._model._process.pid, flush=True)  # noqa: T201  # its test reads it

    await backend.generate(replace(WORK, steps=999), progress=on_step, cancelled=lambda: False)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
