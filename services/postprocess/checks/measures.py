"""What a picture measures, for the statistics of a set and the search for twins: one small record, no verdict."""

import numpy as np

from services.postprocess.checks.colours import kmeans
from services.postprocess.checks.entropy import bits
from services.postprocess.checks.likeness import fingerprint
from services.postprocess.checks.view import View, lab_of, resized
from services.postprocess.pixels import Pixels
from shared.events import Measures

COLOURS = 5
# So many pixels a side say what a picture is made of.
SIDE = 48


def measured(view: View) -> Measures:
    shares = np.cumsum(view.levels) / view.levels.sum()
    low, high = (int(np.searchsorted(shares, share)) for share in (0.05, 0.95))
    return Measures(
        colours=_colours(view.pixels),
        exposure=(_share(view.luma.mean() / 255), _share(low / 255), _share(high / 255)),
        product_scale=_scale(view),
        centre=_centre(view),
        entropy=round(bits(view.levels), 2),
        sharpness=None if view.softness is None else _share(1 - view.softness),
        fingerprint=fingerprint(view.pixels, live=view.live),
    )


def _colours(pixels: Pixels) -> list[tuple[str, float]]:
    """Each as the pixel of the picture that is nearest to it, so that it is one that can be seen there."""
    small = resized(pixels, SIDE, SIDE)
    lab, rgb = lab_of(small).reshape(-1, 3).astype(np.float64), small.reshape(-1, 3)
    colours, shares = kmeans(lab, COLOURS)
    nearest = [rgb[int(np.argmin(((lab - colour) ** 2).sum(axis=1)))] for colour in colours]
    return [(f"#{bytes(pixel).hex()}", _share(share)) for pixel, share in zip(nearest, shares, strict=True)]


def _scale(view: View) -> float | None:
    """The product's share of the picture, by the box it is in: more is not known of every picture."""
    if view.live is None:
        return None
    left, top, right, bottom = view.live
    return _share((right - left) * (bottom - top))


def _centre(view: View) -> tuple[float, float] | None:
    if view.live is None:
        return None
    left, top, right, bottom = view.live
    return _share((left + right) / 2), _share((top + bottom) / 2)


def _share(number: float) -> float:
    return round(float(number), 4)
