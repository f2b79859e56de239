"""From linear light to the bytes people see: vignette, a soft shoulder, sRGB, grain."""

import numpy as np

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.scene import stream

GRAIN = 0.012 * 255
VIGNETTE = 0.17
STEPS, TOP = 8192, 2.0
# Light above this share of white is compressed, so highlights glow and never clip.
KNEE = 0.62


def _curve() -> Array:
    """Display value (IEC 61966-2-1) of linear light 0..TOP."""
    light = np.arange(STEPS, dtype=np.float64) / STEPS * TOP
    light = np.minimum(light, KNEE) + (1 - KNEE) * (1 - np.exp(-np.maximum(light - KNEE, 0) / (1 - KNEE)))
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(coded * 255).astype(np.int16))


CURVE = _curve()


def develop(planes: Array, *, seed: int) -> Array:
    """(height, width, 3) of uint8 from (3, height, width)."""
    _, height, width = planes.shape
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    scale = (1 - VIGNETTE * ((x**2 + y**2) / 2) ** 1.4) * np.float32(STEPS / TOP)
    noise = stream(seed, "grain").standard_normal((height, width), dtype=np.float32)
    # Neighbours share a little: film grain has a size. The weights keep its strength.
    noise[:, 1:] = 0.8 * noise[:, 1:] + 0.6 * noise[:, :-1]
    grain = np.rint(noise * GRAIN).astype(np.int16)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for plane in range(3):
        at = np.clip(planes[plane] * scale, 0, STEPS - 1).astype(np.uint16)
        pixels[:, :, plane] = np.clip(CURVE[at] + grain, 0, 255)
    return pixels
