"""Resize the window to pixels: inside the rendition's size, or exactly to it."""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from services.postprocess.geometry import fit_inside
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation, Parameters


class Resize(Parameters):
    """`inside` keeps the aspect; `exact` promises the rendition's size and expects its aspect (crop first).

    `enlarge` is how much larger than the original a picture may become: at 1, what is too small stays small and the
    dimensions check says so.
    """

    mode: Literal["inside", "exact"] = "exact"
    enlarge: float = Field(default=1.0, ge=1, le=4)


def resize(frame: Frame, wanted: Resize) -> Frame:
    width, height = fit_inside(frame.window.width, frame.window.height, within=frame.wanted, enlarge=wanted.enlarge)
    return replace(frame.rendered(width, height), exact=wanted.mode == "exact")


RESIZE = Operation.of("resize", Resize, resize)
