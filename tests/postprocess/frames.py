"""Pictures as operations take them, and operations as recipes name them."""

from typing import Any

from PIL import Image

from services.postprocess.operations import Frame, operations
from services.postprocess.pictures import Picture
from services.postprocess.pixels import pixels_of


def frame_of(image: Image.Image, wanted: tuple[int, int], **given: Any) -> Frame:
    return Frame.of(Picture(pixels_of(image)), wanted=wanted, **given)


def applied(frame: Frame, *steps: tuple[str, dict[str, Any]]) -> Frame:
    for name, params in steps:
        frame = operations()[name].apply(frame, params)
    return frame
