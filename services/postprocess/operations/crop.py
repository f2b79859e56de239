"""Crop to an aspect around what matters; no pixel is touched yet."""

from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field

from services.postprocess.geometry import crop_to_aspect, parse_aspect
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation, Parameters


def _checked(aspect: str) -> str:
    parse_aspect(aspect)
    return aspect


class Crop(Parameters):
    """`aspect` as width:height; without one, that of the rendition's own size.

    `fill` closes in: the live area (the product) takes this share of the crop along its tighter side. Where no live
    area is known, the crop is as wide as it can be.
    """

    aspect: Annotated[str, AfterValidator(_checked)] | None = None
    fill: float | None = Field(default=None, gt=0, le=1)


def crop(frame: Frame, wanted: Crop) -> Frame:
    width, height = frame.wanted
    aspect = parse_aspect(wanted.aspect) if wanted.aspect else width / height
    window = crop_to_aspect(frame.window, aspect, focal=frame.focal, live=frame.live, fill=wanted.fill)
    return replace(frame, window=window)


CROP = Operation.of("crop", Crop, crop)
