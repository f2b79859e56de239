"""The pictures of the fixture campaign, drawn by the proof renderer."""

import io
from functools import lru_cache

from PIL import Image

from services.inference.backends.proof.render import render
from tests.catalog.campaign import ROWS

LAYOUTS = {"product tile": "tile", "lifestyle": "lifestyle", "email hero": "hero"}


@lru_cache(maxsize=64)
def comp(row: int, variant: int, longest: int) -> Image.Image:
    asked = ROWS[row]
    width, height = (side * longest // max(asked.size) for side in asked.size)
    scene = {
        "template": f"{asked.asset_type.replace(' ', '-')}@2",
        "layout": LAYOUTS[asked.asset_type],
        "variant": variant,
        "wall": asked.wall,
        "accent": asked.accent,
        "season": "winter",
        "headline_space": "left" if asked.asset_type == "email hero" else "none",
        "product": {
            "sku": asked.sku,
            "name": asked.product,
            "form": asked.form,
            "label": {"title": asked.product, "line": "No. 4 — 100 ml"},
        },
    }
    drawn = render(scene, seed=4210 + variant, width=width, height=height)
    return Image.open(io.BytesIO(drawn.image)).convert("RGB")


@lru_cache(maxsize=512)
def picture(row: int, variant: int, longest: int, detail: int) -> bytes:
    """A JPEG `longest` px wide or high, of a comp drawn at `detail` px."""
    shown = comp(row, variant, detail).copy()
    shown.thumbnail((longest, longest))
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=88)
    return out.getvalue()
