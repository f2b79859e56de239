"""Hand-made pictures, small and exact: a test knows every colour in them."""

import io
import random
import struct
from typing import Any

from PIL import Image, ImageChops, ImageCms, ImageDraw

RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 60), (30, 60, 200), (255, 255, 255)


def plain(width: int = 64, height: int = 64, colour: tuple[int, ...] = RED) -> Image.Image:
    return Image.new("RGB" if len(colour) == 3 else "RGBA", (width, height), colour)


def with_spot(width: int, height: int, *, x: float, y: float, radius: int = 12) -> Image.Image:
    """Blue, with a red disc at a fraction of the size: whatever is cut must keep the disc."""
    image = plain(width, height, BLUE)
    left, top = x * width, y * height
    ImageDraw.Draw(image).ellipse((left - radius, top - radius, left + radius, top + radius), fill=RED)
    return image


def grainy(width: int = 256, height: int = 256) -> Image.Image:
    """A gradient with film grain: what makes encoders work, as a photograph would."""
    ramp = Image.linear_gradient("L").resize((width, height))
    noise = random.Random(7).randbytes(width * height)  # the same grain each time
    grain = Image.frombytes("L", (width, height), noise).point(lambda value: 128 + (value - 128) // 4)
    return Image.merge("RGB", [ImageChops.add(ramp, grain, 1, -128), ramp, ImageChops.invert(ramp)])


def written(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def read(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def near(one: Any, other: Any, *, within: int = 12) -> bool:
    return all(abs(a - b) <= within for a, b in zip(one[:3], other[:3], strict=True))


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged: red stored as green."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from("!I", data, 128)[0]
    tags = {bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    description = struct.unpack_from("!I", data, tags[b"desc"] + 4)[0]
    data[description + 28 : description + 36] = "swap".encode("utf-16-be")
    return bytes(data)
