"""Whether light or shade was lost: places where a channel is at its end and tells nothing more.

A ground that is meant to be white is no loss: where nearly all of the picture's rim is white, white is left out.
"""

import cv2
import numpy as np

from services.postprocess.checks.check import Check
from services.postprocess.checks.view import View
from services.postprocess.pixels import Pixels
from shared.events import Verdict

# Grain and encoders leave what is clipped a little off its end.
HIGH, LOW = 251, 5
WHITE = 248
# From this share of the rim on, the ground is white on purpose.
RIM = 0.9


def lost(pixels: Pixels) -> float:
    """Share of the picture with no light or no shade left, outside of a white ground."""
    red, green, blue = cv2.split(cv2.blur(pixels, (3, 3)))
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    clipped = (brightest >= HIGH) | (brightest <= LOW)
    white = darkest >= WHITE
    rim = np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]])
    if rim.mean() >= RIM:
        # What stands before white takes some of it in along its outline.
        around = cv2.dilate(white.astype(np.uint8), np.ones((5, 5), dtype=np.uint8)) > 0
        return float((clipped & ~around).sum() / max(int((~around).sum()), 1))
    return float(clipped.mean())


def look(view: View, limit: float) -> Verdict:
    share = round(lost(view.pixels), 4)
    ok = share <= limit
    sentence = f"{share:.1%} of the picture has lost its light or its shade{'' if ok else f', {limit:.1%} is usual'}."
    return Verdict(check="clipping", ok=ok, number=share, limit=limit, unit="of 1", sentence=sentence)


CLIPPING = Check(name="clipping", look=look, limit=0.04, code="artefact", usual=True)
