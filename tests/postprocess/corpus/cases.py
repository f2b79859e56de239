"""What a file of the corpus is, and what is to come of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 9, 7  # Adam7 has something in each of its passes, and rows do not fill their bytes


@dataclass(frozen=True)
class Decodes:
    """To these pixels, height × width × 3 or 4, none of whose channels is off by more than `within`; None: to any."""

    pixels: Pixels | None
    within: int = 1


@dataclass(frozen=True)
class IsRefused:
    """With this code."""

    code: str


@dataclass(frozen=True)
class Case:
    name: str
    data: bytes
    expected: Decodes | IsRefused

    def __str__(self) -> str:
        return self.name


def refused(name: str, data: bytes, code: str = "damaged_picture") -> Case:
    return Case(name, data, IsRefused(code))


def ramp(width: int = 24, height: int = 16) -> Pixels:
    """Colours that change slowly both ways and are the same upside down nowhere: what JPEG keeps well."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    red, green = across * 255 // max(1, width - 1), down * 255 // max(1, height - 1)
    return np.stack([red, green, 128 + (red - green) // 4], axis=2).astype(np.uint8)
