"""The eight forms of the catalogue, and a plain carton for everything else: what a product is made of, foot upwards.

Sizes are world units (frame heights) and profiles (height, radius) points, drawn from ordinary packaging.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.inference.backends.proof.body import Piece, Tones
from services.inference.backends.proof.label import Label
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Colour, Product, linear, luminance, mix
from services.inference.backends.proof.solids import box, pebble, rod
from services.inference.backends.proof.surface import Points, lathe

BONE, INK, BRINE = linear("#F2ECE0"), linear("#24201D"), linear("#2E4B52")
PAPER = linear("#F3EEE3")
BRASS = Material((0.83, 0.575, 0.255), rough=0.18, metal=True)
PHENOLIC = Material(linear("#1D1B1A"), rough=0.22, shine=0.045)
WOOD = Material(linear("#C79B68"), rough=0.6, shine=0.03)
CORK = Material(linear("#B98F63"), rough=0.9, shine=0.02)

@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`radius` touches the ground; `eye` is the height people look at; `squat` is depth to width of its foot."""

    pieces: tuple[Piece, ...]
    radius: float
    eye: float
    squat: float = 1.0


def build(product: Product, *, unit: float, side: int) -> Form:
    return FORMS.get(_plain(product.form), carton)(product, unit, side)


def tall(product: Product) -> float:
    """How high its form stands."""
    return HEIGHTS.get(_plain(product.form), HEIGHTS["carton"])


def amber_bottle(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or linear("#96430D")
    body: Points = (
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
    thin = tuple(min(1.9, max(part, 0.02) ** -0.32) for part in tint)
    tones: Tones = (
        (0.0, 0.75, 0.70, 0.65),
        (0.012, 1.35, 1.30, 1.25),
        (0.030, 0.92, 0.90, 0.88),
        (0.060, 1, 1, 1),
        (0.335, 1, 1, 1),
        (0.340, 0.55, 0.5, 0.5),
        (0.345, *thin),
        (0.395, *thin),
        (0.425, 0.5, 0.5, 0.5),
    )
    cap: Points = ((0, 0.046), (0.003, 0.049), (0.088, 0.049), (0.092, 0.045))
    glass = _body(product, tint, "glass")
    return Form(
        pieces=(
            Piece(surface=lathe(body, unit, 0.008), materials=(glass, glass), label=_label(tint, 0.1035, 0.052, 0.285, 1.13),
                  tones=tones if glass.glass else ()),
            Piece(surface=lathe(cap, unit, 0.0018), materials=(PHENOLIC, PHENOLIC), up=0.425, bands=0.10),
        ),
        radius=0.096,
        eye=0.19,
    )


def candle(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or BONE
    body: Points = ((0, 0.128), (0.005, 0.143), (0.020, 0.151), (0.315, 0.151), (0.321, 0.149))
    vessel = _body(product, tint, "ceramic")
    wax = Material(linear("#FBEFD6"), rough=0.45, shine=0.03)
    wick = Material(linear("#3A2A20"), rough=0.9)
    return Form(
        pieces=(
            Piece(surface=lathe(body, unit, 0.004, 0.0085, 0.034), materials=(vessel, vessel, vessel, wax),
                  label=_label(tint, 0.151, 0.070, 0.245, 0.86), ember=0.318, tones=FOOT),
            Piece(surface=rod(((0.0, -0.004), (0.0012, 0.016), (-0.001, 0.030)), 0.0026, unit), materials=(wick,), up=0.289),
        ),
        radius=0.140,
        eye=0.18,
    )


def pump(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or BRINE
    body: Points = (
        (0, 0.090),
        (0.005, 0.100),
        (0.018, 0.106),
        (0.275, 0.106),
        (0.315, 0.098),
        (0.345, 0.074),
        (0.362, 0.046),
        (0.385, 0.042),
    )
    skin = _body(product, tint, "satin")
    collar: Points = ((0, 0.047), (0.002, 0.0485), (0.042, 0.0485), (0.046, 0.043), (0.052, 0.020), (0.054, 0.017))
    stem: Points = ((0, 0.0115), (0.060, 0.0115))
    head: Points = ((0, 0.018), (0.006, 0.025), (0.020, 0.0265), (0.038, 0.0265), (0.043, 0.023))
    spout = ((0.0, 0.0), (-side * 0.070, 0.001), (-side * 0.084, -0.004), (-side * 0.091, -0.017))
    return Form(
        pieces=(
            Piece(surface=lathe(body, unit, 0.008), materials=(skin, skin), label=_label(tint, 0.106, 0.050, 0.262, 1.05),
                  tones=(*FOOT, (0.345, 1, 1, 1), (0.372, 0.45, 0.45, 0.45))),
            Piece(surface=lathe(collar, unit, 0.0016), materials=(BRASS, BRASS), up=0.370),
            Piece(surface=lathe(stem, unit, 0.0), materials=(BRASS, BRASS), up=0.420),
            Piece(surface=rod(spout, 0.0085, unit), materials=(BRASS,), up=0.494),
            Piece(surface=lathe(head, unit, 0.0022), materials=(BRASS, BRASS), up=0.474),
        ),
        radius=0.098,
        eye=0.18,
    )


def tin(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or linear("#9BA36B")
    body: Points = ((0, 0.130), (0.003, 0.134), (0.008, 0.132), (0.250, 0.132), (0.262, 0.132))
    lid: Points = ((0, 0.1345), (0.003, 0.1375), (0.008, 0.1365), (0.068, 0.1365), (0.074, 0.133), (0.076, 0.129))
    skin = _body(product, tint, "satin")
    band = BRINE if luminance(tint) > 0.12 else PAPER
    ink = PAPER if band is BRINE else INK
    return Form(
        pieces=(
            Piece(surface=lathe(body, unit, 0.0014), materials=(skin, skin),
                  label=Label(half=2.2, low=0.030, high=0.222, radius=0.132, paper=band, ink=ink, frame=False),
                  tones=(*FOOT, (0.228, 1, 1, 1), (0.247, 0.5, 0.5, 0.5))),
            Piece(surface=lathe(lid, unit, 0.0020), materials=(BRASS, BRASS), up=0.246),
        ),
        radius=0.131,
        eye=0.14,
    )


def diffuser(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or BRINE
    body: Points = (
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
    glass = _body(product, tint, "glass")
    thin = tuple(min(1.8, max(part, 0.02) ** -0.22) for part in tint)
    tones: Tones = (
        (0.0, 0.8, 0.8, 0.8),
        (0.012, 1.4, 1.4, 1.4),
        (0.030, 0.9, 0.9, 0.9),
        (0.050, 1, 1, 1),
        (0.190, 1, 1, 1),
        (0.194, 0.6, 0.6, 0.6),
        (0.199, *thin),
        (0.285, *thin),
        (0.308, 1, 1, 1),
    )
    reeds = []
    for lean, tip in ((-0.165, 0.600), (-0.092, 0.628), (0.004, 0.640), (0.082, 0.622), (0.150, 0.588)):
        foot = lean * 0.16
        reeds.append(
            Piece(surface=rod(((foot, 0.0), (lean, tip - 0.292)), 0.0050, unit), materials=(WOOD,), up=0.292)
        )
    return Form(
        pieces=(
            Piece(surface=lathe(body, unit, 0.0045, 0.012, 0.020), materials=(glass, glass, replace(glass), _dark(glass)),
                  label=_label(tint, 0.128, 0.034, 0.168, 0.98), tones=tones if glass.glass else ()),
            *reeds,
        ),
        radius=0.120,
        eye=0.20,
    )


def jar(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or linear("#BFD0CB")
    body: Points = ((0, 0.112), (0.005, 0.124), (0.018, 0.130), (0.165, 0.130), (0.186, 0.124), (0.198, 0.118), (0.205, 0.118))
    lid: Points = ((0, 0.127), (0.003, 0.1305), (0.062, 0.1305), (0.067, 0.127), (0.069, 0.122))
    skin = _body(product, tint, "frosted")
    return Form(
        pieces=(
            Piece(surface=lathe(body, unit, 0.005), materials=(skin, skin), label=_label(tint, 0.130, 0.032, 0.158, 0.92),
                  specks=0.03, tones=(*FOOT, (0.170, 1, 1, 1), (0.198, 0.5, 0.5, 0.5))),
            Piece(surface=lathe(lid, unit, 0.0026), materials=(WOOD, WOOD), up=0.196, grain=0.14),
        ),
        radius=0.120,
        eye=0.12,
    )


def boxed_soap(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or linear("#E3B9A2")
    card = _body(product, tint, "matte")
    paper = PAPER if luminance(tint) < 0.6 else None
    bar = Material(mix(tint, BONE, 0.62), rough=0.5, shine=0.04)
    yaw = side * math.radians(24)
    return Form(
        pieces=(
            Piece(surface=box(0.335, 0.215, 0.130, yaw, 0.004, unit), materials=(card, card, card),
                  label=Label(half=0.120, low=0.054, high=0.190, radius=None, paper=paper, ink=INK)),
            Piece(surface=pebble(0.078, 0.029, 0.0, unit, 4.2), materials=(bar,), across=-side * 0.092, up=-0.036, specks=0.02, spread=60),
        ),
        radius=0.165,
        eye=0.11,
        squat=0.55,
    )


def mug(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or BONE
    body: Points = ((0, 0.086), (0.005, 0.098), (0.030, 0.117), (0.075, 0.124), (0.225, 0.124), (0.232, 0.1225))
    glaze = _body(product, tint, "ceramic")
    tea = Material(linear("#93501A"), rough=0.6, shine=0.006)
    turn = 1 if side < 0 else -1
    handle = tuple(
        (turn * (0.112 + 0.078 * math.sin(math.pi * t / 16) ** 0.8), 0.055 + 0.125 * (1 - math.cos(math.pi * t / 16)) / 2)
        for t in range(17)
    )
    return Form(
        pieces=(
            Piece(surface=rod(handle, 0.0135, unit), materials=(glaze,)),
            Piece(surface=lathe(body, unit, 0.006, 0.009, 0.028), materials=(glaze, glaze, glaze, tea),
                  label=_label(tint, 0.124, 0.062, 0.192, 0.80, frame=False), tones=FOOT),
        ),
        radius=0.098,
        eye=0.12,
    )


def carton(product: Product, unit: float, side: int) -> Form:
    tint = product.tint or linear("#B9966B")
    card = Material(tint, rough=0.95, shine=0.02)
    yaw = side * math.radians(27)
    return Form(
        pieces=(
            Piece(surface=box(0.270, 0.300, 0.200, yaw, 0.003, unit), materials=(card, card, card), specks=0.05, spread=900,
                  label=Label(half=0.115, low=0.06, high=0.24, radius=None, paper=None, ink=INK, plain=True)),
        ),
        radius=0.150,
        eye=0.15,
        squat=0.7,
    )


FORMS: dict[str, Callable[[Product, float, int], Form]] = {
    "amber bottle": amber_bottle,
    "candle": candle,
    "pump": pump,
    "tin": tin,
    "diffuser": diffuser,
    "jar": jar,
    "boxed soap": boxed_soap,
    "mug": mug,
}


HEIGHTS = {
    "amber bottle": 0.517,
    "candle": 0.385,
    "pump": 0.517,
    "tin": 0.322,
    "diffuser": 0.640,
    "jar": 0.268,
    "boxed soap": 0.230,
    "mug": 0.232,
    "carton": 0.300,
}


def _plain(form: str) -> str:
    return " ".join(form.replace("-", " ").replace("_", " ").split())


def _body(product: Product, tint: Colour, finish: str) -> Material:
    """The finish the catalogue names, else the form's own."""
    made = {
        "glass": Material(tint, rough=0.015, shine=0.05, glass=True),
        "ceramic": Material(tint, rough=0.12, shine=0.045),
        "gloss": Material(tint, rough=0.06, shine=0.05),
        "satin": Material(tint, rough=0.36, shine=0.045),
        "frosted": Material(tint, rough=0.42, shine=0.05),
        "matte": Material(tint, rough=0.9, shine=0.03),
        "brass": BRASS,
    }
    return made.get(product.finish or finish) or made[finish]


def _dark(glass: Material) -> Material:
    return replace(glass, colour=mix(glass.colour, (0, 0, 0), 0.5), glass=False)


# The ground keeps light from a foot, and a lid from the shoulder beneath it.
FOOT: Tones = ((0.0, 0.50, 0.50, 0.50), (0.006, 0.74, 0.74, 0.74), (0.030, 0.95, 0.95, 0.95), (0.070, 1, 1, 1))


def _label(tint: Colour, radius: float, low: float, high: float, half: float, *, frame: bool = True) -> Label:
    """A paper label; on light ware it is printed straight on."""
    paper = None if luminance(tint) > 0.55 else PAPER
    return Label(half=half, low=low, high=high, radius=radius, paper=paper, ink=INK, frame=frame)

