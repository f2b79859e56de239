"""Pictures that a small model learns from: one product each, drawn from five words, and what words a picture shows.

`draw` is a function of what is asked and of a number; `seen` reads colour and shape back from the pixels alone, by the
hue of whatever is coloured and by its outline, so that it judges drawn and made pictures alike.
"""

import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 128
COLOURS = {
    "red": (214, 36, 40),
    "orange": (240, 128, 28),
    "yellow": (236, 208, 48),
    "green": (58, 158, 66),
    "teal": (28, 158, 160),
    "blue": (48, 88, 208),
    "purple": (130, 68, 192),
    "pink": (240, 116, 178),
}
SHAPES = ("bottle", "jar", "box", "candle", "mug", "ball")
MATERIALS = ("matte", "glossy", "metallic")
BACKGROUNDS = {"white": (244, 244, 242), "grey": (168, 170, 172), "sand": (230, 220, 200), "slate": (74, 78, 86)}
LIGHTS = ("left", "right")
WORDS = ("a", "on", "light", "from", "the", ",", *COLOURS, *SHAPES, *MATERIALS, *BACKGROUNDS, *LIGHTS)

CHROMA = 46  # of 255, between a pixel's largest and smallest part: backgrounds stay below 30, products above 60
FLAME = (255, 214, 120)
SEED = 1
Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    colour: str
    shape: str
    material: str
    background: str
    light: str

    @property
    def prompt(self) -> str:
        return f"a {self.material} {self.colour} {self.shape} on {self.background}, light from the {self.light}"

    def partly(self, rng: random.Random) -> str:
        """Its prompt with some of the words left out, as people leave them out."""
        if rng.random() < 0.1:
            return ""
        material, place, light = (rng.random() > 0.15 for _ in range(3))
        return (
            f"a {self.material + ' ' if material else ''}{self.colour} {self.shape}"
            f"{' on ' + self.background if place else ''}{', light from the ' + self.light if light else ''}"
        )


def asked_of(rng: random.Random) -> Asked:
    return Asked(
        colour=rng.choice(list(COLOURS)),
        shape=rng.choice(SHAPES),
        material=rng.choice(MATERIALS),
        background=rng.choice(list(BACKGROUNDS)),
        light=rng.choice(LIGHTS),
    )


def chance(of: str) -> random.Random:
    """The same for the same words."""
    return random.Random(f"{SEED} {of}")  # noqa: S311  # pictures, and no secrets


def asked_for(place: int) -> Asked:
    return asked_of(chance(f"picture {place}"))


def picture(place: int) -> Pixels:
    """One of those that the UNet learns from."""
    rng = chance(f"picture {place}")
    return draw(asked_of(rng), rng)


def draw(asked: Asked, rng: random.Random, *, size: int = SIZE) -> Pixels:
    """(size, size, 3): a wall and a table, one product on it, its shading, its shine and its shadow."""
    scale = size / SIZE
    height, x, floor = rng.uniform(56, 74) * scale, rng.uniform(54, 74) * scale, rng.uniform(96, 104) * scale
    side = -1.0 if asked.light == "left" else 1.0
    across, down = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    wall = np.asarray(BACKGROUNDS[asked.background], dtype=np.float32)
    lit = 1.0 + 0.10 * side * (across / size - 0.5) - 0.14 * (down > floor - 10 * scale)
    picture = wall * lit[..., None]
    shadow = _filled(size, _ellipse(x - side * 0.32 * height, floor, 0.62 * height, 0.10 * height))
    picture *= 1 - 0.4 * _blurred(shadow)[..., None]
    for part, is_flame in _parts(asked.shape, x, floor, height):
        mask = _filled(size, part)
        colour = np.asarray(FLAME if is_flame else COLOURS[asked.colour], dtype=np.float32)
        surface = colour * (1.0 if is_flame else _shade(asked.material, (across - x) / height, side)[..., None])
        if asked.material == "glossy" and not is_flame:
            shine = np.exp(-(((across - x - side * 0.13 * height) / (0.035 * height)) ** 2))
            surface = surface + (250 - surface) * (0.75 * shine)[..., None]
        picture += (surface - picture) * mask[..., None]
    return np.asarray(picture.clip(0, 255).round(), dtype=np.uint8)


def seen(picture: Pixels) -> tuple[str | None, str | None]:
    """The colour and the shape of what is coloured in a picture; None where nothing is."""
    pixels = picture.astype(np.float32)
    chroma = pixels.max(axis=-1) - pixels.min(axis=-1)
    mask = chroma > CHROMA
    if mask.mean() < 0.01:
        return None, None
    hues = _hue(pixels[mask])
    turned = np.angle(np.sum(np.exp(1j * np.deg2rad(hues)) * chroma[mask]), deg=True) % 360
    colour = min(COLOURS, key=lambda name: _apart(turned, float(_hue(np.asarray([COLOURS[name]], np.float32))[0])))
    outline = _outline(mask)
    shape = max(SHAPES, key=lambda name: max(_overlap(outline, known) for known in _known(name)))
    return colour, shape


def _parts(shape: str, x: float, floor: float, height: float) -> list[tuple[list[tuple[float, float]], bool]]:
    """Polygons from back to front, and whether each is a flame, on a floor; `height` is that of the tallest product."""

    def box(left: float, right: float, bottom: float, top: float) -> list[tuple[float, float]]:
        corners = ((left, bottom), (right, bottom), (right, top), (left, top))
        return [(x + across * height, floor - up * height) for across, up in corners]

    def oval(middle: float, up: float, wide: float, tall: float) -> list[tuple[float, float]]:
        return _ellipse(x + middle * height, floor - up * height, wide * height, tall * height)

    if shape == "bottle":
        shoulder = [(-0.24, 0.58), (0.24, 0.58), (0.09, 0.74), (-0.09, 0.74)]
        return [
            (box(-0.24, 0.24, 0, 0.6), False),
            ([(x + across * height, floor - up * height) for across, up in shoulder], False),
            (box(-0.09, 0.09, 0.72, 1.08), False),
        ]
    if shape == "jar":
        return [
            (box(-0.36, 0.36, 0, 0.56), False),
            (box(-0.27, 0.27, 0.54, 0.68), False),
            (oval(0, 0.75, 0.09, 0.09), False),
        ]
    if shape == "box":
        return [(box(-0.52, 0.52, 0, 0.6), False)]
    if shape == "candle":
        return [(box(-0.15, 0.15, 0, 0.84), False), (oval(0, 0.97, 0.06, 0.12), True)]
    if shape == "mug":
        ring = [*oval(0.33, 0.34, 0.24, 0.24), *reversed(oval(0.33, 0.34, 0.13, 0.13))]
        return [(ring, False), (box(-0.36, 0.3, 0, 0.66), False)]
    return [(oval(0, 0.4, 0.4, 0.4), False)]


def _shade(material: str, across: Array, side: float) -> Array:
    toward = np.clip(0.5 + side * across, 0, 1)
    if material == "metallic":
        return np.asarray(0.62 + 0.3 * toward + 0.22 * np.sin(across * 21), dtype=np.float32)
    return np.asarray(0.62 + 0.5 * toward, dtype=np.float32)


def _ellipse(x: float, y: float, wide: float, tall: float) -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * np.pi, 33)
    return [(x + wide * float(np.cos(turn)), y + tall * float(np.sin(turn))) for turn in turns]


def _filled(size: int, polygon: list[tuple[float, float]]) -> Array:
    """0 to 1, with soft edges."""
    image = Image.new("L", (size * 2, size * 2))
    ImageDraw.Draw(image).polygon([(2 * x, 2 * y) for x, y in polygon], fill=255)
    return np.asarray(image.reduce(2), dtype=np.float32) / np.float32(255)


def _blurred(mask: Array) -> Array:
    image = Image.fromarray((mask * 255).astype(np.uint8)).reduce(8).resize(mask.shape, Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _hue(pixels: Array) -> Array:
    """Degrees, of (n, 3)."""
    red, green, blue = pixels.T
    return np.asarray(np.rad2deg(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)), dtype=np.float32)


def _apart(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


def _outline(mask: NDArray[np.bool_]) -> Array:
    """The mask cut to what it holds but for stray pixels, (32, 32), longer side as long as the frame."""
    rows, columns = (np.flatnonzero(mask.sum(axis=axis) > 2) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return np.zeros((32, 32), dtype=np.float32)
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image = Image.fromarray(cut.astype(np.uint8) * 255)
    across, down = (max(1, round(32 * side / max(image.size))) for side in image.size)
    image = image.resize((across, down), Image.Resampling.BOX)
    framed = Image.new("L", (32, 32))
    framed.paste(image, ((32 - image.width) // 2, (32 - image.height) // 2))
    return np.asarray(framed, dtype=np.float32) / np.float32(255)


def _overlap(one: Array, other: Array) -> float:
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum())


@cache
def _known(shape: str) -> tuple[Array, ...]:
    """Outlines of a shape, as drawn; the handle of a mug and a neck are thin, so none of them is the only one."""
    asked = Asked(colour="red", shape=shape, material="matte", background="grey", light="left")
    found = []
    for number in range(4):
        pixels = draw(asked, chance(f"outline {number}")).astype(np.float32)
        found.append(_outline(pixels.max(axis=-1) - pixels.min(axis=-1) > CHROMA))
    return tuple(found)
