"""Wide forms: the candle, the tin, the jar and the mug."""

import math

from services.inference.backends.proof.body import Piece
from services.inference.backends.proof.label import Label
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Product, linear, luminance
from services.inference.backends.proof.solids import rod
from services.inference.backends.proof.surface import Points, lathe
from services.inference.backends.proof.ware import (
    BONE,
    BRASS,
    BRINE,
    FOOT,
    INK,
    PAPER,
    WOOD,
    Form,
    finish,
    shoulder,
    wrap,
)

CANDLE: Points = ((0, 0.128), (0.005, 0.143), (0.020, 0.151), (0.315, 0.151), (0.321, 0.149))
WAX = Material(linear("#FBEFD6"), rough=0.45, shine=0.03)
WICK = Material(linear("#3A2A20"), rough=0.9)

TIN: Points = ((0, 0.130), (0.003, 0.134), (0.008, 0.132), (0.250, 0.132), (0.262, 0.132))
TIN_LID: Points = ((0, 0.1345), (0.003, 0.1375), (0.008, 0.1365), (0.068, 0.1365), (0.074, 0.133), (0.076, 0.129))

JAR: Points = (
    (0, 0.112),
    (0.005, 0.124),
    (0.018, 0.130),
    (0.165, 0.130),
    (0.186, 0.124),
    (0.198, 0.118),
    (0.205, 0.118),
)
JAR_LID: Points = ((0, 0.127), (0.003, 0.1305), (0.062, 0.1305), (0.067, 0.127), (0.069, 0.122))

MUG: Points = ((0, 0.086), (0.005, 0.098), (0.030, 0.117), (0.075, 0.124), (0.225, 0.124), (0.232, 0.1225))
TEA = Material(linear("#93501A"), rough=0.6, shine=0.006)


def candle(product: Product, unit: float, _side: int) -> Form:
    tint = product.tint or BONE
    ware = finish(product, tint, "ceramic")
    body = Piece(
        surface=lathe(CANDLE, unit, 0.004, 0.0085, 0.034),
        materials=(ware, ware, ware, WAX),
        label=wrap(tint, 0.151, 0.070, 0.245, 0.86),
        ember=0.318,
        tones=FOOT,
    )
    wick = Piece(
        surface=rod(((0.0, -0.004), (0.0012, 0.016), (-0.001, 0.030)), 0.0026, unit), materials=(WICK,), up=0.289
    )
    return Form(pieces=(body, wick), radius=0.140, eye=0.18)


def tin(product: Product, unit: float, _side: int) -> Form:
    tint = product.tint or linear("#9BA36B")
    skin = finish(product, tint, "satin")
    band, ink = (BRINE, PAPER) if luminance(tint) > 0.12 else (PAPER, INK)
    body = Piece(
        surface=lathe(TIN, unit, 0.0014),
        materials=(skin, skin),
        label=Label(half=2.2, low=0.030, high=0.222, radius=0.132, paper=band, ink=ink, frame=False),
        tones=shoulder(0.228, 0.247),
    )
    lid = Piece(surface=lathe(TIN_LID, unit, 0.0020), materials=(BRASS, BRASS), up=0.246)
    return Form(pieces=(body, lid), radius=0.131, eye=0.14)


def jar(product: Product, unit: float, _side: int) -> Form:
    tint = product.tint or linear("#BFD0CB")
    skin = finish(product, tint, "frosted")
    body = Piece(
        surface=lathe(JAR, unit, 0.005),
        materials=(skin, skin),
        label=wrap(tint, 0.130, 0.032, 0.158, 0.92),
        specks=0.03,
        tones=shoulder(0.170, 0.198),
    )
    lid = Piece(surface=lathe(JAR_LID, unit, 0.0026), materials=(WOOD, WOOD), up=0.196, grain=0.14)
    return Form(pieces=(body, lid), radius=0.120, eye=0.12)


def mug(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or BONE
    glaze = finish(product, tint, "ceramic")
    body = Piece(
        surface=lathe(MUG, unit, 0.006, 0.009, 0.028),
        materials=(glaze, glaze, glaze, TEA),
        label=wrap(tint, 0.124, 0.062, 0.192, 0.80, frame=False),
        tones=FOOT,
    )
    turns = [math.pi * t / 16 for t in range(17)]
    handle = tuple(
        (-side * (0.112 + 0.078 * max(math.sin(turn), 0.0) ** 0.8), 0.055 + 0.125 * (1 - math.cos(turn)) / 2)
        for turn in turns
    )
    return Form(
        pieces=(Piece(surface=rod(handle, 0.0135, unit), materials=(glaze,)), body),
        radius=0.098,
        eye=0.12,
    )
