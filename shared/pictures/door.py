"""One way in for every picture, whoever sent it."""

import re

from shared.pictures import jpeg, png, webp
from shared.pictures.disguise import refuse_disguised
from shared.pictures.words import Admitted, Limits, Refused

# How the files begin that are decoded, whatever their names say. Pillow knows 43 formats and would try them all.
WALKS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), png.walked),
    (re.compile(rb"\xff\xd8\xff"), jpeg.walked),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), webp.walked),
)

AVIF = re.compile(rb".{4}ftypavif", re.DOTALL)


def is_avif(data: bytes) -> bool:
    """Whether it begins as what we publish, and let in nowhere else."""
    return AVIF.match(data) is not None


def admitted(data: bytes, limits: Limits) -> Admitted:
    """The picture in these bytes, and not a pixel decoded.

    Raises:
        Refused: it is no picture that is let in.
    """
    if len(data) > limits.bytes:
        raise Refused("too_large", f"{len(data):,} bytes are more than the {limits.bytes:,} a picture may have")
    walk = next((walk for beginning, walk in WALKS if beginning.match(data)), None)
    if walk is None:
        what = "the file is no PNG, JPEG or WebP that can be read, whatever its name says"
        raise Refused("unsupported_media_type", what)
    refuse_disguised(data)
    return walk(data, limits)
