"""From an arrangement to pixels: how much of each pixel the letters cover."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import uharfbuzz as hb
from numpy.typing import NDArray

from services.postprocess.typesetting.faults import NoInk
from services.postprocess.typesetting.fitting import Arrangement
from services.postprocess.typesetting.fonts import EM
from services.postprocess.typesetting.lines import Line

Side = Literal["left", "middle", "right"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Coverage, 0 to 255, of the smallest rectangle that holds all ink; `ascent`: rows from its top to the baseline."""

    coverage: NDArray[np.uint8]
    ascent: int

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.coverage.shape
        return width, height


def draw(arrangement: Arrangement, side: Side) -> Drawn:
    """Every baseline on a whole row, every line's ink flush with its side. Raises NoInk."""
    width, height = math.ceil(arrangement.width), arrangement.height
    if width <= 0 or height <= 0:
        raise NoInk
    raster = hb.RasterDraw()
    size, ascent = arrangement.size, arrangement.ascent
    scale = size / EM
    for number, line in enumerate(arrangement.lines):
        left = _indent(line, side, arrangement.width / size)
        baseline = -number * arrangement.pitch
        for glyph in line.glyphs:
            raster.transform = (scale, 0, 0, scale, (left + glyph.x) * size, baseline + glyph.y * size)
            raster.draw_glyph(glyph.face.font, glyph.id)
    raster.extents = hb.RasterExtents(0, ascent - height, width, height)
    coverage = _pixels(raster.render())
    if not coverage.any():
        raise NoInk
    return Drawn(coverage, ascent)


def _indent(line: Line, side: Side, width: float) -> float:
    """Where the line's origin stands, in ems from the left of the widest."""
    spare = width - line.width
    return {"left": 0.0, "middle": spare / 2, "right": spare}[side] - line.ink.left


def _pixels(image: hb.RasterImage) -> NDArray[np.uint8]:
    """Rows from the top; HarfBuzz counts them from the bottom and pads them."""
    extents = image.extents
    rows = np.frombuffer(image.buffer, np.uint8).reshape(extents.height, extents.stride)
    return np.ascontiguousarray(rows[::-1, : extents.width])
