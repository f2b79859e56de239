"""Forms with corners: the boxed soap, and the plain carton that stands for every form nobody drew."""

import math

from services.inference.backends.proof.body import Piece
from services.inference.backends.proof.label import Label
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Product, linear, luminance, mix
from services.inference.backends.proof.solids import box, pebble
from services.inference.backends.proof.ware import BONE, INK, PAPER, Form, finish


def boxed_soap(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or linear("#E3B9A2")
    card = finish(product, tint, "matte")
    paper = PAPER if luminance(tint) < 0.6 else None
    bar = Material(mix(tint, BONE, 0.62), rough=0.5, shine=0.04)
    pieces = (
        Piece(
            surface=box(0.335, 0.215, 0.130, side * math.radians(24), 0.004, unit),
            materials=(card, card, card),
            label=Label(half=0.120, low=0.054, high=0.190, radius=None, paper=paper, ink=INK),
        ),
        Piece(
            surface=pebble(0.078, 0.029, 0.0, unit, 4.2),
            materials=(bar,),
            across=-side * 0.092,
            up=-0.036,
            specks=0.02,
            spread=60,
        ),
    )
    return Form(pieces=pieces, radius=0.165, eye=0.11, squat=0.55)


def carton(product: Product, unit: float, side: int) -> Form:
    card = Material(product.tint or linear("#B9966B"), rough=0.95, shine=0.02)
    piece = Piece(
        surface=box(0.270, 0.300, 0.200, side * math.radians(27), 0.003, unit),
        materials=(card, card, card),
        specks=0.05,
        spread=900,
        label=Label(half=0.115, low=0.06, high=0.24, radius=None, paper=None, ink=INK, plain=True),
    )
    return Form(pieces=(piece,), radius=0.150, eye=0.15, squat=0.7)
