"""A material under the room's light: its matcap read at every cell of a surface."""

import itertools

import numpy as np

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.matcap import SIZE, Material, glass, opaque
from services.inference.backends.proof.surface import Surface

# Fill light and key light, three planes each.
Lit = tuple[list[Array], list[Array]]


def materials(surface: Surface, by_face: tuple[Material, ...], side: int) -> Lit:
    """Each face in its own material."""
    at = index(surface.nx, surface.ny)
    if len(set(by_face)) == 1:
        return look(by_face[0], at, side)
    fill = [np.empty(at.shape, dtype=np.float32) for _ in range(3)]
    key = [np.empty(at.shape, dtype=np.float32) for _ in range(3)]
    for material in dict.fromkeys(by_face):
        cells = np.nonzero(np.isin(surface.face, [face for face, one in enumerate(by_face) if one == material]))
        for whole, part in zip((*fill, *key), itertools.chain(*look(material, at[cells], side)), strict=True):
            whole[cells] = part
    return fill, key


def look(material: Material, at: Array, side: int) -> Lit:
    if material.glass:
        table = glass(material.colour, material.rough, material.shine, side)
        none = np.zeros((1,) * at.ndim, dtype=np.float32)
        return [np.take(plane, at, mode="clip") for plane in table], [none, none, none]
    table = opaque(material.rough, material.shine, side, metal=material.metal)
    body, gloss, key = (np.take(plane, at, mode="clip") for plane in table)
    colour = [np.float32(part) for part in material.colour]
    return [body * part + gloss for part in colour], [key * part for part in colour]


def index(nx: Array, ny: Array) -> Array:
    """Where in a matcap a normal is."""
    half, middle = np.float32(SIZE / 2 - 0.5), np.float32(SIZE / 2)
    found: Array = (ny * half + middle).astype(np.int32) * SIZE + (nx * half + middle).astype(np.int32)
    return found
