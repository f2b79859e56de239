"""Labels: set in the product's own typefaces, as ink on paper, to be wrapped round a solid."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.scene import Colour, Product
from shared import fonts

# What the vendored Latin subsets can set, by their own unicode-range; other letters become bars, never boxes.
COVERED = ((0x20, 0x17F), (0x2010, 0x205E), (0x20AC, 0x20AC), (0x2122, 0x2122), (0x2212, 0x2212))


# How far round a lathe a line may go and still be read, in radians from the front.
SEEN = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Where a label sits: half its angle round a lathe (or half its width on a box), and its heights.

    `paper` None prints on the product itself; `frame` is an inset hairline; `plain` sets the SKU alone.
    """

    half: float
    low: float
    high: float
    radius: float | None
    paper: Colour | None
    ink: Colour
    frame: bool = True
    plain: bool = False

    @property
    def room(self) -> float:
        """Share of its width that lines may take: what wraps out of sight holds none."""
        return 0.78 if self.radius is None else 0.78 * min(1.0, SEEN / self.half)


@lru_cache(maxsize=8)
def ink(product: Product, *, width: int, height: int, room: float, frame: bool, plain: bool) -> Array:
    """How much ink each texel has, 0..1, (height, width); the lines take at most `room` texels."""
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    if plain:
        _line(draw, product.sku or product.name, fonts.MONO, width, height * 0.5, 0.13 * width, room)
    else:
        _label(draw, product, width, height, room, frame=frame)
    texture = np.asarray(image, dtype=np.float32) / 255
    texture.setflags(write=False)
    return texture


def _label(draw: ImageDraw.ImageDraw, product: Product, width: int, height: int, room: float, *, frame: bool) -> None:
    hair = max(1, round(room * 0.0075))
    if frame:
        inset = round(min(width, height) * 0.05)
        draw.rectangle((inset, inset, width - 1 - inset, height - 1 - inset), outline=255, width=hair)
    wide = height < width * 0.85
    title, name, line = (0.30, 0.57, 0.84) if wide else (0.27, 0.50, 0.85)
    size = min(room * 0.245, height * 0.21)
    head = product.title or product.name
    below = "" if product.name == head else product.name
    used = _line(draw, head, fonts.SERIF, width, height * title, size, room)
    if head and below:
        y = round(height * (title + name) / 2 + used * 0.04)
        draw.rectangle((width / 2 - room * 0.095, y, width / 2 + room * 0.095, y + hair - 1), fill=255)
    _line(draw, below, fonts.SERIF_ITALIC, width, height * name + used * 0.06, size * 0.80, room * 0.92)
    _line(draw, product.line.upper(), fonts.MONO, width, height * line, size * 0.36, room * 0.94)


def _line(
    draw: ImageDraw.ImageDraw, text: str, face: Path, width: int, middle: float, size: float, room: float
) -> float:
    """One centred line, made smaller until it fits `room`; returns the size it was set in."""
    if not text.strip():
        return size
    shown = " ".join(word if _covered(word) else "" for word in text.split())
    if not shown.strip():
        across = min(room, size * 0.5 * len(text)) / 2
        draw.rectangle((width / 2 - across, middle - size * 0.18, width / 2 + across, middle + size * 0.18), fill=150)
        return size
    long = font(face, size).getlength(shown)
    fitted = size * min(1, room / long)
    draw.text((width / 2, middle), shown, font=font(face, fitted), fill=255, anchor="mm")
    return fitted


@lru_cache(maxsize=128)
def font(face: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(face, round(max(size, 4), 2))


def _covered(word: str) -> bool:
    return all(any(low <= ord(letter) <= high for low, high in COVERED) for letter in word)
