"""Enlarge what is too small for its channel: by the installation's model, else by Lanczos and back-projection.

The latter so that shrinking the picture gives the original again:

Michal Irani, Shmuel Peleg: Improving Resolution by Image Registration, CVGIP 1991; here with one picture and the area
average as its camera.
"""

from typing import cast

import cv2
import numpy as np

from services.postprocess.geometry import fit_inside
from services.postprocess.model_files import ModelFailed
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from services.postprocess.pixels import Pixels
from shared.events import Verdict
from shared.library.operations import Upscale

ROUNDS = 2  # the first takes back most of the blur; after the second, rings show at edges


def upscale(frame: Frame, wanted: Upscale) -> Frame:
    reach = max(frame.wanted[0] / frame.window.width, frame.wanted[1] / frame.window.height)
    if reach <= 1:
        return frame
    bound = round(frame.window.width * wanted.factor), round(frame.window.height * wanted.factor)
    width, height = fit_inside(frame.window.width, frame.window.height, within=bound, enlarge=min(reach, wanted.factor))
    pixels, how, fault = _made(frame, width, height)
    made = frame.rendered(width, height).replaced(pixels).noted("upscale", how)
    return made.judged(Verdict(check="upscale", ok=False, sentence=fault)) if fault else made


def _made(frame: Frame, width: int, height: int) -> tuple[Pixels, str, str | None]:
    """The pixels, how they were made, and what a reviewer must know of that."""
    small, models, fault = frame.whole().pixels(), frame.materials.equipment.models, None
    if models.upscale:
        try:
            return models.upscale(small, width, height), models.names["upscale"], None
        except ModelFailed as failed:
            fault = f"The picture was enlarged by back-projection, since the model {failed}."
    return enlarged(small, width, height), "back-projection", fault


def enlarged(small: Pixels, width: int, height: int) -> Pixels:
    """One channel at a time: a plane of floats is the memory it takes."""
    return np.ascontiguousarray(np.dstack([_enlarged(plane, width, height) for plane in np.moveaxis(small, 2, 0)]))


def _enlarged(plane: Pixels, width: int, height: int) -> Pixels:
    seen = plane.astype(np.float32)
    size, small = (width, height), (plane.shape[1], plane.shape[0])
    made = cv2.resize(seen, size, interpolation=cv2.INTER_LANCZOS4)
    for _ in range(ROUNDS):
        missing = seen - cv2.resize(made, small, interpolation=cv2.INTER_AREA)
        made = made + cv2.resize(missing, size, interpolation=cv2.INTER_CUBIC)
    return cast(Pixels, np.clip(np.rint(made), 0, 255).astype(np.uint8))


UPSCALE = Operation.of("upscale", Upscale, upscale)
