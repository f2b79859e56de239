"""What the renderer is told, read leniently: whatever is missing or strange has a default, so every scene draws."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HEX = re.compile(r"#[0-9A-Fa-f]{6}")
# The demo brand's palette, for scenes that bring none.
PALETTE = {
    "bone": "#F2ECE0",
    "blush": "#E3B9A2",
    "clay": "#C4704A",
    "linden": "#9BA36B",
    "brine": "#2E4B52",
    "saffron": "#DFA63A",
    "fog": "#C9CFCB",
    "ink": "#24201D",
}
LAYOUTS = ("tile", "lifestyle", "hero")
SEASONS = ("spring", "summer", "autumn", "winter")
SPACES = ("none", "left", "right", "top")

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    sku: str
    name: str
    form: str
    finish: str | None
    tint: Colour | None
    title: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Colours are linear light; `side` is −1 where the key light stands on the left, +1 on the right."""

    template: str
    layout: str
    variant: int
    swatches: tuple[str, ...]
    wall: Colour
    accent: Colour
    season: str
    side: int
    space: str
    product: Product

    @property
    def reversed(self) -> bool:
        return self.variant % 3 == 2

    @property
    def close(self) -> bool:
        return self.variant % 3 == 0


def read(scene: Mapping[str, Any]) -> Scene:
    palette = {**PALETTE, **{name: value for name, value in _mapping(scene, "palette").items() if _is_hex(value)}}
    variant = scene.get("variant", 1)
    variant = max(1, variant) if isinstance(variant, int) else 1
    side = 1 if scene.get("light_side") == "right" else -1
    return Scene(
        template=_text(scene, "template"),
        layout=_choice(scene, "layout", LAYOUTS),
        variant=variant,
        swatches=_swatches(scene, palette),
        wall=_colour(scene.get("wall"), palette) or linear(palette["fog"]),
        accent=_colour(scene.get("accent"), palette) or linear(palette["bone"]),
        season=_choice(scene, "season", SEASONS),
        side=-side if variant % 3 == 2 else side,
        space=_choice(scene, "headline_space", SPACES),
        product=_product(_mapping(scene, "product"), palette),
    )


def stream(seed: int, *decision: str) -> np.random.Generator:
    """Random numbers of one decision: adding another decision moves nothing that is drawn from this one."""
    digest = hashlib.sha256("\x1f".join((str(seed), *decision)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16])))


def linear(colour: str) -> Colour:
    """Linear light of "#rrggbb" (IEC 61966-2-1)."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def luminance(colour: Colour) -> float:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with `share` of `other`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _product(product: Mapping[str, Any], palette: Mapping[str, str]) -> Product:
    label = _mapping(product, "label")
    return Product(
        sku=_text(product, "sku"),
        name=_text(product, "name"),
        form=_text(product, "form").casefold(),
        finish=_text(product, "finish").casefold() or None,
        tint=_colour(product.get("tint"), palette),
        title=_text(label, "title"),
        line=_text(label, "line"),
    )


def _swatches(scene: Mapping[str, Any], palette: Mapping[str, str]) -> tuple[str, ...]:
    named = [name for name in _mapping(scene, "palette") if name in palette]
    return tuple(palette[name] for name in (named or palette))[:8]


def _colour(value: object, palette: Mapping[str, str]) -> Colour | None:
    if not isinstance(value, str):
        return None
    found = palette.get(value, value)
    return linear(found) if _is_hex(found) else None


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and HEX.fullmatch(value) is not None


def _mapping(scene: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = scene.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(scene: Mapping[str, Any], key: str) -> str:
    value = scene.get(key)
    return value[:80] if isinstance(value, str) else ""


def _choice(scene: Mapping[str, Any], key: str, values: tuple[str, ...]) -> str:
    value = scene.get(key)
    return value if isinstance(value, str) and value in values else values[0]
