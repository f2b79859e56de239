"""From surfaces to light: materials, labels, tones and the pattern of the window, as patches of the picture."""

from dataclasses import dataclass

import numpy as np

from services.inference.backends.proof import texture
from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.camera import Array, Camera
from services.inference.backends.proof.label import ink
from services.inference.backends.proof.light import Light
from services.inference.backends.proof.matcap import SIZE, Material, matcap
from services.inference.backends.proof.shadow import Caster, Contact, open_sky, sunlit
from services.inference.backends.proof.surface import FINE, Surface

CARD = Material((1.0, 1.0, 1.0), rough=0.75, shine=0.035)
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
    """All that a body is lit by; `casters` and `contacts` are what stands on or before it."""

    camera: Camera
    light: Light
    casters: tuple[Caster, ...] = ()
    contacts: tuple[Contact, ...] = ()


def place(camera: Camera, body: Body, piece: Piece) -> tuple[int, int]:
    """Fine pixel of the piece's first cell."""
    x, y, z = body.at
    column, row = camera.project(x + piece.across * body.size, y + piece.up * body.size, z)
    return round(column * FINE) + piece.surface.left, round(row * FINE) + piece.surface.top


def shade(room: Room, body: Body, piece: Piece) -> Patch:
    """One piece of a body in the room's light."""
    surface = piece.surface
    light = _materials(surface, piece.materials, room.light.side)
    direct, sky = _reach(room, body, piece)
    rgb = [
        fill * (sky * tone) + key * (direct * np.float32(sun))
        for fill, key, tone, sun in zip(light[:3], light[3:], room.light.fill, room.light.sun, strict=True)
    ]
    for texture in _textures(piece):
        for plane, kept in zip(rgb, texture, strict=True):
            plane *= kept
    if piece.label and body.product:
        _print(rgb, room, body, piece, direct, sky)
    if piece.ember:
        _glow(rgb, piece)
    return _reduce(*place(room.camera, body, piece), rgb, surface.cover)


def _materials(surface: Surface, materials: tuple[Material, ...], side: int) -> list[Array]:
    column = (surface.nx * (SIZE / 2 - 0.5) + (SIZE / 2)).astype(np.int32)
    at = (surface.ny * (SIZE / 2 - 0.5) + (SIZE / 2)).astype(np.int32) * SIZE + column
    if len(set(materials)) > 1:
        at = at + surface.face.astype(np.int32) * (SIZE * SIZE)
        tables = [np.concatenate([matcap(m, side)[plane] for m in materials]) for plane in range(6)]
    else:
        tables = list(matcap(materials[0], side))
    return [np.take(table, at, mode="clip") for table in tables]


def _reach(room: Room, body: Body, piece: Piece) -> tuple[Array, Array]:
    """Key and fill light that reach the piece; one value per pixel, repeated over its fine cells."""
    surface, size = piece.surface, body.size
    rows, columns = surface.cover.shape
    at = surface.left + np.arange(0, columns, FINE, dtype=np.float32) + 0.5
    x = body.at[0] + piece.across * size + at[None, :] / (room.camera.unit * FINE)
    rise = 0 if piece.veins else surface.h[::FINE, ::FINE]  # a leaf lies flat: its h runs along it
    y = body.at[1] + (piece.up + rise) * size + 0 * x
    z = body.at[2] + surface.depth[::FINE, ::FINE] * size
    direct = room.light.pattern(x, y, z)
    sky: Array = np.ones((1, 1), dtype=np.float32)
    if room.casters:
        direct = direct * sunlit(room.camera, room.light.side, list(room.casters), x, y, z)
    else:
        direct = SOFTEN + (1 - SOFTEN) * direct
    if room.contacts:
        sky = _spread(open_sky(list(room.contacts), x, y, z), rows, columns)
    return _spread(direct, rows, columns), sky


def _spread(field: Array, rows: int, columns: int) -> Array:
    return np.repeat(np.repeat(field.astype(np.float32), FINE, 0), FINE, 1)[:rows, :columns]


def _textures(piece: Piece) -> list[tuple[Array, Array, Array]]:
    """What the piece keeps of its light, per plane."""
    made = [_tones(piece, piece.surface.h)] if piece.tones else []
    plain = _unevenness(piece, piece.surface)
    return made if plain is None else [*made, (plain, plain, plain)]


def _unevenness(piece: Piece, surface: Surface) -> Array | None:
    kept: Array | None = None
    if piece.bands:
        kept = np.where(surface.face == 0, 1 - piece.bands * (0.5 + 0.5 * np.cos(surface.u * 44)), 1)
    elif piece.grain:
        # Turned wood: long fibres, round the side and straight across the top.
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
    return None if kept is None else kept.astype(np.float32)


def _glow(rgb: list[Array], piece: Piece) -> None:
    """Wax and the inner wall near a flame at height `ember` shine through."""
    surface = piece.surface
    rows, columns = np.nonzero(surface.face >= 2)
    away = np.hypot(0.15 * np.sin(surface.u[rows, columns]), surface.depth[rows, columns])
    ember = 0.55 * np.exp(-away / 0.045) + 0.16
    for plane, warm in zip(rgb, (1.0, 0.60, 0.26), strict=True):
        plane[rows, columns] += ember * warm


def _tones(piece: Piece, h: Array) -> tuple[Array, Array, Array]:
    heights = [tone[0] for tone in piece.tones]
    low, high = heights[0], heights[-1]
    steps = np.linspace(low, high, 512)
    at = np.clip((h - low) * (511 / (high - low)), 0, 511).astype(np.int32)
    red, green, blue = (
        np.take(np.interp(steps, heights, [tone[plane] for tone in piece.tones]).astype(np.float32), at)
        for plane in (1, 2, 3)
    )
    return red, green, blue



def _print(rgb: list[Array], room: Room, body: Body, piece: Piece, direct: Array, sky: Array) -> None:
    """Paper and ink over what is there, in place."""
    surface, label, product = piece.surface, piece.label, body.product
    if label is None or product is None:
        return
    inside = (np.abs(surface.u) < label.half) & (surface.h > label.low) & (surface.h < label.high) & (surface.face == 0)
    rows, columns = np.nonzero(inside)
    if not len(rows):
        return
    scale = room.camera.unit * body.size * FINE
    width = max(8, round(2 * label.half * (label.radius or 1.0) * scale))
    height = max(8, round((label.high - label.low) * scale))
    u = (surface.u[rows, columns] / label.half * 0.5 + 0.5) * width - 0.5
    v = (label.high - surface.h[rows, columns]) / (label.high - label.low) * height - 0.5
    print_ = ink(product, width=width, height=height, frame=label.frame, plain=label.plain)
    amount = _sample(print_, v, u)
    lit = _card(surface, rows, columns, room.light.side)
    reach, key = np.broadcast_to(sky, surface.cover.shape)[rows, columns], direct[rows, columns]
    # A sheet has an edge: a hair darker all round.
    edge = 1 - 0.30 * np.exp(-np.minimum(np.minimum(u, width - u), np.minimum(v, height - v)) / FINE)
    for index, (tone, sun) in enumerate(zip(room.light.fill, room.light.sun, strict=True)):
        card = lit[index] * (reach * tone) + lit[index + 3] * (key * sun)
        under = rgb[index][rows, columns] if label.paper is None else card * label.paper[index] * edge
        rgb[index][rows, columns] = under + (card * label.ink[index] - under) * amount


def _card(surface: Surface, rows: Array, columns: Array, side: int) -> list[Array]:
    nx, ny = surface.nx[rows, columns], surface.ny[rows, columns]
    at = (ny * (SIZE / 2 - 0.5) + SIZE / 2).astype(np.int32) * SIZE + (nx * (SIZE / 2 - 0.5) + SIZE / 2).astype(np.int32)
    return [np.take(table, at, mode="clip") for table in matcap(CARD, side)]


def _sample(texture: Array, v: Array, u: Array) -> Array:
    height, width = texture.shape
    v, u = np.clip(v, 0, height - 1.001), np.clip(u, 0, width - 1.001)
    r, c = v.astype(np.int32), u.astype(np.int32)
    fr, fc = v - r, u - c
    flat, at = texture.ravel(), r * width + c
    value: Array = (flat[at] * (1 - fc) + flat[at + 1] * fc) * (1 - fr) + (flat[at + width] * (1 - fc) + flat[at + width + 1] * fc) * fr
    return value


def _reduce(left: int, top: int, rgb: list[Array], cover: Array) -> Patch:
    """Fine cells to pixels, on the picture's own grid."""
    before = (top % FINE, left % FINE)
    after = (-(cover.shape[0] + before[0]) % FINE, -(cover.shape[1] + before[1]) % FINE)
    pad = ((before[0], after[0]), (before[1], after[1]))
    planes = [np.pad(plane, pad) for plane in (*(plane * cover for plane in rgb), cover)]
    small = [
        (p[0::2, 0::2] + p[1::2, 0::2] + p[0::2, 1::2] + p[1::2, 1::2]) * np.float32(1 / FINE**2) for p in planes
    ]
    return Patch(left=left // FINE, top=top // FINE, light=np.stack(small[:3]), cover=small[3])
