"""A mask in the forms that providers want it. Ours: what is white is made anew, what is black stays."""

import io

from PIL import Image, ImageOps


def as_alpha(mask: bytes) -> bytes:
    """PNG with an alpha channel: what is to be made anew is transparent."""
    with Image.open(io.BytesIO(mask), formats=["PNG"]) as image:
        kept = ImageOps.invert(image.convert("L"))
    whole = Image.new("RGBA", kept.size)
    whole.putalpha(kept)
    return _png(whole)


def inverted(mask: bytes) -> bytes:
    """PNG of pure black, where something is to be made anew, and pure white."""
    with Image.open(io.BytesIO(mask), formats=["PNG"]) as image:
        return _png(image.convert("L").point([255 if level < 128 else 0 for level in range(256)]))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
