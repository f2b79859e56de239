"""A candle's flame: a pale body, a dark wick's root, and a bloom in the air that fades out with no edge."""

import numpy as np

from services.inference.backends.proof.backdrop import WARM
from services.inference.backends.proof.camera import Array, Camera


def burn(planes: Array, camera: Camera, at: tuple[float, float, float], size: float) -> None:
    """Adds light, in place; `at` is the top of the wick."""
    column, row = camera.project(*at)
    unit = camera.unit * size
    reach = round(0.34 * unit)
    x0, x1 = max(0, round(column) - reach), min(camera.width, round(column) + reach)
    y0, y1 = max(0, round(row) - reach), min(camera.height, round(row) + reach)
    if x1 <= x0 or y1 <= y0:
        return
    x = ((np.arange(x0, x1, dtype=np.float32) + 0.5 - column) / unit)[None, :]
    up = (-(np.arange(y0, y1, dtype=np.float32) + 0.5 - row) / unit)[:, None]
    body, core = _drop(x, up, 0.062, 0.0125, unit), _drop(x, up - 0.004, 0.040, 0.0075, unit)
    away = np.sqrt(x**2 + (up - 0.028) ** 2)
    fade = np.clip(1 - away / 0.34, 0, 1) ** 2
    bloom = fade * (0.10 / (1 + (away / 0.055) ** 2) + 0.20 * np.exp(-((away / 0.030) ** 2)))
    window = planes[:, y0:y1, x0:x1]
    for plane, (halo, outer, inner) in enumerate(zip(WARM, (1.55, 0.80, 0.24), (2.0, 1.75, 1.25), strict=True)):
        window[plane] += halo * bloom
        window[plane] += (outer - window[plane]) * body * 0.92
        window[plane] += (inner - window[plane]) * core


def _drop(x: Array, up: Array, height: float, half: float, unit: float) -> Array:
    """A drop standing on the origin, soft by a few pixels."""
    t = np.clip((up + 0.010) / height, 0, 1)
    width = half * 2.1 * np.sqrt(t) * (1 - t) ** 0.72 * 1.15
    soft = max(1.2 / unit, half * 0.28)
    drop: Array = np.clip((width - np.abs(x)) / soft + 0.3, 0, 1) * np.clip(t * 30, 0, 1) * np.clip((1 - t) * 8, 0, 1)
    return drop.astype(np.float32)
