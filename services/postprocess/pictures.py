"""A decoded picture and its halvings: every rendition is cut from the smallest one that still has its detail."""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from services.postprocess.geometry import Box
from services.postprocess.pixels import Pixels

# A child process has one core; OpenCV would start a thread for each of the machine.
cv2.setNumThreads(1)
# Largest intermediate of `_resized`, in pixels: 48 MB of RGB. Beyond, a shrink by less than half is by area alone.
MOST_BETWEEN = 16_000_000
# Pixels whose colours are weighted at once.
BAND = 1_000_000


@dataclass(slots=True)
class Picture:
    """One decoded image and its halvings, each made when first asked for and shared by every rendition.

    `profile` is the ICC profile its numbers are in; None is sRGB. `wide` is the same picture before it was converted
    to sRGB, where an operation may want it.
    """

    full: Pixels
    profile: bytes | None = None
    wide: "Picture | None" = None
    _levels: list[Pixels] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.full.shape[1], self.full.shape[0]

    @property
    def box(self) -> Box:
        return Box(0, 0, *self.size)

    def render(self, box: Box, width: int, height: int) -> Pixels:
        """The window `box` at this size. The array may be the picture's own: who changes it copies it first."""
        if box == self.box and self.size == (width, height):
            return self.full
        shrink = min(box.width / width, box.height / height)
        level = max(0, int(np.floor(np.log2(shrink)))) if shrink > 1 else 0
        image = self._level(level)
        across, down = image.shape[1] / self.full.shape[1], image.shape[0] / self.full.shape[0]
        return _resized(_cut(image, box.scaled(across, down)), width, height)

    def _level(self, level: int) -> Pixels:
        if not self._levels:
            self._levels.append(self.full)
        while len(self._levels) <= level:
            last = self._levels[-1]
            size = max(1, last.shape[1] // 2), max(1, last.shape[0] // 2)
            self._levels.append(_straight(_scaled(_premultiplied(last), size, cv2.INTER_AREA)))
        return self._levels[level]


def _cut(image: Pixels, box: Box) -> Pixels:
    """The window in whole pixels of this level, at least one each way: within half a pixel of what is made of it."""
    height, width = image.shape[:2]
    left, top = min(round(box.left), width - 1), min(round(box.top), height - 1)
    right, bottom = max(round(box.right), left + 1), max(round(box.bottom), top + 1)
    return image[top:bottom, left:right]


def _resized(image: Pixels, width: int, height: int) -> Pixels:
    """By cubic interpolation; where it shrinks (here by less than half), at twice the size first and halved then.

    Cubic alone aliases when it shrinks, and OpenCV's exact area average is four times slower than both steps. Against
    Lanczos from the full picture this measures 44 to 50 dB and 0.99 SSIM on product photographs.
    """
    if image.shape[1::-1] == (width, height):
        return np.ascontiguousarray(image)
    image = _premultiplied(image)
    if width >= image.shape[1] or height >= image.shape[0]:
        made = _scaled(image, (width, height), cv2.INTER_CUBIC)
    elif 4 * width * height > MOST_BETWEEN:
        made = _scaled(image, (width, height), cv2.INTER_AREA)
    else:
        between = _scaled(image, (2 * width, 2 * height), cv2.INTER_CUBIC)
        made = _scaled(between, (width, height), cv2.INTER_AREA)
    return _straight(made)


def _scaled(image: Pixels, size: tuple[int, int], how: int) -> Pixels:
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def _premultiplied(image: Pixels) -> Pixels:
    """Colours weighted by alpha, so that what cannot be seen does not bleed into what can."""
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    return _by_bands(image, lambda colours, alpha: (colours * alpha + 127) // 255)


def _straight(image: Pixels) -> Pixels:
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    return _by_bands(image, _divided)


def _divided(colours: Pixels, alpha: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    alpha = np.maximum(alpha, 1)
    whole: npt.NDArray[np.uint16] = np.minimum((colours * np.uint16(255) + alpha // 2) // alpha, 255)
    return whole


def _by_bands(image: Pixels, change: Callable[[Pixels, npt.NDArray[np.uint16]], npt.NDArray[np.uint16]]) -> Pixels:
    """The picture with its colours changed by its alpha, some rows at a time: all at once takes 16 bytes a pixel."""
    made = image.copy()
    rows = max(1, BAND // image.shape[1])
    for top in range(0, image.shape[0], rows):
        band = image[top : top + rows]
        made[top : top + rows, :, :3] = change(band[..., :3], band[..., 3:].astype(np.uint16))
    return made
