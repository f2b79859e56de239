"""Crop to an aspect around what matters; no pixel is touched yet."""

from dataclasses import replace

from services.postprocess.geometry import Box, crop_to_aspect
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from services.postprocess.saliency import most_salient, salient
from shared.library.operations import Crop, parse_aspect


def crop(frame: Frame, wanted: Crop) -> Frame:
    width, height = frame.wanted
    aspect = parse_aspect(wanted.aspect) if wanted.aspect else width / height
    if frame.focal is None and frame.live is None:
        return replace(frame, window=_most_salient(frame, aspect)).noted("crop", "by saliency")
    focal = frame.focal or (frame.live or frame.window).centre
    window = crop_to_aspect(frame.window, aspect, focal=focal, live=frame.live, fill=wanted.fill)
    return replace(frame, window=window)


def _most_salient(frame: Frame, aspect: float) -> Box:
    """Nobody said where to look: the largest box of this aspect that holds most of what draws the eye."""
    window = frame.window
    width = min(window.width, window.height * aspect)
    found = salient(frame.picture)
    return most_salient(found, window, within=frame.picture.box, width=width, height=width / aspect)


CROP = Operation.of("crop", Crop, crop)
