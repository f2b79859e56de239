"""Colours as people tell them apart: CIEDE2000, and the few that a picture is made of."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Lab = NDArray[np.float64]

FAR = 25.0**7
ROUNDS = 10


def ciede2000(one: ArrayLike, other: ArrayLike) -> Lab:
    """ΔE00 of Lab colours in the last axis, broadcast (Sharma, Wu & Dalal 2005)."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    chroma, stretch = _stretched(first, second)
    a1, a2 = first[..., 1] * stretch, second[..., 1] * stretch
    c1, c2 = np.hypot(a1, first[..., 2]), np.hypot(a2, second[..., 2])
    h1, h2 = _hue(a1, first[..., 2]), _hue(a2, second[..., 2])
    grey = c1 * c2 == 0
    turned = np.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    turned = np.where(~grey & (h2 - h1 == 180), 180.0, turned)
    hue = np.where(grey, h1 + h2, _middle(h1, h2))
    lightness, chroma = (first[..., 0] + second[..., 0]) / 2, (c1 + c2) / 2
    in_light = (second[..., 0] - first[..., 0]) / _light_scale(lightness)
    in_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    in_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turned / 2)) / (1 + 0.015 * chroma * _hue_scale(hue))
    return np.asarray(np.sqrt(in_light**2 + in_chroma**2 + in_hue**2 + _rotation(hue, chroma) * in_chroma * in_hue))


def kmeans(colours: Lab, count: int) -> tuple[Lab, Lab]:
    """At most `count` colours that these are nearest to, and their shares, the largest first.

    Lloyd 1982 from the farthest points (Gonzalez 1985), so without chance: the same colours give the same.
    """
    centres = [colours.mean(axis=0)]
    away = np.full(len(colours), np.inf)
    for _ in range(count):
        away = np.minimum(away, ((colours - centres[-1]) ** 2).sum(axis=1))
        centres.append(colours[int(np.argmax(away))])
    found = np.unique(np.array(centres[1:]), axis=0)
    for _ in range(ROUNDS):
        nearest = _nearest(colours, found)
        sizes = np.bincount(nearest, minlength=len(found))
        sums = np.stack([np.bincount(nearest, weights=column, minlength=len(found)) for column in colours.T], axis=1)
        moved = sums[sizes > 0] / sizes[sizes > 0, None]
        if len(moved) == len(found) and np.allclose(moved, found, atol=0.1):
            break
        found = moved
    shares = np.bincount(_nearest(colours, found), minlength=len(found)) / len(colours)
    order = np.argsort(-shares, kind="stable")
    return found[order], shares[order]


def _nearest(colours: Lab, centres: Lab) -> NDArray[np.intp]:
    # |x − c|² without |x|², which is the same for every centre.
    return np.asarray(np.argmin((centres**2).sum(axis=1) - 2 * colours @ centres.T, axis=1))


def _stretched(first: Lab, second: Lab) -> tuple[Lab, Lab]:
    chroma = (np.hypot(first[..., 1], first[..., 2]) + np.hypot(second[..., 1], second[..., 2])) / 2
    return chroma, 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + FAR))


def _hue(a: Lab, b: Lab) -> Lab:
    return np.asarray(np.degrees(np.arctan2(b, a)) % 360)


def _middle(one: Lab, other: Lab) -> Lab:
    apart, both = np.abs(one - other), one + other
    return np.asarray(np.where(apart <= 180, both / 2, np.where(both < 360, both / 2 + 180, both / 2 - 180)))


def _light_scale(lightness: Lab) -> Lab:
    middle = (lightness - 50) ** 2
    return np.asarray(1 + 0.015 * middle / np.sqrt(20 + middle))


def _hue_scale(hue: Lab) -> Lab:
    parts = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    return np.asarray(1 + sum(much * np.cos(np.radians(times * hue + shift)) for much, times, shift in parts))


def _rotation(hue: Lab, chroma: Lab) -> Lab:
    turn = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    return np.asarray(-2 * np.sqrt(chroma**7 / (chroma**7 + FAR)) * np.sin(np.radians(2 * turn)))
