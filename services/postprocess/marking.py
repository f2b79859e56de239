"""Writes the invisible mark that `shared/marking.py` reads. Pure; imported by the child process only.

Improved spread spectrum (Malvar & Florêncio 2003): the writer knows the picture, so it adds to each bit only what the
picture does not bring by itself, instead of drowning it. The sum that every bit reaches is as high as a fixed
disturbance of the whole allows (water filling), and the disturbance follows the picture's own texture.
"""

from uuid import UUID

import cv2
import numpy as np

from shared.marking import BITS, SIDE, Carriers, Floats, Pixels, carriers, luma, word

# Deviation of the mark on a flat wall, and the most over the whole picture, of 255: 49 and 41 dB.
FLAT, MOST = 0.9, 2.2
# SSIM's second constant: noise of variance v takes v / (2 s² + C2) from a place whose own variance is s², so a mark
# that grows with √(1 + 2 s² / C2) takes as much everywhere (from Wang et al. 2004, equation 13).
C2 = (0.03 * 255) ** 2
STRONGEST = 4.0
WINDOW = (5, 5)  # at half of SIDE, where the room is worked out
# An edge is no texture: beside it a mark is seen best. What is left of the variance after this minimum is texture.
EDGE = np.ones((5, 5), np.uint8)
# Between here and pure white or black the mark fades out: a white ground stays white, and nothing is clipped.
NONE, WHOLE = 2.0, 12.0
# Rows at once, so that what is added to them stays in the processor's cache.
BAND_ROWS = 256


def write(pixels: Pixels, *, asset: UUID, key: bytes) -> Pixels:
    """The picture with the mark of this asset in it, of the same shape. Raises ValueError for a wrong key."""
    brightness = luma(pixels)
    room = _room(pixels, brightness)
    if not room.any():
        return pixels
    return _laid(pixels, _disturbance(brightness, room, word(asset), carriers(key)))


def _disturbance(brightness: Floats, room: Floats, wanted: Floats, chosen: Carriers) -> Floats:
    """What to add to the luma at SIDE²."""
    # By Parseval, coefficients of this size make a disturbance of deviation 1 where the room is 1.
    unit = SIDE / chosen.at.size**0.5
    most = unit * min(FLAT, MOST / float(np.sqrt(np.square(room).mean())))
    # Of what is spread, the room's mean comes back in its own place; the rest lands on other coefficients.
    gain = float(room.mean()) * chosen.weights.sum(axis=1)
    sums, _scatter = chosen.sums(brightness)
    return room * _spread(wanted * _filled(sums / gain * wanted, most), chosen)


def _filled(present: Floats, most: float) -> Floats:
    """What each bit gets so that the least of them stands as high as a mean square of most² allows."""
    rising = np.sort(present).astype(np.float64)
    count = np.arange(1, BITS + 1)
    mean, square = np.cumsum(rising) / count, np.cumsum(rising**2) / count
    # With the n lowest raised to t: n · (t² - 2 t mean + square) = BITS · most².
    level = mean + np.sqrt(np.maximum(mean**2 - square + BITS * most**2 / count, 0))
    first = np.argmax(np.append(rising[1:], np.inf) >= level)
    return np.asarray(np.maximum(0, level[first] - present).astype(np.float32))


def _spread(given: Floats, chosen: Carriers) -> Floats:
    coefficients = np.zeros(SIDE * SIDE, np.float32)
    coefficients[chosen.at] = given[:, None] * chosen.signs
    return np.asarray(cv2.idct(coefficients.reshape(SIDE, SIDE)))


def _room(pixels: Pixels, brightness: Floats) -> Floats:
    """How strong the mark may be at each place: more in texture, nothing in white, black and see-through."""
    coarse = (SIDE // 2, SIDE // 2)
    mean, square = (
        cv2.blur(cv2.resize(each, coarse, interpolation=cv2.INTER_AREA), WINDOW)
        for each in (brightness, cv2.multiply(brightness, brightness))
    )
    texture = cv2.blur(cv2.erode(np.maximum(square - mean * mean, 0), EDGE), WINDOW)
    margin = np.clip((np.minimum(mean, 255 - mean) - NONE) / (WHOLE - NONE), 0, 1)
    coarse_room = np.minimum(np.sqrt(1 + texture * (2 / C2)), STRONGEST) * margin
    room = cv2.resize(coarse_room.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    if pixels.shape[2] == 4:
        alpha = cv2.resize(pixels[:, :, 3], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        room = cv2.multiply(room, alpha, scale=1 / 255, dtype=cv2.CV_32F)
    return np.asarray(room)


def _laid(pixels: Pixels, added: Floats) -> Pixels:
    """Added to the colours alike; alpha stays."""
    height, width, channels = pixels.shape
    smaller = min(height, width) < SIDE
    plane = cv2.resize(added, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    marked, beside = pixels.copy(), [np.zeros((height, width), np.uint8)] if channels == 4 else []
    for top in range(0, height, BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        # Two steps of unsigned bytes: half the time of one with signs.
        lighter, darker = (cv2.convertScaleAbs(side(plane[band], 0)) for side in (np.maximum, np.minimum))
        rows, alpha = marked[band], [each[band] for each in beside]
        cv2.add(rows, cv2.merge([*[lighter] * 3, *alpha]), dst=rows)
        cv2.subtract(rows, cv2.merge([*[darker] * 3, *alpha]), dst=rows)
    return marked
