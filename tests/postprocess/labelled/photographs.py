"""Photographs that others took, from a folder: none is kept here, they are known again by their SHA-256.

`photographs.txt` names them with the packages they come in, as docs/checks.md says. Some were looked at when limits
were chosen; what is published is of the others.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from services.postprocess.checks.view import cut, resized, seen
from services.postprocess.compositing import flatten
from services.postprocess.decoding import decode
from services.postprocess.pixels import Pixels
from shared.pictures import Limits, Refused

LIST = Path(__file__).parent / "photographs.txt"
USES = CHOSEN, HELD_OUT = "tuning", "held-out"
DIGITS = 16
# What checks are given of a photograph: an original of today's models has a thousand pixels a side.
SIDE = 1024
# The part of the shorter side that a second picture is cut to, and the map on which its place is looked for.
CLOSER = 0.7
SMALLEST = 384
MAP = 256


class Listed(NamedTuple):
    use: str
    sha256: str
    sharp: str
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """As it was taken, and cut to where it has most detail, where that is no smaller than a proof is.

    `sharp`: something in it is.
    """

    sha256: str
    whole: Pixels
    closer: Pixels | None
    sharp: bool = True

    @property
    def seed(self) -> int:
        return int(self.sha256[:8], 16)

    @property
    def shown(self) -> list[Pixels]:
        """As checks see it."""
        return [seen(pixels) for pixels in (self.whole, self.closer) if pixels is not None]


def listed() -> list[Listed]:
    lines = LIST.read_text().splitlines()
    return [Listed(*line.split(" ", 3)) for line in lines if not line.startswith("#")]


def found(folder: Path) -> dict[str, Path]:
    """Every file below a folder by the first digits of its SHA-256."""
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    return {hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS]: path for path in files if path.is_file()}


def photographs(folder: Path, use: str | None) -> Iterator[Photograph]:
    """Those of the list for this use; without one, whatever lies in the folder. Raises FileNotFoundError."""
    files = found(folder)
    if use is None:
        wanted: Sequence[Listed] = [Listed("", sha256, "sharp", "") for sha256 in files]
    else:
        wanted = [each for each in listed() if each.use == use]
    absent = [each.path for each in wanted if each.sha256 not in files]
    if absent:
        raise FileNotFoundError(f"{len(absent)} photographs of {LIST.name} are not in {folder}: {', '.join(absent)}")
    for each in wanted:
        try:
            yield photograph(files[each.sha256].read_bytes(), sharp=each.sharp == "sharp")
        except Refused:
            if use is not None:
                raise


def photograph(data: bytes, *, sharp: bool = True) -> Photograph:
    pixels = flatten(decode(data, Limits())[0].full)
    closer = _closer(pixels)
    large = min(closer.shape[:2]) >= SMALLEST
    return Photograph(hashlib.sha256(data).hexdigest(), _bounded(pixels), _bounded(closer) if large else None, sharp)


def _bounded(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    shrink = min(1.0, SIDE / max(height, width))
    return resized(pixels, round(width * shrink), round(height * shrink))


def _closer(pixels: Pixels) -> Pixels:
    """The square with most detail: nobody cuts a picture to what is out of focus in it."""
    height, width = pixels.shape[:2]
    side = CLOSER * min(height, width)
    luma = cv2.cvtColor(resized(pixels, MAP, MAP), cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.Laplacian(luma, cv2.CV_32F))
    across, down = max(1, int(MAP * side / width)), max(1, int(MAP * side / height))
    sums = cv2.boxFilter(detail, -1, (across, down), anchor=(0, 0))[: MAP - down + 1, : MAP - across + 1]
    top, left = np.unravel_index(int(np.argmax(sums)), sums.shape)
    area = (left / MAP, top / MAP, left / MAP + side / width, top / MAP + side / height)
    return cut(pixels, area)
