"""From bodies to light: each piece in its materials, under the window's pattern, as a patch of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.camera import COARSE, Array, Camera
from services.inference.backends.proof.light import Light
from services.inference.backends.proof.look import materials
from services.inference.backends.proof.patina import weather
from services.inference.backends.proof.printing import lay_label
from services.inference.backends.proof.shadow import MARGIN, Caster, Contact, open_sky, sunlit
from services.inference.backends.proof.surface import Surface

# What the key light leaves where the window's bars fall on a product: bars that blacken it would hide it.
SOFTEN = 0.58


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Part of the picture: linear light times coverage, planes first; `left`, `top` in pixels."""

    left: int
    top: int
    light: Array
    cover: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """All that a body is lit by; `casters` and `contacts` stand on or before it, `lying` lies flat on the ground."""

    camera: Camera
    light: Light
    casters: tuple[Caster, ...] = ()
    contacts: tuple[Contact, ...] = ()
    lying: Array | None = None


def shade(room: Room, body: Body, piece: Piece) -> Patch:
    surface, light = piece.surface, room.light
    fill, key = materials(surface, piece.materials, light.side)
    direct, sky = _reach(room, body, piece)
    rgb = [
        fill[plane] * (sky * np.float32(light.fill[plane])) + key[plane] * (direct * np.float32(light.sun[plane]))
        for plane in range(3)
    ]
    weather(rgb, piece)
    if piece.label and body.product:
        unit = room.camera.unit * body.size
        lay_label(rgb, surface, piece.label, body.product, light, unit=unit, direct=direct, sky=sky)
    left, top = place(room.camera, body, piece)
    planes = [*(plane * surface.cover for plane in rgb), surface.cover]
    if surface.fine > 1:
        planes = [shrink(plane, left, top, surface.fine) for plane in planes]
    return Patch(left=left // surface.fine, top=top // surface.fine, light=np.stack(planes[:3]), cover=planes[3])


def place(camera: Camera, body: Body, piece: Piece) -> tuple[int, int]:
    """Where the piece's first cell is in the frame, in cells."""
    x, y, z = body.at
    column, row = camera.project(x + piece.across * body.size, y + piece.up * body.size, z)
    fine = piece.surface.fine
    return round(column * fine) + piece.surface.left, round(row * fine) + piece.surface.top


def coverage(camera: Camera, bodies: Sequence[Body]) -> Array:
    """What the bodies cover, on the coarse grid with its margin."""
    rows, columns = -(-camera.height // COARSE), -(-camera.width // COARSE)
    whole: Array = np.zeros((rows + 2 * MARGIN, columns + 2 * MARGIN), dtype=np.float32)
    for owner, piece in [(body, piece) for body in bodies for piece in body.pieces]:
        cell = COARSE * piece.surface.fine
        left, top = place(camera, owner, piece)
        part = shrink(piece.surface.cover, left, top, cell)
        left, top = left // cell + MARGIN, top // cell + MARGIN
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + part.shape[1], whole.shape[1]), min(top + part.shape[0], whole.shape[0])
        if x1 > x0 and y1 > y0:
            window = whole[y0:y1, x0:x1]
            np.maximum(window, part[y0 - top : y1 - top, x0 - left : x1 - left], out=window)
    return whole


def shrink(cells: Array, left: int, top: int, times: int) -> Array:
    """Means of `times` × `times` cells, on the grid whose origin is `left`, `top` cells away."""
    before = (top % times, left % times)
    after = (-(cells.shape[0] + before[0]) % times, -(cells.shape[1] + before[1]) % times)
    padded = np.pad(cells, ((before[0], after[0]), (before[1], after[1])))
    rows = padded[::times].copy()
    for at in range(1, times):
        rows += padded[at::times]
    small: Array = rows[:, ::times].copy()
    for at in range(1, times):
        small += rows[:, at::times]
    small *= np.float32(1 / times**2)
    return small


def _reach(room: Room, body: Body, piece: Piece) -> tuple[Array, Array]:
    """Key and fill light that reach the piece; one value per pixel, repeated over its cells."""
    surface, size, fine = piece.surface, body.size, piece.surface.fine
    at = surface.left + np.arange(0, surface.cover.shape[1], fine, dtype=np.float32) + 0.5
    x = body.at[0] + piece.across * size + at[None, :] / (room.camera.unit * fine)
    rise = 0 if piece.flat else surface.h[::fine, ::fine]
    y = body.at[1] + (piece.up + rise) * size + 0 * x
    z = body.at[2] + surface.depth[::fine, ::fine] * size
    direct = room.light.pattern(x, y, z)
    sky: Array = np.ones((1, 1), dtype=np.float32)
    if room.casters:
        direct = direct * sunlit(room.camera, room.light.side, room.casters, x, y, z)
    else:
        direct = SOFTEN + (1 - SOFTEN) * direct
    if room.contacts:
        sky = _spread(open_sky(room.contacts, x, y, z), surface)
    return _spread(direct, surface), sky


def _spread(field: Array, surface: Surface) -> Array:
    rows, columns = surface.cover.shape
    whole = field.astype(np.float32)
    for axis in range(2) if surface.fine > 1 else ():
        whole = np.repeat(whole, surface.fine, axis)
    return whole[:rows, :columns]
