"""Pixels: decode once, cut from a pyramid, encode to a budget. Imported by the child process only.

Bytes in, bytes out: nothing here reads a clock, a file or the network. Whatever strangers' bytes do to a decoder
comes out as `CorruptImage` or ends this process, never the worker.
"""

import io
import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import PIL
from PIL import Image, features

from services.postprocess.geometry import Box
from shared.srgb import Undecodable, decoded

# Pillow registers 43 decoders by default; these three are what backends hand over and what we make.
DECODERS = ("PNG", "JPEG", "WEBP")
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}

Format = Literal["jpeg", "png", "webp", "avif"]

WHITE = (255, 255, 255)

# Level 1 is 4 × faster than Pillow's default 6 and, on grainy pictures, no larger.
PNG_LEVEL = 1
# WebP's method 0 costs 28 ms for 1024², method 4 costs 100 ms and saves 6 % of the bytes.
WEBP_METHOD = 0
# For 1024²: speed 10 costs 66 ms, speed 8 costs 164 ms and saves 3 % of the bytes.
AVIF_SPEED = 10
# From here on a JPEG keeps full colour resolution: whoever asks for so much quality looks at edges of labels.
FULL_COLOUR_FROM = 90


class CorruptImage(Exception):
    """These bytes are not one whole picture we may decode; the message says what is wrong with them."""


class Limits(NamedTuple):
    """What is refused before a decoder sees a pixel. Pillow keeps four bytes a pixel, so 40 MP are 160 MB."""

    bytes: int = 64 * 1024 * 1024
    pixels: int = 40_000_000


class Facts(NamedTuple):
    """What a file says of itself when opened, whatever was believed about it."""

    media_type: str
    width: int
    height: int


class Encoded(NamedTuple):
    data: bytes
    format: Format
    quality: int | None  # None: lossless


@dataclass(slots=True)
class Picture:
    """One decoded image and its halvings, each made when first asked for and shared by every rendition."""

    full: Image.Image
    _levels: list[Image.Image] = field(default_factory=list)

    @property
    def box(self) -> Box:
        return Box(0, 0, *self.full.size)

    def render(self, box: Box, width: int, height: int) -> Image.Image:
        """The window `box` at this size, by Lanczos from the smallest level that still has twice the detail."""
        if box == self.box and self.full.size == (width, height):
            return self.full
        shrink = min(box.width / width, box.height / height)
        level = max(0, math.floor(math.log2(shrink)) - 1) if shrink > 1 else 0
        image = self._level(level)
        part = box.scaled(2.0**-level, 2.0**-level).within(Box(0, 0, *image.size))
        return image.resize((width, height), Image.Resampling.LANCZOS, box=part)

    def _level(self, level: int) -> Image.Image:
        if not self._levels:
            self._levels.append(self.full)
        while len(self._levels) <= level:
            self._levels.append(self._levels[-1].reduce(2))
        return self._levels[level]


def inspect(data: bytes) -> Facts:
    """Format and size of a file we made, from its header, without decoding."""
    with Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
        return _facts(image)


def decode(data: bytes, limits: Limits) -> tuple[Picture, Facts]:
    """The picture as 8-bit sRGB, upright, with alpha only where some pixel is see-through. Raises CorruptImage."""
    opened = _open(data, limits)
    facts = _facts(opened)
    try:
        return Picture(decoded(opened)), facts
    except Undecodable as error:
        raise CorruptImage(f"the {facts.media_type} does not decode: {error}") from error


def encode(image: Image.Image, format: Format, quality: int) -> Encoded:
    """One file. JPEG has no alpha, so a see-through picture is laid on white first."""
    out = io.BytesIO()
    match format:
        case "jpeg":
            subsampling = 0 if quality >= FULL_COLOUR_FROM else 2
            flatten(image).save(out, "JPEG", quality=quality, subsampling=subsampling)
        case "webp":
            image.save(out, "WEBP", quality=quality, method=WEBP_METHOD)
        case "avif":
            # One thread: the other cores have renditions of their own, and the bytes do not depend on the machine.
            image.save(out, "AVIF", quality=quality, speed=AVIF_SPEED, max_threads=1)
        case "png":
            image.save(out, "PNG", compress_level=PNG_LEVEL)
            return Encoded(out.getvalue(), format, None)
    return Encoded(out.getvalue(), format, quality)


def encode_within(image: Image.Image, format: Format, *, quality: int, floor: int, budget: int | None) -> Encoded:
    """The best quality in [floor, quality] whose file keeps the budget, found by bisection (≤ 7 encodings).

    Where even the floor is too large the floor's file comes back: the bytes check says so, with both numbers.
    """
    best = encode(image, format, quality)
    if budget is None or len(best.data) <= budget or best.quality is None:
        return best
    best = encode(image, format, floor)
    low, high = floor, quality  # low: known to fit or the floor; high: known not to fit
    while len(best.data) <= budget and high - low > 1:
        middle = (low + high) // 2
        tried = encode(image, format, middle)
        if len(tried.data) <= budget:
            low, best = middle, tried
        else:
            high = middle
    return best


def flatten(image: Image.Image, colour: tuple[int, int, int] = WHITE) -> Image.Image:
    """The picture without alpha, laid on one colour."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGB", image.size, colour)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def edge_colour(image: Image.Image) -> tuple[int, int, int]:
    """The mean colour of the outermost pixels, so that added canvas looks like more of the same ground."""
    width, height = image.size
    sides = [(0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height)]
    means = [flatten(image.crop(side)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)) for side in sides]
    red, green, blue = (round(sum(channel) / len(means)) for channel in zip(*means, strict=True))
    return red, green, blue


def versions() -> dict[str, str]:
    """What an exact replay of a derivative needs to be the same: the library and its codecs."""
    codecs = {name: features.version(name) for name in ("jpg", "webp", "avif", "zlib", "littlecms2")}
    return {"pillow": PIL.__version__, **{name: version for name, version in codecs.items() if version}}


def _open(data: bytes, limits: Limits) -> Image.Image:
    if len(data) > limits.bytes:
        raise CorruptImage(f"{len(data)} bytes are more than the {limits.bytes} allowed")
    try:
        image = Image.open(io.BytesIO(data), formats=DECODERS)
    except Exception as error:
        raise CorruptImage("this is no PNG, JPEG or WebP that can be read") from error
    if image.width * image.height > limits.pixels:
        raise CorruptImage(f"{image.width} × {image.height} pixels are more than the {limits.pixels} allowed")
    if getattr(image, "n_frames", 1) > 1:
        raise CorruptImage("the file is an animation, not one picture")
    return image


def _facts(image: Image.Image) -> Facts:
    return Facts(MEDIA_TYPES[image.format or ""], image.width, image.height)
