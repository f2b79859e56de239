"""`render`: a scene, a seed and a size give one picture, its product mask, and where its product is."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL
from PIL import features

from services.inference.backends.proof import backdrop, flame, furniture, png
from services.inference.backends.proof.camera import Array
from services.inference.backends.proof.composition import Composition, compose
from services.inference.backends.proof.develop import develop
from services.inference.backends.proof.scene import read
from services.inference.backends.proof.shade import Patch, Room, coverage, shade
from services.inference.backends.proof.shadow import Contact, caster

RENDERER = "calotype-proof/1"
STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Comp:
    """PNG of the picture and of the product's mask; `focal` and `live_area` (left, top, right, bottom) are 0..1."""

    image: bytes
    mask: bytes
    focal: tuple[float, float]
    live_area: tuple[float, float, float, float]
    manifest: dict[str, Any]


def render(
    scene: Mapping[str, Any], *, seed: int, width: int, height: int, step: Callable[[int, int], None] | None = None
) -> Comp:
    """The comp of a scene; `step` hears how far it is, and may raise to end it."""

    def reached(number: int) -> None:
        if step is not None:
            step(number, STEPS)

    told = read(scene)
    made = compose(told, seed=seed, width=width, height=height)
    reached(1)
    planes = backdrop.draw(told, _lit_ground(made), made.shape, flame=made.flame)
    reached(2)
    mask = _stand(made, planes)
    reached(3)
    pixels = develop(planes, seed=seed)
    furniture.draw(pixels, told, seed=seed)
    reached(4)
    live_area = _live_area(mask)
    comp = Comp(
        image=png.encode(pixels),
        mask=png.encode(mask),
        focal=_within(made.focal, live_area),
        live_area=live_area,
        manifest={
            "renderer": RENDERER,
            "scene": dict(scene),
            "seed": seed,
            "width": width,
            "height": height,
            "dtype": "float32",
            "device": {"type": "cpu", "name": platform.machine()},
            "threads": 1,
            "versions": versions(),
        },
    )
    reached(5)
    return comp


def versions() -> dict[str, str]:
    """What the bytes of a comp depend on beside its scene."""
    text = {name: features.version(name) or "none" for name in ("freetype2", "raqm", "zlib")}
    return {"python": platform.python_version(), "numpy": np.__version__, "pillow": PIL.__version__, **text}


def _lit_ground(made: Composition) -> Room:
    """The room as wall and table have it: everything standing keeps light from them."""
    camera, shape = made.room.camera, made.shape
    casters = [caster(camera, coverage(camera, group), z=group[0].at[2]) for group in made.groups()]
    casters.append(caster(camera, backdrop.silhouette(camera, shape), z=shape.z))
    contacts = [body.contact for body in (made.product, *made.props) if body.at[1] == 0 and body.wide]
    foot = shape.radius if shape.kind == "arch" else 0.06
    contacts.append(Contact(x=shape.x, y=0, z=shape.z, wide=foot, deep=0.03, height=0.12))
    lying = caster(camera, coverage(camera, [body for body in made.props if body.lies]), z=0.0).levels[1]
    return replace(made.room, casters=tuple(casters), contacts=tuple(contacts), lying=lying)


def _stand(made: Composition, planes: Array) -> Array:
    """Draws everything that stands, back to front; returns the product's mask."""
    product, camera = made.product, made.room.camera
    shadow = caster(camera, coverage(camera, [product]), z=product.at[2])
    beside = replace(made.room, casters=(shadow,), contacts=(product.contact,))
    mask: Array = np.zeros(planes.shape[1:], dtype=np.float32)
    for body in sorted((*made.props, product), key=lambda body: (body.at[2], body.at[1])):
        for piece in body.pieces:
            patch = shade(made.room if body is product else beside, body, piece)
            _lay(patch, planes, mask, is_product=body is product)
    if made.flame:
        flame.burn(planes, camera, made.flame, product.size)
    return np.asarray((mask * 255 + 0.5).astype(np.uint8))


def _lay(patch: Patch, planes: Array, mask: Array, *, is_product: bool) -> None:
    height, width = mask.shape
    x0, y0 = max(patch.left, 0), max(patch.top, 0)
    x1, y1 = min(patch.left + patch.cover.shape[1], width), min(patch.top + patch.cover.shape[0], height)
    if x1 <= x0 or y1 <= y0:
        return
    rows, columns = slice(y0 - patch.top, y1 - patch.top), slice(x0 - patch.left, x1 - patch.left)
    cover = patch.cover[rows, columns]
    window, seen = planes[:, y0:y1, x0:x1], mask[y0:y1, x0:x1]
    window *= 1 - cover
    window += patch.light[:, rows, columns]
    seen[:] = np.maximum(seen, cover) if is_product else seen * (1 - cover)


def _live_area(mask: Array) -> tuple[float, float, float, float]:
    """The product with a little air."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.max(axis=1) > 127), np.flatnonzero(mask.max(axis=0) > 127)
    air = 0.02 * min(height, width)
    left, right = max(0, columns[0] - air) / width, min(width, columns[-1] + 1 + air) / width
    top, bottom = max(0, rows[0] - air) / height, min(height, rows[-1] + 1 + air) / height
    return round(float(left), 4), round(float(top), 4), round(float(right), 4), round(float(bottom), 4)


def _within(point: tuple[float, float], area: tuple[float, float, float, float]) -> tuple[float, float]:
    left, top, right, bottom = area
    return round(min(max(point[0], left), right), 4), round(min(max(point[1], top), bottom), 4)
