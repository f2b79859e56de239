"""Pixels to files: one encoder a format, none of them slow, and a search for the quality that keeps a byte budget."""

import io
import struct
from importlib.metadata import version
from typing import Literal, NamedTuple

import cv2
import PIL
import simplejpeg
from PIL import Image, features

from services.postprocess.compositing import flatten
from services.postprocess.pixels import Pixels
from shared import png
from shared.pictures.cleaned import segments

Format = Literal["jpeg", "png", "webp", "avif"]

# WebP's method 0 costs 28 ms for 1024², method 4 costs 100 ms and saves 6 % of the bytes.
WEBP_METHOD = 0
# For 1024²: speed 10 costs 66 ms, speed 8 costs 164 ms and saves 3 % of the bytes.
AVIF_SPEED = 10
# From here on a JPEG keeps full colour resolution: whoever asks for so much quality looks at edges of labels.
FULL_COLOUR_FROM = 90


class Encoded(NamedTuple):
    data: bytes
    format: Format
    quality: int | None  # None: lossless


def encode(pixels: Pixels, format: Format, quality: int, *, profile: bytes | None = None) -> Encoded:
    """One file. JPEG has no alpha, so a see-through picture is laid on white first. No profile means sRGB."""
    out = io.BytesIO()
    match format:
        case "jpeg":
            return Encoded(_jpeg(flatten(pixels), quality, profile), format, quality)
        case "webp":
            Image.fromarray(pixels).save(out, "WEBP", quality=quality, method=WEBP_METHOD, icc_profile=profile)
        case "avif":
            # One thread: the other cores have renditions of their own, and the bytes do not depend on the machine.
            image = Image.fromarray(pixels)
            image.save(out, "AVIF", quality=quality, speed=AVIF_SPEED, max_threads=1, icc_profile=profile)
        case "png":
            return Encoded(png.encode(pixels, profile=profile), format, None)
    return Encoded(out.getvalue(), format, quality)


def encode_within(
    pixels: Pixels, format: Format, *, quality: int, floor: int, budget: int | None, profile: bytes | None = None
) -> Encoded:
    """The best quality in [floor, quality] whose file keeps the budget, found by bisection (≤ 7 encodings).

    Where even the floor is too large the floor's file comes back: the bytes check says so, with both numbers.
    """
    best = encode(pixels, format, quality, profile=profile)
    if budget is None or len(best.data) <= budget or best.quality is None:
        return best
    best = encode(pixels, format, floor, profile=profile)
    low, high = floor, quality  # low: known to fit or the floor; high: known not to fit
    while len(best.data) <= budget and high - low > 1:
        middle = (low + high) // 2
        tried = encode(pixels, format, middle, profile=profile)
        if len(tried.data) <= budget:
            low, best = middle, tried
        else:
            high = middle
    return best


def versions() -> dict[str, str]:
    """What an exact replay of a derivative needs to be the same.

    The libraries, their codecs, and what OpenCV uses of this processor: its resampling may differ in the last bit
    between instruction sets.
    """
    codecs = {name: features.version(name) for name in ("webp", "avif", "zlib", "littlecms2")}
    return {
        "calotype": version("calotype"),
        "pillow": PIL.__version__,
        "opencv": cv2.__version__,
        "cpu": cv2.getCPUFeaturesLine(),
        "simplejpeg": version("simplejpeg"),
        "isal": version("isal"),
        "uharfbuzz": version("uharfbuzz"),
        "uniseg": version("uniseg"),
        "budoux": version("budoux"),
        **{name: version for name, version in codecs.items() if version},
    }


def _jpeg(pixels: Pixels, quality: int, profile: bytes | None) -> bytes:
    colours = "444" if quality >= FULL_COLOUR_FROM else "420"
    data: bytes = simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace="RGB", colorsubsampling=colours, fastdct=False
    )
    if not profile:
        return data
    # After SOI and the JFIF segment, which has to stay first.
    at = 4 + struct.unpack_from("!H", data, 4)[0] if data[2:4] == b"\xff\xe0" else 2
    return data[:at] + segments(profile) + data[at:]
