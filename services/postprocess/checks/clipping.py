"""Whether light or shade was lost: places that are burnt out white or filled in black, and tell nothing more.

A colour with one channel at its end is a strong colour: the others still draw what is there. A ground that is meant to
be white or black is no loss: where nearly all of the picture's rim is so, it is left out.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.check import Check
from services.postprocess.checks.view import View
from services.postprocess.pixels import Pixels
from shared.events import Verdict

# Grain and encoders leave what is clipped a little off its end, and what is a white or black ground a little more.
HIGH, LOW = 252, 3
GROUND = 4
# From this share of the rim on, the ground is so on purpose.
RIM = 0.9

Where = NDArray[np.bool_]


def lost(pixels: Pixels) -> float:
    """Share of the picture with no light or no shade left, outside of a white or black ground."""
    red, green, blue = cv2.split(cv2.blur(pixels, (3, 3)))
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    clipped = (darkest >= HIGH) | (brightest <= LOW)
    grounds = [ground for ground in (darkest >= HIGH - GROUND, brightest <= LOW + GROUND) if _is_around(ground)]
    if grounds:
        # What stands before a ground takes some of it in along its outline.
        around = cv2.dilate(grounds[0].astype(np.uint8), np.ones((5, 5), dtype=np.uint8)) > 0
        return float((clipped & ~around).sum() / max(int((~around).sum()), 1))
    return float(clipped.mean())


def _is_around(ground: Where) -> bool:
    return bool(np.concatenate([ground[0], ground[-1], ground[:, 0], ground[:, -1]]).mean() >= RIM)


def look(view: View, limit: float) -> Verdict:
    share = round(lost(view.pixels), 4)
    ok = share <= limit
    sentence = f"{share:.1%} of the picture has lost its light or its shade{'' if ok else f', {limit:.1%} is usual'}."
    return Verdict(check="clipping", ok=ok, number=share, limit=limit, unit="of 1", sentence=sentence)


CLIPPING = Check(name="clipping", look=look, limit=0.04, code="artefact", usual=True)
