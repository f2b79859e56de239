"""Which colours a file is written in: sRGB, Display P3, or those that the original came with."""

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image, ImageCms

from services.postprocess import profiles
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels, pixels_of
from shared.library.operations import Colour


def colour(frame: Frame, wanted: Colour) -> Frame:
    own = frame.picture.wide
    if wanted.profile == "keep":
        return replace(frame, picture=own) if own else frame.noted("colour", "sRGB, as the original has no profile")
    if wanted.profile == "srgb":
        profile = profiles.srgb() if wanted.embed else None
        return replace(frame, picture=replace(frame.picture, profile=profile))
    source = own or frame.picture
    pixels = converted(source.full, source.profile or profiles.srgb(), profiles.display_p3())
    return replace(frame, picture=Picture(pixels, profiles.display_p3()))


def promised(params: Mapping[str, Any], picture: Picture) -> bytes | None:
    """The profile that a file of this picture has after a step with these parameters."""
    wanted = Colour.model_validate(params)
    if wanted.profile == "keep":
        return picture.wide.profile if picture.wide else picture.profile
    if wanted.profile == "srgb":
        return profiles.srgb() if wanted.embed else None
    return profiles.display_p3()


def converted(pixels: Pixels, source: bytes, target: bytes) -> Pixels:
    """The same colours in other numbers, relative colorimetric; alpha as it was.

    A profile that lcms cannot use is taken for sRGB, as browsers do.
    """
    image = Image.fromarray(pixels)
    try:
        made = _through(image, source, target)
    except (ImageCms.PyCMSError, OSError, ValueError):
        made = _through(image, profiles.srgb(), target)
    return pixels_of(made)


def _through(image: Image.Image, source: bytes, target: bytes) -> Image.Image:
    one, other = (ImageCms.ImageCmsProfile(io.BytesIO(profile)) for profile in (source, target))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    made = ImageCms.profileToProfile(image, one, other, renderingIntent=intent, outputMode=image.mode)
    assert made is not None, "only a conversion in place gives nothing back"
    return made


COLOUR = Operation.of("colour", Colour, colour)
