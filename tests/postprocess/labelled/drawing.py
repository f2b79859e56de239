"""Pictures of which everything is known: proofs of every form, drawn small, each seed a scene of its own."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from services.inference.backends.proof.render import render
from services.inference.backends.proof.scene import PALETTE
from services.postprocess.checks.view import Area, View
from services.postprocess.pixels import Pixels
from tests.inference.scenes import EVERY_FORM, opened, scene

WALLS = sorted(PALETTE)
COLOURS = tuple(PALETTE.values())
SIZES = {"tile": (384, 384), "lifestyle": (480, 384), "hero": (512, 256)}
LABELS = (
    ("Salt & Linden", "Body Oil", "No. 4 — 100 ml"),
    ("Salt & Linden", "Salt Marsh", "220 g — 45 h"),
    ("Salt & Linden", "Hand Wash", "No. 2 — 300 ml"),
    ("Salt & Linden", "Linden Tea", "Loose leaf — 80 g"),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A scene and what became of it."""

    asked: dict[str, Any]
    pixels: Pixels
    mask: Pixels
    live: Area

    def view(self, **more: Any) -> View:
        """As the child process has it: where the product is, and its exact shape only beside an approved photo."""
        return View.of(self.pixels, live=self.live, palette=COLOURS, **more)

    def but(self, pixels: Pixels) -> "Drawn":
        return replace(self, pixels=pixels)


def asked(seed: int) -> dict[str, Any]:
    """A scene of the brand, by chance."""
    chance = np.random.default_rng(seed)
    wall, accent, tint = chance.permutation(WALLS)[:3]
    title, name, line = LABELS[chance.integers(len(LABELS))]
    return {
        "form": EVERY_FORM[seed % len(EVERY_FORM)],
        "wall": str(wall),
        "accent": str(accent),
        "tint": str(wall if chance.random() < 0.1 else tint),
        "name": name,
        "label": {"title": title, "line": line},
        "layout": str(chance.choice(list(SIZES))),
        "variant": int(chance.integers(1, 4)),
        "season": str(chance.choice(["spring", "summer", "autumn", "winter"])),
        "light_side": str(chance.choice(["left", "right"])),
        "headline_space": str(chance.choice(["none", "left", "right"])),
    }


def draw(seed: int, *, scale: float = 1.0, **changes: Any) -> Drawn:
    """The seed's scene with some of it changed; the same for the same words."""
    return _drawn(seed, scale, tuple(sorted((name, _frozen(value)) for name, value in changes.items())))


@lru_cache(maxsize=24)
def _drawn(seed: int, scale: float, changes: tuple[tuple[str, Any], ...]) -> Drawn:
    told = asked(seed) | {name: dict(value) if name == "label" else value for name, value in changes}
    width, height = SIZES[told["layout"]]
    comp = render(scene(**told), seed=seed, width=round(width * scale), height=round(height * scale))
    return Drawn(told, opened(comp.image).copy(), opened(comp.mask).copy(), comp.live_area)


def _frozen(value: Any) -> Any:
    return tuple(sorted(value.items())) if isinstance(value, dict) else value
