"""Fixed unevenness of things (stone, kraft, wood, plaster): one tile of noise, the same in every picture."""

from functools import lru_cache

import numpy as np

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.scene import stream

TILE = 256


@lru_cache(maxsize=1)
def tile() -> Array:
    """Noise of several sizes, mean 0, about −1..1; repeats without a seam."""
    noise = stream(0, "texture").standard_normal((TILE, TILE))
    whole = np.zeros_like(noise)
    for size, weight in ((0, 0.5), (1, 0.8), (3, 1.0), (9, 0.9)):
        smooth = noise
        for axis in (0, 1):
            smooth = np.mean([np.roll(smooth, shift, axis) for shift in range(-size, size + 1)], axis=0)
        whole += weight * smooth / smooth.std()
    texture: Array = (whole / (2.2 * whole.std())).astype(np.float32)
    texture.setflags(write=False)
    return texture


def at(row: Array, column: Array) -> Array:
    """The tile at any coordinates, in texels."""
    r, c = np.floor(row).astype(np.int32), np.floor(column).astype(np.int32)
    fr, fc = row - r, column - c
    flat, last = tile().ravel(), TILE - 1
    low, high = (r & last) * TILE, ((r + 1) & last) * TILE
    left, right = c & last, (c + 1) & last
    value: Array = (flat[low + left] * (1 - fc) + flat[low + right] * fc) * (1 - fr) + (
        flat[high + left] * (1 - fc) + flat[high + right] * fc
    ) * fr
    return value


def sample(texture: Array, row: Array, column: Array) -> Array:
    """Bilinear, held at the edges."""
    height, width = texture.shape
    row, column = np.clip(row, 0, height - 1.001), np.clip(column, 0, width - 1.001)
    r, c = row.astype(np.int32), column.astype(np.int32)
    fr, fc = row - r, column - c
    flat, at = texture.ravel(), r * width + c
    above = flat[at] * (1 - fc) + flat[at + 1] * fc
    below = flat[at + width] * (1 - fc) + flat[at + width + 1] * fc
    value: Array = above * (1 - fr) + below * fr
    return value
