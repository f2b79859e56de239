"""From surfaces to light: materials, labels, tones and the pattern of the window, as patches of the picture."""

import itertools
from dataclasses import dataclass

import numpy as np

from services.inference.backends.proof import texture
from services.inference.backends.proof.body import Body, Piece
from services.inference.backends.proof.camera import Array, Camera
from services.inference.backends.proof.label import ink
from services.inference.backends.proof.light import Light
from services.inference.backends.proof.matcap import SIZE, Material, glass, opaque
from services.inference.backends.proof.shadow import Caster, Contact, open_sky, sunlit
from services.inference.backends.proof.surface import Surface

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
    """Where the piece's first cell is in the frame, in cells."""
    x, y, z = body.at
    column, row = camera.project(x + piece.across * body.size, y + piece.up * body.size, z)
    fine = piece.surface.fine
    return round(column * fine) + piece.surface.left, round(row * fine) + piece.surface.top


def shade(room: Room, body: Body, piece: Piece) -> Patch:
    """One piece of a body in the room's light."""
    surface = piece.surface
    fills, keys = _materials(surface, piece.materials, room.light.side)
    direct, sky = _reach(room, body, piece)
    rgb = [
        fill * (sky * np.float32(tone)) + key * (direct * np.float32(sun))
        for fill, key, tone, sun in zip(fills, keys, room.light.fill, room.light.sun, strict=True)
    ]
    for texture in _textures(piece):
        for plane, kept in zip(rgb, texture, strict=True):
            plane *= kept
    if piece.label and body.product:
        _print(rgb, room, body, piece, direct, sky)
    if piece.ember:
        _glow(rgb, piece)
    return _reduce(*place(room.camera, body, piece), rgb, surface)


def _materials(surface: Surface, materials: tuple[Material, ...], side: int) -> tuple[list[Array], list[Array]]:
    """Fill and key light of the piece, three planes each."""
    at = _index(surface.nx, surface.ny)
    if len(set(materials)) == 1:
        return _look(materials[0], at, side)
    fill = [np.empty(at.shape, dtype=np.float32) for _ in range(3)]
    key = [np.empty(at.shape, dtype=np.float32) for _ in range(3)]
    for material in set(materials):
        faces = [face for face, one in enumerate(materials) if one == material]
        cells = np.nonzero(np.isin(surface.face, faces))
        for whole, part in zip((*fill, *key), itertools.chain(*_look(material, at[cells], side)), strict=True):
            whole[cells] = part
    return fill, key


def _look(material: Material, at: Array, side: int) -> tuple[list[Array], list[Array]]:
    if material.glass:
        table = glass(material.colour, material.rough, material.shine, side)
        dark = np.zeros((1,) * at.ndim, dtype=np.float32)
        return [np.take(plane, at, mode="clip") for plane in table], [dark, dark, dark]
    body, gloss, lit = (
        np.take(plane, at, mode="clip") for plane in opaque(material.rough, material.shine, material.metal, side)
    )
    colour = [np.float32(part) for part in material.colour]
    return [body * part + gloss for part in colour], [lit * part for part in colour]


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
        direct = direct * sunlit(room.camera, room.light.side, list(room.casters), x, y, z)
    else:
        direct = SOFTEN + (1 - SOFTEN) * direct
    if room.contacts:
        sky = _spread(open_sky(list(room.contacts), x, y, z), surface)
    return _spread(direct, surface), sky


def _spread(field: Array, surface: Surface) -> Array:
    rows, columns = surface.cover.shape
    whole = field.astype(np.float32)
    for axis in range(2) if surface.fine > 1 else ():
        whole = np.repeat(whole, surface.fine, axis)
    return whole[:rows, :columns]


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
    at = np.nonzero(surface.face >= 2)
    away = np.hypot(0.15 * np.sin(surface.u[at]), surface.depth[at])
    ember = 0.55 * np.exp(-away / 0.045) + 0.16
    for plane, warm in zip(rgb, (1.0, 0.60, 0.26), strict=True):
        plane[at] += ember * warm


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
    scale = room.camera.unit * body.size * surface.fine
    width = max(8, round(2 * label.half * (label.radius or 1.0) * scale))
    height = max(8, round((label.high - label.low) * scale))
    u = (surface.u / label.half * 0.5 + 0.5) * width
    v = (label.high - surface.h) * (height / (label.high - label.low))
    # How far inside the sheet, in cells: its edge is as sharp as the picture, and a hair darker.
    within = np.minimum(np.minimum(u, width - u), np.minimum(v, height - v))
    at = np.nonzero((within > -0.5) & (surface.face == 0))
    if not len(at[0]):
        return
    sheet, within = np.clip(within[at] + 0.5, 0, 1), within[at]
    amount = sheet * _sample(
        ink(product, width=width, height=height, frame=label.frame, plain=label.plain), v[at] - 0.5, u[at] - 0.5
    )
    edge = 1 - 0.30 * np.exp(-np.maximum(within, 0) / surface.fine)
    fills, keys = _look(CARD, _index(surface.nx[at], surface.ny[at]), room.light.side)
    reach, key = np.broadcast_to(sky, surface.cover.shape)[at], direct[at]
    for plane, (tone, sun) in enumerate(zip(room.light.fill, room.light.sun, strict=True)):
        card = fills[plane] * (reach * tone) + keys[plane] * (key * sun)
        under = rgb[plane][at]
        if label.paper is not None:
            under = under + (card * label.paper[plane] * edge - under) * sheet
        rgb[plane][at] = under + (card * label.ink[plane] - under) * amount


def _index(nx: Array, ny: Array) -> Array:
    """Where in a matcap a normal is."""
    half = np.float32(SIZE / 2 - 0.5)
    column, row = (nx * half + SIZE / 2).astype(np.int32), (ny * half + SIZE / 2).astype(np.int32)
    index: Array = row * SIZE + column
    return index


def _sample(texture: Array, v: Array, u: Array) -> Array:
    height, width = texture.shape
    v, u = np.clip(v, 0, height - 1.001), np.clip(u, 0, width - 1.001)
    r, c = v.astype(np.int32), u.astype(np.int32)
    fr, fc = v - r, u - c
    flat, at = texture.ravel(), r * width + c
    value: Array = (flat[at] * (1 - fc) + flat[at + 1] * fc) * (1 - fr) + (flat[at + width] * (1 - fc) + flat[at + width + 1] * fc) * fr
    return value


def _reduce(left: int, top: int, rgb: list[Array], surface: Surface) -> Patch:
    """Cells to pixels, on the picture's own grid."""
    fine, cover = surface.fine, surface.cover
    planes = [*(plane * cover for plane in rgb), cover]
    if fine > 1:
        planes = [shrink(plane, left, top, fine) for plane in planes]
    return Patch(left=left // fine, top=top // fine, light=np.stack(planes[:3]), cover=planes[3])


def shrink(cells: Array, left: int, top: int, times: int) -> Array:
    """Means of `times` × `times` cells, on the grid whose origin is `left`, `top` cells away."""
    before = (top % times, left % times)
    after = (-(cells.shape[0] + before[0]) % times, -(cells.shape[1] + before[1]) % times)
    padded = np.pad(cells, ((before[0], after[0]), (before[1], after[1])))
    rows = sum(padded[at::times] for at in range(times))
    small: Array = sum(rows[:, at::times] for at in range(times)) * np.float32(1 / times**2)
    return small
