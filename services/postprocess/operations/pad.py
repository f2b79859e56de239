"""Lay the whole picture on a canvas of exactly the rendition's size."""

from dataclasses import replace
from typing import Annotated

from PIL import Image, ImageColor
from pydantic import Field

from services.postprocess.geometry import Point, fit_inside
from services.postprocess.imaging import Picture, edge_colour
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation, Parameters


class Pad(Parameters):
    """`background`: a colour, or `edge` for the mean of the picture's outermost pixels.

    `fill`: the largest share of the canvas, along either side, that the picture may take.
    """

    background: Annotated[str, Field(pattern=r"^(edge|#[0-9A-Fa-f]{6})$")] = "#FFFFFF"
    fill: float = Field(default=1.0, gt=0, le=1)
    enlarge: float = Field(default=1.0, ge=1, le=4)


def pad(frame: Frame, wanted: Pad) -> Frame:
    width, height = frame.wanted
    room = max(1, round(width * wanted.fill)), max(1, round(height * wanted.fill))
    size = fit_inside(frame.window.width, frame.window.height, within=room, enlarge=wanted.enlarge)
    inner = frame.rendered(*size)
    image = inner.pixels()
    colour = edge_colour(image) if wanted.background == "edge" else ImageColor.getrgb(wanted.background)
    canvas = Image.new("RGB", frame.wanted, colour)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas.paste(image, (left, top), image.getchannel("A") if image.mode == "RGBA" else None)
    picture = Picture(canvas)
    return replace(
        inner,
        picture=picture,
        window=picture.box,
        focal=Point(inner.focal.x + left, inner.focal.y + top),
        live=inner.live.moved(left, top) if inner.live else None,
        exact=True,
    )


PAD = Operation.of("pad", Pad, pad)
