"""Resize the window to pixels: inside the rendition's size, or exactly to it."""

from dataclasses import replace

from services.postprocess.geometry import fit_inside
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from shared.library.operations import Resize


def resize(frame: Frame, wanted: Resize) -> Frame:
    width, height = fit_inside(frame.window.width, frame.window.height, within=frame.wanted, enlarge=wanted.enlarge)
    return replace(frame.rendered(width, height), exact=wanted.mode == "exact")


RESIZE = Operation.of("resize", Resize, resize)
