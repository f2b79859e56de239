"""Any picture as 8-bit sRGB. Imported by child processes only: Pillow stays out of those that hold keys."""

import io
from collections.abc import Callable

from PIL import Image, ImageCms, ImageOps

from shared.pictures.words import damaged


def decoded(opened: Image.Image) -> Image.Image:
    """An opened file's pixels, upright and in sRGB, and nothing else of it: no EXIF, no profile, no text.

    What was opened is used up by it.

    Raises:
        Refused: it is not whole.
        MemoryError: it takes more than this process may have.
    """
    return _whole(opened, to_srgb)


def as_stored(opened: Image.Image) -> Image.Image:
    """An opened file's pixels, upright, in the colours of its own profile. Raises what `decoded` raises."""
    return _whole(opened, _with_alpha_if_needed)


def _whole(opened: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)  # a copy of 40 MP would be 160 MB
        image = convert(opened)
    except MemoryError:
        raise
    except Exception as error:
        # A decoder fed by strangers raises anything: OSError, SyntaxError, struct.error, IndexError and others.
        raise damaged(str(error)[:200]) from error
    image.info = {}
    return image


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in 8 bits, with alpha only where some pixel is see-through."""
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        image = _through_profile(image, profile)
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return _with_alpha_if_needed(image)


def _with_alpha_if_needed(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = _in(image, "RGBA")
        opaque = image.getchannel("A").histogram()[255] == image.width * image.height
        return image.convert("RGB") if opaque else image
    return _in(image, "RGB")


def _in(image: Image.Image, mode: str) -> Image.Image:
    """Pillow's own `convert` copies a picture that has the mode already."""
    return image if image.mode == mode else image.convert(mode)


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The colours as sRGB. A profile that cannot be read is ignored, as browsers do."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image
