"""What `pipe()` by itself makes: `plain_pipe.py MODEL DEVICE WORK…`, JSON in, SHA-256 of pixels out, a line each."""

import hashlib
import json
import os
import sys
from pathlib import Path

import diffusers
import torch

from services.inference.backends.diffusion import CAREFUL
from services.inference.backends.diffusion.engine import _scheduler


def main() -> None:
    os.environ.update(CAREFUL)  # before cuBLAS is met
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    model, device = Path(sys.argv[1]), sys.argv[2]
    index = json.loads((model / "model_index.json").read_bytes())
    left_out = dict.fromkeys(name for name, place in index.items() if place == [None, None])
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    pipe = diffusers.DiffusionPipeline.from_pretrained(model, local_files_only=True, dtype=dtype, **left_out)
    pipe.set_progress_bar_config(disable=True)
    pipe.to(device)
    stored = pipe.scheduler
    for work in map(json.loads, sys.argv[3:]):
        pipe.scheduler = _scheduler(stored, work["scheduler"])
        picture = pipe(
            work["prompt"],
            negative_prompt=work["negative_prompt"] or None,
            guidance_scale=work["guidance"],
            width=work["width"],
            height=work["height"],
            num_inference_steps=work["steps"],
            generator=torch.Generator("cpu").manual_seed(work["seed"]),
            output_type="np",
        ).images[0]
        sys.stdout.write(hashlib.sha256((picture * 255).round().astype("uint8").tobytes()).hexdigest() + "\n")


if __name__ == "__main__":
    main()
