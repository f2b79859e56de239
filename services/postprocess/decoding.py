"""Bytes of strangers to pixels, through the front door (`shared.pictures`). Imported by the child process only.

Whatever they do to a decoder comes out as `Refused` or ends this process, never the worker.
"""

import io
from typing import NamedTuple

from PIL import Image

from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels, pixels_of
from shared.pictures import Admitted, Limits, clock
from shared.pictures.opening import opened
from shared.srgb import as_stored, decoded

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}


class Facts(NamedTuple):
    """What a file says of itself when opened, whatever was believed about it."""

    media_type: str
    width: int
    height: int


def inspect(data: bytes) -> Facts:
    """Format and size of a file we made, from its header, without decoding."""
    with Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
        return _facts(image)


def decode(data: bytes | Admitted, limits: Limits, *, wide: bool = False) -> tuple[Picture, Facts]:
    """The picture as 8-bit sRGB, upright, with alpha only where some pixel is see-through. Raises Refused.

    With `wide`, a picture that came with a colour profile is kept in its own colours too.
    """
    with clock.decoding(limits.seconds):
        image = opened(data, limits)
        facts = _facts(image)
        profile = image.info.get("icc_profile") if wide and image.mode in ("RGB", "RGBA") else None
        picture = Picture(pixels_of(decoded(image)))
        if profile:
            picture.wide = Picture(pixels_of(as_stored(opened(data, limits))), profile)
    return picture, facts


def decode_mask(data: bytes, limits: Limits) -> Pixels:
    """A mask as it is kept: one channel, 255 where it applies. Raises Refused."""
    with clock.decoding(limits.seconds):
        return pixels_of(decoded(opened(data, limits)).convert("L"))


def _facts(image: Image.Image) -> Facts:
    return Facts(MEDIA_TYPES[image.format or ""], image.width, image.height)
