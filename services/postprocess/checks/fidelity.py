"""Whether the product is the approved one, and whether its label reads as approved: against the brand's photo of it.

`fidelity` compares colours from the top of the product to its bottom (CIEDE2000, medians of six bands, in which windows
and highlights count little) and how wide it is for its height. `label` compares print: small dark and light strokes
(morphological black and top hats, which leave light and shade out), window by window, each allowed to lie a few pixels
off (normalised cross-correlation), by the two fifths that agree least.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from services.postprocess.checks.check import Check, undecided
from services.postprocess.checks.colours import Lab, ciede2000
from services.postprocess.checks.photo import Matrix, Photo
from services.postprocess.checks.sharpness import Plane
from services.postprocess.checks.view import View, lab_of, luma_of
from services.postprocess.pixels import Pixels
from shared.events import Verdict

BANDS = 6
# The same product may be lit this much brighter (L*).
EXPOSURE = 10.0
# Perspective changes a product's proportions a little; a hundredth more counts half a ΔE.
PROPORTION, PER_PROPORTION = 0.03, 50.0
# Of no common pixels nothing can be said but that they differ.
APART = 100.0
STROKES = 11
SLACK = 6
# Windows with less print in them (levels of 255) say nothing: a rule's end and grain agree with anything.
PRINT = 17.0
LEAST_AGREEING = 0.4
LEAST_WINDOW = (24, 14)


def difference(photo: Photo, picture: Pixels, shape: Pixels) -> float:
    """Mean ΔE00 of the product's bands, more where its proportions are others."""
    matrix, *_ = photo.lain_over(picture, shape)
    approved, outline = photo.warped(matrix, picture)
    both = (outline > 127) & (shape > 127)
    if both.sum() < BANDS * 20:
        return APART
    first, second = (_bands(pixels, both) for pixels in (approved, picture))
    first[:, 0] -= np.clip(first[:, 0] - second[:, 0], -EXPOSURE, EXPOSURE)
    stretch = abs(math.log(matrix[0, 0] / matrix[1, 1]))
    return float(ciede2000(first, second).mean()) + PER_PROPORTION * max(0.0, stretch - PROPORTION)


def _bands(pixels: Pixels, where: NDArray[np.bool_]) -> Lab:
    """Median colours from top to bottom."""
    colours = lab_of(pixels)[where].astype(np.float64)
    return np.array([np.median(band, axis=0) for band in np.array_split(colours, BANDS)])


def agreement(photo: Photo, picture: Pixels, shape: Pixels) -> float | None:
    """0..1, of the part of the label that agrees least, in the best way to lay the photo; None: nothing is printed."""
    found = [_agreement(photo, picture, matrix) for matrix in photo.lain_over(picture, shape)]
    return max((each for each in found if each is not None), default=None)


def _agreement(photo: Photo, picture: Pixels, matrix: Matrix) -> float | None:
    left, top, right, bottom = photo.label
    corners = np.array([[[left, top], [right, top], [right, bottom], [left, bottom]]], dtype=np.float32)
    lain = np.asarray(cv2.perspectiveTransform(corners, matrix))[0]
    x0, y0 = (max(0, int(edge)) for edge in np.floor(lain.min(axis=0)))
    x1, y1 = (int(edge) for edge in np.minimum(np.ceil(lain.max(axis=0)), picture.shape[1::-1]))
    ours, theirs = _print(photo.warped(matrix, picture)[0]), _print(picture)
    width, height = max(LEAST_WINDOW[0], (x1 - x0) // 3), max(LEAST_WINDOW[1], (y1 - y0) // 6)
    windows = [
        _found(ours[y : y + height, x : x + width], theirs, x, y)
        for y in range(y0, y1 - height + 1, height // 2)
        for x in range(x0, x1 - width + 1, width // 2)
    ]
    told = sorted(each for each in windows if each is not None)
    return float(np.mean(told[: max(1, int(LEAST_AGREEING * len(told)))])) if told else None


def _found(window: Plane, picture: Plane, x: int, y: int) -> float | None:
    """How well a window of print is found near its place; None where it has no print."""
    height, width = window.shape
    near = picture[max(0, y - SLACK) : y + height + SLACK, max(0, x - SLACK) : x + width + SLACK]
    if window.std() < PRINT or near.shape[0] < height or near.shape[1] < width:
        return None
    return max(0.0, float(cv2.matchTemplate(near, np.ascontiguousarray(window), cv2.TM_CCOEFF_NORMED).max()))


def _print(pixels: Pixels) -> Plane:
    """Ink, dark or light, without light and shade."""
    smooth = cv2.GaussianBlur(luma_of(pixels), (0, 0), 0.9)
    stroke = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (STROKES, STROKES))
    dark, light = (cv2.morphologyEx(smooth, hat, stroke) for hat in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT))
    return np.asarray(dark - light, dtype=np.float32)


def look(view: View, limit: float) -> Verdict:
    return _told(view, "fidelity", limit)


def look_at_label(view: View, limit: float) -> Verdict:
    return _told(view, "label", limit)


def _told(view: View, check: str, limit: float) -> Verdict:
    if view.photo_absent:
        return undecided(check, limit, f"A person compares the product, since its approved photo {view.photo_absent}.")
    if view.photo is None:
        return Verdict(check=check, ok=True, limit=limit, sentence="There is no approved photo to compare with.")
    if view.close is None or view.shape is None:
        return undecided(check, limit, "A person compares the product, since it is not known where it is.")
    if view.approved is None:
        return undecided(check, limit, "A person compares the product: its approved photo shows none on one ground.")
    verdict = _product if check == "fidelity" else _label
    return verdict(view.approved, view.close, view.shape, limit)


def _product(photo: Photo, picture: Pixels, shape: Pixels, limit: float) -> Verdict:
    number = round(difference(photo, picture, shape), 2)
    ok = number <= limit
    sentence = f"The product {'looks' if ok else 'does not look'} like its approved photo."
    return Verdict(check="fidelity", ok=ok, number=number, limit=limit, unit="ΔE00", sentence=sentence)


def _label(photo: Photo, picture: Pixels, shape: Pixels, limit: float) -> Verdict:
    found = agreement(photo, picture, shape)
    if found is None:
        return Verdict(check="label", ok=True, limit=limit, sentence="The approved photo shows no print to compare.")
    number = round(found, 3)
    ok = number >= limit
    sentence = f"The label {'reads' if ok else 'does not read'} as on the approved photo."
    return Verdict(check="label", ok=ok, number=number, limit=limit, unit="of 1", sentence=sentence)


FIDELITY = Check(name="fidelity", look=look, limit=1.8, code="wrong_product")
LABEL = Check(name="label", look=look_at_label, limit=0.74, code="label_wrong", least=True)
