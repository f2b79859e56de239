"""What a picture is between decoder and encoder: one array that every operation can look at without a copy."""

import numpy as np
import numpy.typing as npt
from PIL import Image

# height × width × 3 (RGB) or × 4 (RGB and straight alpha), C-contiguous, 8 bits, sRGB unless a profile says otherwise;
# a mask is height × width, 255 where it applies.
Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)


def pixels_of(image: Image.Image) -> Pixels:
    """A decoded picture as an array of its own; the image may be forgotten afterwards."""
    return np.array(image, dtype=np.uint8, order="C")


def is_transparent(pixels: Pixels) -> bool:
    """Whether it has an alpha channel; decoding leaves one only where some pixel is see-through."""
    return pixels.ndim == 3 and pixels.shape[2] == 4


def plain(width: int, height: int, colour: Colour) -> Pixels:
    """A canvas of one colour."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def flatten(pixels: Pixels, colour: Colour = WHITE) -> Pixels:
    """The picture without alpha, laid on one colour; the same array where there is none."""
    if not is_transparent(pixels):
        return pixels
    height, width = pixels.shape[:2]
    return laid(plain(width, height, colour), pixels, 0, 0)


def laid(ground: Pixels, over: Pixels, left: int, top: int) -> Pixels:
    """A copy of the RGB ground with a picture on it; what hangs over the edge is cut off."""
    made = ground.copy()
    x, y = max(left, 0), max(top, 0)
    part = over[y - top : ground.shape[0] - top, x - left : ground.shape[1] - left]
    there = made[y : y + part.shape[0], x : x + part.shape[1]]
    if part.shape[2] == 3:
        there[:] = part
    else:
        # (under · (255 − a) + over · a) / 255, rounded, in whole numbers: the same on every machine.
        alpha = part[..., 3:].astype(np.uint16)
        mixed = there * (255 - alpha) + part[..., :3] * alpha + 127
        there[:] = mixed // 255
    return made


def edge_colour(pixels: Pixels) -> Colour:
    """The mean colour of the outermost pixels, so that added canvas looks like more of the same ground."""
    sides = (pixels[:1], pixels[-1:], pixels[:, :1], pixels[:, -1:])
    red, green, blue = np.mean([flatten(np.ascontiguousarray(side)).mean(axis=(0, 1)) for side in sides], axis=0)
    return round(float(red)), round(float(green)), round(float(blue))


def colour_of(text: str) -> Colour:
    """Of `#RRGGBB`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
