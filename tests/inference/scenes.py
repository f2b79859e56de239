"""Builder: a scene of the demo's kind, drawn small, and its pixels."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.inference.backends.proof.forms import FORMS
from services.inference.backends.proof.render import Comp, render

EVERY_FORM = sorted(FORMS)
LAYOUTS = {"tile": (256, 256), "lifestyle": (320, 256), "hero": (512, 256)}
Pixels = NDArray[np.uint8]


def scene(**changes: Any) -> dict[str, Any]:
    """Changes by name; those of the product as `form`, `tint`, `finish`, `sku`, `name`, `label`."""
    product: dict[str, Any] = {
        "sku": "SL-OIL-100",
        "name": "Body Oil",
        "form": "amber bottle",
        "label": {"title": "Salt & Linden", "line": "No. 4 — 100 ml"},
    }
    product |= {key: changes.pop(key) for key in ("form", "tint", "finish", "sku", "name", "label") if key in changes}
    whole = {
        "template": "product-tile@3",
        "layout": "tile",
        "variant": 1,
        "wall": "bone",
        "accent": "blush",
        "season": "winter",
        "light_side": "left",
        "headline": "",
        "headline_space": "none",
        "locale": "en",
        "product": product,
    }
    return whole | changes


@dataclass(frozen=True, slots=True)
class Drawn:
    comp: Comp
    pixels: Pixels
    mask: Pixels


def draw(*, seed: int = 7, size: tuple[int, int] | None = None, **changes: Any) -> Drawn:
    asked = scene(**changes)
    width, height = size or LAYOUTS[asked["layout"]]
    comp = render(asked, seed=seed, width=width, height=height)
    return Drawn(comp, opened(comp.image), opened(comp.mask))


def opened(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))


@lru_cache(maxsize=1)
def plain() -> Drawn:
    """The unchanged scene."""
    return draw()
