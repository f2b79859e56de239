"""Forms with a neck: the amber bottle, the pump and the diffuser with its reeds."""

from services.inference.backends.proof.body import Piece
from services.inference.backends.proof.scene import Product, linear
from services.inference.backends.proof.solids import rod
from services.inference.backends.proof.surface import Points, lathe
from services.inference.backends.proof.ware import (
    BRASS,
    BRINE,
    PHENOLIC,
    WOOD,
    Form,
    darkened,
    filled,
    finish,
    shoulder,
    wrap,
)

AMBER: Points = (
    (0, 0.088),
    (0.004, 0.098),
    (0.016, 0.1035),
    (0.300, 0.1035),
    (0.345, 0.096),
    (0.385, 0.068),
    (0.410, 0.046),
    (0.420, 0.041),
    (0.450, 0.041),
)
CAP: Points = ((0, 0.046), (0.003, 0.049), (0.088, 0.049), (0.092, 0.045))

PUMP: Points = (
    (0, 0.090),
    (0.005, 0.100),
    (0.018, 0.106),
    (0.275, 0.106),
    (0.315, 0.098),
    (0.345, 0.074),
    (0.362, 0.046),
    (0.385, 0.042),
)
COLLAR: Points = ((0, 0.047), (0.002, 0.0485), (0.042, 0.0485), (0.046, 0.043), (0.052, 0.020), (0.054, 0.017))
STEM: Points = ((0, 0.0115), (0.060, 0.0115))
HEAD: Points = ((0, 0.018), (0.006, 0.025), (0.020, 0.0265), (0.038, 0.0265), (0.043, 0.023))

DIFFUSER: Points = (
    (0, 0.112),
    (0.004, 0.122),
    (0.018, 0.128),
    (0.180, 0.128),
    (0.205, 0.121),
    (0.225, 0.090),
    (0.238, 0.062),
    (0.252, 0.053),
    (0.292, 0.053),
    (0.298, 0.060),
    (0.308, 0.060),
)
# How far each reed leans, and how high its tip stands.
REEDS = ((-0.165, 0.600), (-0.092, 0.628), (0.004, 0.640), (0.082, 0.622), (0.150, 0.588))


def amber_bottle(product: Product, unit: float, _side: int) -> Form:
    tint = product.tint or linear("#96430D")
    glass = finish(product, tint, "glass")
    body = Piece(
        surface=lathe(AMBER, unit, 0.008),
        materials=(glass, glass),
        label=wrap(tint, 0.1035, 0.052, 0.285, 1.13),
        tones=filled(glass, 0.340, 0.425, thin=0.32),
    )
    cap = Piece(surface=lathe(CAP, unit, 0.0018), materials=(PHENOLIC, PHENOLIC), up=0.425, bands=0.10)
    return Form(pieces=(body, cap), radius=0.096, eye=0.19)


def pump(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or BRINE
    skin = finish(product, tint, "satin")
    body = Piece(
        surface=lathe(PUMP, unit, 0.008),
        materials=(skin, skin),
        label=wrap(tint, 0.106, 0.050, 0.262, 1.05),
        tones=shoulder(0.345, 0.372),
    )
    spout = ((0.0, 0.0), (-side * 0.070, 0.001), (-side * 0.084, -0.004), (-side * 0.091, -0.017))
    pieces = (
        body,
        Piece(surface=lathe(COLLAR, unit, 0.0016), materials=(BRASS, BRASS), up=0.370),
        Piece(surface=lathe(STEM, unit, 0.0), materials=(BRASS, BRASS), up=0.420),
        Piece(surface=rod(spout, 0.0085, unit), materials=(BRASS,), up=0.494),
        Piece(surface=lathe(HEAD, unit, 0.0022), materials=(BRASS, BRASS), up=0.474),
    )
    return Form(pieces=pieces, radius=0.098, eye=0.18)


def diffuser(product: Product, unit: float, _side: int) -> Form:
    tint = product.tint or BRINE
    glass = finish(product, tint, "glass")
    body = Piece(
        surface=lathe(DIFFUSER, unit, 0.0045, 0.012, 0.020),
        materials=(glass, glass, glass, darkened(glass)),
        label=wrap(tint, 0.128, 0.034, 0.168, 0.98),
        tones=filled(glass, 0.194, 0.340, thin=0.22),
    )
    reeds = [
        Piece(surface=rod(((lean * 0.16, 0.0), (lean, tip - 0.292)), 0.0050, unit), materials=(WOOD,), up=0.292)
        for lean, tip in REEDS
    ]
    return Form(pieces=(body, *reeds), radius=0.120, eye=0.20)
