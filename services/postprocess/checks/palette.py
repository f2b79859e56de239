"""Whether a picture is in its brand's colours, under whatever light falls on them.

Eight colours of what surrounds the product (k-means in Lab), each against the nearest of the brand's (CIEDE2000), by
the share of the picture they take. A wall in shade is still that wall: each brand colour stands for itself in full
light, in three quarters of it and in half. Of five colours, the wall behind a close product has none of its own.

Half of what four colours of its own would leave is taken off: a photograph of a meadow is made of more than any brand
has, and is near none of them for that alone.
"""

import re
from functools import lru_cache

import numpy as np

from services.postprocess.checks.check import Check
from services.postprocess.checks.colours import Lab, ciede2000, kmeans
from services.postprocess.checks.view import View, cut, lab_of, resized
from shared.events import Verdict

HEX = re.compile(r"#[0-9A-Fa-f]{6}")
COLOURS = 8
# So many of its own, and how much of what they leave is not held against a picture.
OWN, FORGIVEN = 4, 0.5
SIDE = 48
LIGHTS = (0.5, 0.75, 1.0)


def beyond_its_own(view: View) -> float:
    """How far the picture is from its brand, less what it could hardly help."""
    around = _around(view)
    colours, shares = kmeans(around, COLOURS)
    own, _ = kmeans(around, OWN)
    to_brand, to_own = (_to_nearest(colours, those) for those in (_lit(tuple(view.palette)), own))
    return max(0.0, float((shares * (to_brand - FORGIVEN * to_own)).sum()))


def _to_nearest(colours: Lab, those: Lab) -> Lab:
    return np.asarray(ciede2000(colours[:, None], those[None]).min(axis=1))


def _around(view: View) -> Lab:
    """All but the product, which has colours of its own."""
    small = lab_of(resized(view.pixels, SIDE, SIDE)).astype(np.float64)
    outside = np.ones((SIDE, SIDE), dtype=np.uint8)
    if view.live:
        cut(outside, view.live)[:] = 0
    return small[outside > 0] if outside.any() else small.reshape(-1, 3)


@lru_cache(maxsize=16)
def _lit(palette: tuple[str, ...]) -> Lab:
    """Each colour at several strengths of light."""
    rgb = np.array([list(bytes.fromhex(colour[1:])) for colour in palette if HEX.fullmatch(colour)])
    light = (rgb / 255) ** 2.2
    lit = np.clip(light[None] * np.array(LIGHTS)[:, None, None], 0, 1) ** (1 / 2.2) * 255
    return lab_of(np.rint(lit).astype(np.uint8)).reshape(-1, 3).astype(np.float64)


def look(view: View, limit: float) -> Verdict:
    if not any(HEX.fullmatch(colour) for colour in view.palette):
        return Verdict(check="palette", ok=True, limit=limit, sentence="The brand has no palette to compare with.")
    number = round(beyond_its_own(view), 2)
    ok = number <= limit
    sentence = "The colours are the brand's." if ok else "The colours are not the brand's."
    return Verdict(check="palette", ok=ok, number=number, limit=limit, unit="ΔE00", sentence=sentence)


PALETTE = Check(name="palette", look=look, limit=3.2, code="off_palette", usual=True)
