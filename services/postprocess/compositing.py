"""Laying ink and pictures over pixels, in whole numbers: the same on every machine."""

from collections.abc import Iterable

import numpy as np

from services.postprocess.pixels import WHITE, Colour, Pixels, is_transparent, plain

# Rows mixed at once: what is between takes 16 or 32 bits a channel.
BAND = 256


def inked(pixels: Pixels, coverage: Pixels, colour: Colour, *, left: int, top: int, opacity: float = 1.0) -> Pixels:
    """A copy of the picture with one colour laid over it, as far as each pixel is covered."""
    made = pixels.copy()
    _lay(made, np.broadcast_to(np.array(colour, dtype=np.uint8), (*coverage.shape, 3)), coverage, left, top, opacity)
    return made


def stamped(pixels: Pixels, mark: Pixels, places: Iterable[tuple[int, int]], *, opacity: float = 1.0) -> Pixels:
    """A copy of the picture with another laid over it, its left upper corner at each of some places."""
    made = pixels.copy()
    alpha = mark[..., 3] if mark.shape[2] == 4 else np.broadcast_to(np.uint8(255), mark.shape[:2])
    for left, top in places:
        _lay(made, mark[..., :3], alpha, left, top, opacity)
    return made


def flatten(pixels: Pixels, colour: Colour = WHITE) -> Pixels:
    """The picture without alpha, laid on one colour; the same array where there is none."""
    if not is_transparent(pixels):
        return pixels
    height, width = pixels.shape[:2]
    return stamped(plain(width, height, colour), pixels, [(0, 0)])


def _lay(made: Pixels, colours: Pixels, alpha: Pixels, left: int, top: int, opacity: float) -> None:
    """What hangs over the edge is cut off."""
    x, y = max(left, 0), max(top, 0)
    right, bottom = min(left + alpha.shape[1], made.shape[1]), min(top + alpha.shape[0], made.shape[0])
    if right <= x:
        return
    for start in range(y, bottom, BAND):
        end = min(start + BAND, bottom)
        cut = np.s_[start - top : end - top, x - left : right - left]
        above = _thinned(alpha[cut], opacity)
        there = made[start:end, x:right]
        there[:] = _on_opaque(there, colours[cut], above) if there.shape[2] == 3 else _on(there, colours[cut], above)


def _thinned(alpha: Pixels, opacity: float) -> Pixels:
    if opacity >= 1:
        return alpha
    return np.asarray((alpha.astype(np.uint16) * round(opacity * 255) + 127) // 255, dtype=np.uint8)


def _on_opaque(below: Pixels, colours: Pixels, alpha: Pixels) -> Pixels:
    """Divided by 255 and rounded as Blinn 1995 does it, without a division; 255 · 255 + 128 + 254 fits 16 bits."""
    if alpha.min(initial=255) == 255:
        return colours
    above = alpha[..., None].astype(np.uint16)
    mixed = below * (255 - above) + colours * above + 128
    return np.asarray((mixed + (mixed >> 8)) >> 8, dtype=np.uint8)


def _on(below: Pixels, colours: Pixels, alpha: Pixels) -> Pixels:
    """Porter and Duff 1984, with straight alpha. Weights in 255²; their sum is 255 times the alpha of both together."""
    above = alpha[..., None].astype(np.uint32)
    seen = below[..., 3:] * (255 - above)
    whole = above * 255 + seen
    mixed = (colours * (above * 255) + below[..., :3] * seen + whole // 2) // np.maximum(whole, 1)
    return np.concatenate([mixed, (whole + 127) // 255], axis=2).astype(np.uint8)
