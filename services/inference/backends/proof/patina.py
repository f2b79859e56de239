"""What a piece keeps of its light: shade at foot and shoulder, ribs, fibres, specks, veins, and a flame's warmth."""

import numpy as np

from services.inference.backends.proof import texture
from services.inference.backends.proof.body import Piece, Tones
from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.surface import Surface

TONE_STEPS = 512
EMBER = (1.0, 0.60, 0.26)


def weather(rgb: list[Array], piece: Piece) -> None:
    """In place."""
    if piece.tones:
        for plane, kept in zip(rgb, _tones(piece.tones, piece.surface.h), strict=True):
            np.multiply(plane, kept, out=plane)
    uneven = _unevenness(piece, piece.surface)
    if uneven is not None:
        for plane in rgb:
            np.multiply(plane, uneven, out=plane)
    if piece.ember:
        _warm(rgb, piece.surface)


def _tones(tones: Tones, h: Array) -> list[Array]:
    heights = [tone[0] for tone in tones]
    low, high = heights[0], heights[-1]
    steps = np.linspace(low, high, TONE_STEPS)
    at = np.clip((h - low) * ((TONE_STEPS - 1) / (high - low)), 0, TONE_STEPS - 1).astype(np.int32)
    return [
        np.take(np.interp(steps, heights, [tone[plane] for tone in tones]).astype(np.float32), at)
        for plane in (1, 2, 3)
    ]


def _unevenness(piece: Piece, surface: Surface) -> Array | None:
    kept: Array
    if piece.bands:
        kept = np.where(surface.face == 0, 1 - piece.bands * (0.5 + 0.5 * np.cos(surface.u * 44)), 1)
    elif piece.grain:  # turned wood: long fibres, round the side and straight across the top
        top = surface.face == 1
        across = np.where(top, surface.depth, surface.h) * 1500
        along = np.where(top, np.sin(surface.u) * 9, surface.u * 7)
        kept = 1 + piece.grain * texture.at(across, along)
    elif piece.specks:
        kept = 1 + piece.specks * texture.at(surface.h * 900 + surface.depth * 310, surface.u * piece.spread)
    elif piece.veins:
        midrib = 1.6 * np.exp(-((surface.u / 0.06) ** 2))
        rungs = np.sin((surface.h * 8 - np.abs(surface.u) * 1.2) * 2 * np.pi)
        kept = 1 + piece.veins * (midrib + 0.22 * rungs)
    else:
        return None
    return kept.astype(np.float32)


def _warm(rgb: list[Array], surface: Surface) -> None:
    """Wax and the inner wall shine through near the wick."""
    at = np.nonzero(surface.face >= 2)
    away = np.hypot(0.15 * np.sin(surface.u[at]), surface.depth[at])
    ember = 0.55 * np.exp(-away / 0.045) + 0.16
    for plane, warm in zip(rgb, EMBER, strict=True):
        plane[at] += ember * warm
