"""Pictures with the statistics of photographs: edges at every scale, under a vignette, with grain."""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def leaves(seed: int, width: int = 640, height: int = 512) -> Pixels:
    """Discs that cover each other, as many of radius r as go with 1/r³ (Lee, Mumford, Huang 2001, "dead leaves")."""
    draw = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.uint8)
    radii = np.sort(4 / np.sqrt(draw.uniform(0.0005, 1, 700)))[::-1]
    for radius in radii:
        centre = int(draw.integers(0, width)), int(draw.integers(0, height))
        cv2.circle(pixels, centre, int(radius), draw.integers(25, 230, 3).tolist(), -1, cv2.LINE_AA)
    grain = draw.normal(0, 2.5, (height, width, 1)).astype(np.float32)
    light = np.linspace(0.75, 1.0, width, dtype=np.float32)[None, :, None]
    soft = cv2.GaussianBlur(pixels, (0, 0), 0.6) * light + grain
    return np.asarray(np.clip(soft, 0, 255).astype(np.uint8))


def likeness(one: Pixels, other: Pixels) -> tuple[float, float]:
    """PSNR in dB over the colours, and mean SSIM of the luma (Wang et al. 2004: Gaussian window of 11, 1.5)."""
    squared = float(np.square(one.astype(np.float32) - other).mean())
    x, y = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (one, other))
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    ssim = top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return 10 * float(np.log10(255**2 / squared)) if squared else np.inf, float(ssim.mean())


def _blurred(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(plane, (11, 11), 1.5))
