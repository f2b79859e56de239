"""Puts a label on a lit surface: paper first, where it has any, then ink."""

import numpy as np

from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.label import Label, ink
from services.inference.backends.proof.light import Light
from services.inference.backends.proof.look import index, look
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Product
from services.inference.backends.proof.surface import Surface
from services.inference.backends.proof.texture import sample

CARD = Material((1.0, 1.0, 1.0), rough=0.62, shine=0.038)


def lay_label(
    rgb: list[Array],
    surface: Surface,
    label: Label,
    product: Product,
    light: Light,
    *,
    unit: float,
    direct: Array,
    sky: Array,
) -> None:
    """In place; `unit` is pixels to the surface's own unit, `direct` and `sky` the light that reaches each cell."""
    scale = unit * surface.fine
    width = max(8, round(2 * label.half * (label.radius or 1.0) * scale))
    height = max(8, round((label.high - label.low) * scale))
    u = (surface.u / label.half * 0.5 + 0.5) * width
    v = (label.high - surface.h) * (height / (label.high - label.low))
    # How far inside the sheet, in cells: its outline is as soft as a cell.
    within = np.minimum(np.minimum(u, width - u), np.minimum(v, height - v))
    at = np.nonzero((within > -0.5) & (surface.face == 0))
    if not len(at[0]):
        return
    sheet = np.clip(within[at] + 0.5, 0, 1)
    # A sheet has an edge: a hair darker all round.
    edge = 1 - 0.30 * np.exp(-np.maximum(within[at], 0) / surface.fine)
    print_ = ink(product, width=width, height=height, room=label.room * width, frame=label.frame, plain=label.plain)
    amount = sheet * sample(print_, v[at] - 0.5, u[at] - 0.5)
    fill, key = look(CARD, index(surface.nx[at], surface.ny[at]), light.side)
    sky, direct = np.broadcast_to(sky, surface.cover.shape)[at], direct[at]
    for plane in range(3):
        card = fill[plane] * (sky * light.fill[plane]) + key[plane] * (direct * light.sun[plane])
        under = rgb[plane][at]
        if label.paper is not None:
            under = under + (card * label.paper[plane] * edge - under) * sheet
        rgb[plane][at] = under + (card * label.ink[plane] - under) * amount
