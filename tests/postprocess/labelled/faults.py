"""What goes wrong with pictures, at graded strength, and what happens to every picture and is no fault."""

import math
from collections.abc import Callable

import cv2
import numpy as np

from services.postprocess.pixels import Pixels

Chance = np.random.Generator
Change = Callable[[Pixels, Chance], Pixels]


def _bytes(values: object) -> Pixels:
    whole: Pixels = np.clip(np.rint(np.asarray(values)), 0, 255).astype(np.uint8)
    return whole


def written(pixels: Pixels, chance: Chance) -> Pixels:
    """A JPEG of quality 60 to 92."""
    quality = int(chance.integers(60, 93))
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def smaller(pixels: Pixels, chance: Chance) -> Pixels:
    height, width = pixels.shape[:2]
    share = chance.uniform(0.7, 1)
    return _bytes(cv2.resize(pixels, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA))


def exposed(pixels: Pixels, chance: Chance) -> Pixels:
    """A fifth of a stop darker to a tenth brighter."""
    return pushed(pixels, float(2 ** chance.uniform(-0.2, 0.1)))


def grainy(pixels: Pixels, chance: Chance) -> Pixels:
    return _bytes(pixels + chance.normal(0, chance.uniform(1, 4), (*pixels.shape[:2], 1)))


def smoothed(pixels: Pixels, chance: Chance) -> Pixels:
    """As a denoiser leaves it: flat where it was nearly flat, edges kept."""
    return _bytes(cv2.bilateralFilter(pixels, 5, float(chance.uniform(10, 25)), 2))


def same(pixels: Pixels, chance: Chance) -> Pixels:
    return pixels


HARMLESS: tuple[Change, ...] = (same, written, smaller, exposed, grainy, smoothed)


def harmless(pixels: Pixels, chance: Chance) -> Pixels:
    """One of what happens to any picture on its way."""
    return HARMLESS[chance.integers(len(HARMLESS))](pixels, chance)


def afterwards(pixels: Pixels, chance: Chance) -> Pixels:
    """What a fault leaves is written or grained like any picture: a fault is not known by being too clean."""
    if chance.random() < 0.5:
        pixels = grainy(pixels, chance)
    return written(pixels, chance) if chance.random() < 0.5 else pixels


# Soft: the point spread's standard deviation is 1.5 to 4 px of 384, along its axis for a shake. `side` is of a picture
# that is larger than that.
PROOF = 384


def gaussian(pixels: Pixels, chance: Chance, side: int = PROOF) -> Pixels:
    return _bytes(cv2.GaussianBlur(pixels, (0, 0), float(_point_spread(chance, side))))


def defocus(pixels: Pixels, chance: Chance, side: int = PROOF) -> Pixels:
    radius = 2 * _point_spread(chance, side)
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _spread(pixels, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def shake(pixels: Pixels, chance: Chance, side: int = PROOF) -> Pixels:
    length, angle = math.sqrt(12) * _point_spread(chance, side), chance.uniform(0, math.pi)
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for along in np.linspace(-length / 2, length / 2, 200):
        kernel[round(reach + along * math.sin(angle)), round(reach + along * math.cos(angle))] += 1
    return _spread(pixels, kernel)


def _point_spread(chance: Chance, side: int) -> float:
    return chance.uniform(1.5, 4) * side / PROOF


def _spread(pixels: Pixels, kernel: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Pixels:
    return _bytes(cv2.filter2D(pixels, -1, kernel / kernel.sum()))


# Blank: what backends hand over when they refuse, run dry or lose the latents.
def flat(pixels: Pixels, chance: Chance) -> Pixels:
    colour = chance.choice([0, 255, 128]) if chance.random() < 0.3 else chance.uniform(0, 255, 3)
    return _bytes(np.zeros(pixels.shape) + colour)


def gradient(pixels: Pixels, chance: Chance) -> Pixels:
    height, width = pixels.shape[:2]
    angle, colour = chance.uniform(0, 2 * math.pi), chance.uniform(30, 230, 3)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ramp = x * math.cos(angle) + y * math.sin(angle) if chance.random() < 0.6 else 1 - np.hypot(x, y)
    return _bytes(colour + ramp[:, :, None] * chance.uniform(5, 50) * chance.uniform(0.6, 1, 3))


def melted(pixels: Pixels, chance: Chance) -> Pixels:
    """Nothing is left but clouds of colour."""
    return _bytes(cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape) * float(chance.uniform(0.1, 0.2))))


# Noise: latents that were not, or not enough, denoised.
def static(pixels: Pixels, chance: Chance) -> Pixels:
    channels = int(chance.choice([1, 3]))
    noise = chance.normal(0, chance.uniform(25, 80), (*pixels.shape[:2], channels))
    return _bytes(chance.uniform(80, 170) + noise + np.zeros(pixels.shape))


def blots(pixels: Pixels, chance: Chance) -> Pixels:
    """Noise of an eighth of the size, enlarged: what a decoder makes of pure noise."""
    height, width = pixels.shape[:2]
    noise = chance.normal(0, chance.uniform(30, 60), (height // 8, width // 8, 3)).astype(np.float32)
    return _bytes(128 + cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def half_denoised(pixels: Pixels, chance: Chance) -> Pixels:
    """The picture shines through: noise has 50 to 90 % of what is there."""
    share = chance.uniform(0.5, 0.9)
    noise = static(pixels, chance) if chance.random() < 0.5 else blots(pixels, chance)
    return _bytes((1 - share) * pixels + share * noise)


def pushed(pixels: Pixels, gain: float) -> Pixels:
    """Brighter or darker in linear light (a gamma of 2.2 is near enough)."""
    return _bytes(255 * np.clip((pixels / 255) ** 2.2 * gain, 0, 1) ** (1 / 2.2))


def blown(pixels: Pixels, chance: Chance) -> Pixels:
    """Brighter until 5 to 30 % of it is white."""
    level = max(float(np.percentile(pixels.min(axis=2), 100 - chance.uniform(5, 30))), 1.0)
    return pushed(pixels, (255 / level) ** 2.2)


def crushed(pixels: Pixels, chance: Chance) -> Pixels:
    """Darker until 5 to 30 % of it is black."""
    level = float(np.percentile(pixels.max(axis=2), chance.uniform(5, 30)))
    return _bytes((pixels - level) * 255 / max(255 - level, 1))


SOFT: tuple[Change, ...] = (gaussian, defocus, shake)
BLANK: tuple[Change, ...] = (flat, gradient, melted)
NOISE: tuple[Change, ...] = (static, blots, half_denoised)
CLIPPED: tuple[Change, ...] = (blown, crushed)
