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


def colour_of(text: str) -> Colour:
    """Of `#RRGGBB`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
