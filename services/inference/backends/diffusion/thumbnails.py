"""Thumbnails of what is being made: its latents, scaled down, through the model's own decoder.

A thread of its own draws them, beside the steps, and at most a fiftieth of the time. No image waits for its thumbnail
or fails with it: what cannot be drawn is not shown.
"""

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image

from services.inference.backends.diffusion.timing import Took

EVERY_STEPS, EVERY_SECONDS = 3, 0.5
SIDE = 96  # px, of the longer side at most: what a thumbnail costs does not grow with its image
PAUSE = 50  # times what the last one cost


class Sketcher:
    """Draws for all images of the process, in turns; `tell` hears whose it is, of which step, and the JPEG."""

    def __init__(self, tell: Callable[[int, int, bytes], None]) -> None:
        self._tell = tell
        self._offered: OrderedDict[int, tuple[int, Any, torch.Tensor]] = OrderedDict()
        self._looked: dict[int, float] = {}  # when its latents were last taken, by this host's clock
        self._changed = threading.Condition()
        threading.Thread(target=self._draw, daemon=True).start()

    def offer(self, image: int, step: int, pipe: Any, latents: Any) -> None:
        """To be drawn when its turn comes, unless it is further by then; not more often than people notice."""
        if step % EVERY_STEPS or not _is_drawable(pipe, latents):
            return
        with self._changed:
            now = time.monotonic()
            if now - self._looked.setdefault(image, now) >= EVERY_SECONDS:
                self._looked[image] = now
                self._offered[image] = step, pipe, latents
                self._changed.notify()

    def forget(self, image: int) -> None:
        with self._changed:
            self._looked.pop(image, None)
            self._offered.pop(image, None)

    def _draw(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._offered)
                image, (step, pipe, latents) = self._offered.popitem(last=False)
            took = Took(latents.device)
            with suppress(Exception):  # whatever a decoder raises, memory that is short too
                if (thumbnail := drawn(pipe, latents)) is not None:
                    self._tell(image, step, thumbnail)
            took.stop()
            del pipe, latents  # a model may be dropped meanwhile
            time.sleep(PAUSE * took.effort)


def _is_drawable(pipe: Any, latents: Any) -> bool:
    vae = getattr(pipe, "vae", None)
    if not isinstance(vae, AutoencoderKL | AutoencoderTiny) or not isinstance(latents, torch.Tensor):
        return False
    return latents.ndim == 4 and bool(latents.shape[1] == vae.config.latent_channels)  # some lie packed, by patches


def drawn(pipe: Any, latents: torch.Tensor) -> bytes | None:
    """JPEG of one image's latents (1, channels, height, width); None of what is no colour."""
    vae = pipe.vae
    height, width = latents.shape[-2:]
    scale = min(1.0, SIDE / (pipe.vae_scale_factor * max(height, width)))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = torch.nn.functional.interpolate(latents.float(), size=size, mode="area")
    small = small / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    with torch.no_grad():
        decoded = vae.decode(small.to(vae.dtype)).sample[0].float().cpu()
    if not torch.isfinite(decoded).all():
        return None
    pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(target, "JPEG", quality=75)
    return target.getvalue()
