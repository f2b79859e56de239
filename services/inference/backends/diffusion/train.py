"""Trains the small model: `python -m services.inference.backends.diffusion.train FOLDER [--threads 2]`.

From a fixed seed and from nothing but what `drawing.py` draws: first the decoder, then, on latents, the UNet with the
encoder of its words. Stopped at any time it goes on from its last checkpoint, to the same weights: every step draws
what it needs from the seed and its own number. FOLDER gets the pipeline and `training.jsonl`; `FOLDER.checkpoint` is
gone then.
"""

import argparse
import copy
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional

from services.inference.backends.diffusion.drawing import (
    COLOURS,
    SEED,
    SHAPES,
    Asked,
    Pixels,
    asked_for,
    asked_of,
    chance,
    draw,
    picture,
    seen,
)
from services.inference.backends.diffusion.small import SPREAD, WORDS_AT_MOST, pictures, untrained

DRAWN = 4096  # pictures whose latents the UNet learns from
STEPS = (700, 1700)
AVERAGED = 0.995  # of the UNet's and the encoder's weights, kept at every step: what is shown is their average
GUIDANCE = 4.0
TOLD_EVERY = 50  # steps
KEPT_EVERY = 60.0  # seconds between checkpoints


@dataclass(frozen=True, slots=True)
class Plan:
    batch: int
    rate: float


DECODER = Plan(batch=12, rate=2e-3)
DENOISER = Plan(batch=24, rate=1.5e-3)


class Training:
    """The decoder, then what works on its latents."""

    def __init__(self, folder: Path, *, steps: Sequence[int]) -> None:
        torch.manual_seed(SEED)
        self.pipe = untrained()
        self.taught = nn.ModuleList([self.pipe.unet, self.pipe.text_encoder])
        self.shown = copy.deepcopy(self.taught)
        self.log: list[dict[str, Any]] = []
        self._folder = folder
        self._steps = steps
        self._latents = torch.empty(0)
        self._spent = {"cpu": 0.0, "wall": 0.0}  # seconds that earlier processes took
        self._began = self._kept = time.monotonic()

    def run(self) -> None:
        state = self._restored()
        if state.get("part") != "denoiser":
            learns = Learning(self.pipe.vae.decoder, DECODER, self._steps[0])
            for step in learns.steps(state):
                self._note("decoder", step, learns.descend(self._decoded(step)))
                self._keep("decoder", step + 1, learns)
            self._latents = self._drawn()
            state = {}
        learns = Learning(self.taught, DENOISER, self._steps[1])
        for step in learns.steps(state):
            self._note("denoiser", step, learns.descend(self._denoised(step)))
            self._average(step)
            self._keep("denoiser", step + 1, learns)

    def write(self, *, images: int) -> None:
        """The pipeline in half precision, judged as it is read again; the checkpoint is not needed any more."""
        self.pipe.unet.load_state_dict(self.shown[0].state_dict())
        self.pipe.text_encoder.load_state_dict(self.shown[1].state_dict())
        self.pipe.to(torch.float16).save_pretrained(self._folder, safe_serialization=True)
        pipe = StableDiffusionPipeline.from_pretrained(self._folder, local_files_only=True, dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        self._tell({"part": "judged"} | judged(pipe, images=images) | {"hours": round(self._wall() / 3600, 2)})
        (self._folder / "training.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in self.log))
        self._checkpoint.unlink()

    # -- what is learnt at a step

    def _chance(self, part: str, step: int) -> tuple[random.Random, torch.Generator]:
        return chance(f"{part} {step}"), torch.Generator().manual_seed(SEED * 10**6 + step)

    def _decoded(self, step: int) -> Tensor:
        """Quarters of pictures, from where products stand, are enough: the decoder looks at a neighbourhood only."""
        rng, random_state = self._chance("decoder", step)
        cuts = [(8 * rng.randrange(1, 8), 8 * rng.randrange(3, 9)) for _ in range(DECODER.batch)]
        cut = pictures([draw(asked_of(rng), rng)[y : y + 64, x : x + 64] for x, y in cuts])
        latents = self.pipe.vae.encode(cut).latents
        # Made latents are a little off, and a picture shall not be the worse for it.
        latents = latents + 0.02 * torch.randn(latents.shape, generator=random_state)
        again = self.pipe.vae.decode(latents).sample
        return functional.l1_loss(again, cut) + functional.mse_loss(again, cut)

    def _denoised(self, step: int) -> Tensor:
        rng, random_state = self._chance("denoiser", step)
        places = [rng.randrange(DRAWN) for _ in range(DENOISER.batch)]
        clean = self._latents[places] / SPREAD
        said = self._encoded([asked_for(place).partly(rng) for place in places])
        noise = torch.randn(clean.shape, generator=random_state)
        steps = torch.randint(0, 1000, (len(places),), generator=random_state)
        scheduler = self.pipe.scheduler
        predicted = self.pipe.unet(scheduler.add_noise(clean, noise, steps), steps, encoder_hidden_states=said).sample
        return functional.mse_loss(predicted, scheduler.get_velocity(clean, noise, steps))

    def _encoded(self, prompts: list[str]) -> Tensor:
        tokens = self.pipe.tokenizer(prompts, padding="max_length", max_length=WORDS_AT_MOST, return_tensors="pt")
        said: Tensor = self.pipe.text_encoder(tokens.input_ids)[0]
        return said

    def _average(self, step: int) -> None:
        share = min(AVERAGED, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.shown.parameters(), self.taught.parameters(), strict=True):
                kept.lerp_(now, 1 - share)

    def _drawn(self) -> Tensor:
        with torch.no_grad():
            found = [
                self.pipe.vae.encode(pictures([picture(place) for place in range(first, first + 32)])).latents
                for first in range(0, DRAWN, 32)
            ]
        return torch.cat(found)

    # -- how it is told and kept

    def _note(self, part: str, step: int, loss: float) -> None:
        if (step + 1) % TOLD_EVERY == 0:
            self._tell({"part": part, "step": step + 1, "loss": round(loss, 4)})

    def _tell(self, line: dict[str, Any]) -> None:
        self.log.append(line | {"cpu_seconds": round(self._cpu())})
        print(json.dumps(self.log[-1]), flush=True)  # noqa: T201  # a script tells how far it is

    def _cpu(self) -> float:
        return self._spent["cpu"] + time.process_time()

    def _wall(self) -> float:
        return self._spent["wall"] + time.monotonic() - self._began

    def _keep(self, part: str, step: int, learns: "Learning") -> None:
        if time.monotonic() - self._kept < KEPT_EVERY and step < learns.last:
            return
        state = {name: module.state_dict() for name, module in self._modules().items()} | {
            "part": part,
            "step": step,
            "optimizer": learns.optimizer.state_dict(),
            "latents": self._latents,
            "log": self.log,
            "spent": {"cpu": self._cpu(), "wall": self._wall()},
        }
        torch.save(state, self._checkpoint.with_suffix(".new"))
        self._checkpoint.with_suffix(".new").replace(self._checkpoint)
        self._kept = time.monotonic()

    def _restored(self) -> dict[str, Any]:
        if not self._checkpoint.exists():
            return {}
        state: dict[str, Any] = torch.load(self._checkpoint)
        for name, module in self._modules().items():
            module.load_state_dict(state[name])
        self._spent, self.log, self._latents = state["spent"], state["log"], state["latents"]
        return state

    @property
    def _checkpoint(self) -> Path:
        return self._folder.with_name(f"{self._folder.name}.checkpoint")

    def _modules(self) -> dict[str, nn.Module]:
        return {"vae": self.pipe.vae, "taught": self.taught, "shown": self.shown}


class Learning:
    """The steps of one part: what is learnt, and how far each step goes."""

    def __init__(self, module: nn.Module, plan: Plan, last: int) -> None:
        self.last = last
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=plan.rate, weight_decay=0.01)
        self._plan = plan
        self._parameters = list(module.parameters())

    def steps(self, state: Mapping[str, Any]) -> Iterator[int]:
        """Those after the state's; the rate begins and ends low."""
        if state:
            self.optimizer.load_state_dict(state["optimizer"])
        for step in range(state.get("step", 0), self.last):
            share = min(1.0, (step + 1) / 50, 4 * (self.last - step) / self.last)
            self.optimizer.param_groups[0]["lr"] = self._plan.rate * share
            yield step

    def descend(self, loss: Tensor) -> float:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self.optimizer.step()
        return float(loss.item())


def made(pipe: StableDiffusionPipeline, asked: Sequence[Asked]) -> list[Pixels]:
    """One picture of each, seeded by its place."""
    seeds = [torch.Generator().manual_seed(place) for place in range(len(asked))]
    said = [one.prompt for one in asked]
    found = pipe(said, num_inference_steps=20, guidance_scale=GUIDANCE, generator=seeds, output_type="np").images
    return [np.asarray((picture * 255).round(), dtype=np.uint8) for picture in found]


def judged(pipe: StableDiffusionPipeline, *, images: int) -> dict[str, Any]:
    """How many of the colours and shapes asked for are those seen, with what guessing would come to."""
    rng = chance("judged")
    asked = [asked_of(rng) for _ in range(images)]
    found = [seen(picture) for picture in made(pipe, asked)]
    return {
        "images": images,
        "colour": sum(one.colour == colour for one, (colour, _) in zip(asked, found, strict=True)) / images,
        "chance_colour": round(1 / len(COLOURS), 3),
        "shape": sum(one.shape == shape for one, (_, shape) in zip(asked, found, strict=True)) / images,
        "chance_shape": round(1 / len(SHAPES), 3),
    }


def main() -> None:
    asks = argparse.ArgumentParser(description=__doc__)
    asks.add_argument("folder", type=Path)
    asks.add_argument("--threads", type=int, default=2)
    asks.add_argument("--steps", type=int, nargs=2, default=STEPS, help="of the decoder and of the UNet")
    asks.add_argument("--judged", type=int, default=96, help="how many pictures to judge at the end")
    given = asks.parse_args()
    torch.set_num_threads(given.threads)
    training = Training(given.folder, steps=given.steps)
    training.run()
    training.write(images=given.judged)


if __name__ == "__main__":
    main()
