"""Bytes of strangers to pixels. Imported by the child process only.

Whatever they do to a decoder comes out as `CorruptImage` or ends this process, never the worker.
"""

import io
from typing import NamedTuple

from PIL import Image

from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels, pixels_of
from shared.srgb import Undecodable, as_stored, decoded

# Pillow registers 43 decoders by default; these three are what backends hand over and what we make.
DECODERS = ("PNG", "JPEG", "WEBP")
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}


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


def inspect(data: bytes) -> Facts:
    """Format and size of a file we made, from its header, without decoding."""
    with Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
        return _facts(image)


def decode(data: bytes, limits: Limits, *, wide: bool = False) -> tuple[Picture, Facts]:
    """The picture as 8-bit sRGB, upright, with alpha only where some pixel is see-through. Raises CorruptImage.

    With `wide`, a picture that came with a colour profile is kept in its own colours too.
    """
    opened = _open(data, limits)
    facts = _facts(opened)
    profile = opened.info.get("icc_profile") if wide and opened.mode in ("RGB", "RGBA") else None
    try:
        picture = Picture(pixels_of(decoded(opened)))
        if profile:
            picture.wide = Picture(pixels_of(as_stored(_open(data, limits))), profile)
    except Undecodable as error:
        raise CorruptImage(f"the {facts.media_type} does not decode: {error}") from error
    return picture, facts


def decode_mask(data: bytes, limits: Limits) -> Pixels:
    """A mask as it is kept: one channel, 255 where it applies. Raises CorruptImage."""
    try:
        return pixels_of(decoded(_open(data, limits)).convert("L"))
    except Undecodable as error:
        raise CorruptImage(f"the mask does not decode: {error}") from error


def _open(data: bytes, limits: Limits) -> Image.Image:
    if len(data) > limits.bytes:
        raise CorruptImage(f"{len(data)} bytes are more than the {limits.bytes} allowed")
    try:
        image = Image.open(io.BytesIO(data), formats=DECODERS)
    except MemoryError:
        raise
    except Exception as error:
        raise CorruptImage("this is no PNG, JPEG or WebP that can be read") from error
    if image.width * image.height > limits.pixels:
        raise CorruptImage(f"{image.width} × {image.height} pixels are more than the {limits.pixels} allowed")
    if getattr(image, "n_frames", 1) > 1:
        raise CorruptImage("the file is an animation, not one picture")
    return image


def _facts(image: Image.Image) -> Facts:
    return Facts(MEDIA_TYPES[image.format or ""], image.width, image.height)
