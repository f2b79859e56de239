"""What the forms are made of and have in common; sizes are world units (frame heights), after ordinary packaging."""

from dataclasses import dataclass, replace

from services.inference.backends.proof.body import Piece, Tones
from services.inference.backends.proof.label import Label
from services.inference.backends.proof.matcap import Material
from services.inference.backends.proof.scene import Colour, Product, linear, luminance, mix

BONE, INK, BRINE, PAPER = linear("#F2ECE0"), linear("#24201D"), linear("#2E4B52"), linear("#F3EEE3")
BRASS = Material((0.83, 0.575, 0.255), rough=0.18, metal=True)
PHENOLIC = Material(linear("#1D1B1A"), rough=0.22, shine=0.045)
WOOD = Material(linear("#C79B68"), rough=0.6, shine=0.03)
# The ground keeps light from a foot.
FOOT: Tones = ((0.0, 0.50, 0.50, 0.50), (0.006, 0.74, 0.74, 0.74), (0.030, 0.95, 0.95, 0.95), (0.070, 1, 1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`radius` touches the ground, `squat` is its depth to its width; `eye` is the height people look at."""

    pieces: tuple[Piece, ...]
    radius: float
    eye: float
    squat: float = 1.0


def finish(product: Product, tint: Colour, usual: str) -> Material:
    """The finish that the catalogue names, else the form's usual one."""
    made = {
        "glass": Material(tint, rough=0.015, shine=0.05, glass=True),
        "ceramic": Material(tint, rough=0.12, shine=0.045),
        "gloss": Material(tint, rough=0.06, shine=0.05),
        "satin": Material(tint, rough=0.36, shine=0.045),
        "frosted": Material(tint, rough=0.42, shine=0.05),
        "matte": Material(tint, rough=0.9, shine=0.03),
        "brass": BRASS,
    }
    return made.get(product.finish or usual) or made[usual]


def filled(material: Material, level: float, neck: float, *, thin: float) -> Tones:
    """How a glass bottle's light goes with its height: a thick foot, a line at `level`, above it air up to `neck`."""
    if not material.glass:
        return FOOT
    red, green, blue = (min(1.9, max(part, 0.02) ** -thin) for part in material.colour)
    return (
        (0.0, 0.30, 0.30, 0.30),
        (0.006, 0.62, 0.62, 0.62),
        (0.016, 1.28, 1.26, 1.24),
        (0.032, 0.92, 0.90, 0.88),
        (0.055, 1, 1, 1),
        (level - 0.004, 1, 1, 1),
        (level, 0.55, 0.52, 0.52),
        (level + 0.005, red, green, blue),
        (neck - 0.03, red, green, blue),
        (neck, 0.55, 0.55, 0.55),
    )


def shoulder(low: float, high: float) -> Tones:
    """The foot's shade, and a lid's on what is under it, from `low` up to `high`."""
    return (*FOOT, (low, 1, 1, 1), (high, 0.47, 0.47, 0.47))


def wrap(tint: Colour, radius: float, low: float, high: float, half: float, *, frame: bool = True) -> Label:
    """A paper label round a lathe; on light ware it is printed straight on."""
    paper = None if luminance(tint) > 0.55 else PAPER
    return Label(half=half, low=low, high=high, radius=radius, paper=paper, ink=INK, frame=frame)


def darkened(material: Material) -> Material:
    """What is inside: the same colour with little light in it."""
    return replace(material, colour=mix(material.colour, (0, 0, 0), 0.5), glass=False)
