"""`render`: a scene, a seed and a size give one picture, its product mask, and where its product is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL
from PIL import features

from services.inference.backends.proof import backdrop, furniture, png, props
from services.inference.backends.proof.backdrop import Shape
from services.inference.backends.proof.camera import ASPECT, COARSE, Array, Camera, Stand, frame, stand
from services.inference.backends.proof.flame import burn
from services.inference.backends.proof.forms import Form, build, tall
from services.inference.backends.proof.light import light
from services.inference.backends.proof.props import Body
from services.inference.backends.proof.scene import Scene, read, stream
from services.inference.backends.proof.shade import Patch, Room, place, shade, shrink
from services.inference.backends.proof.shadow import Caster, Contact, caster

RENDERER = "calotype-proof/1"
STEPS = 5
GRAIN = 0.012 * 255
CURVE_STEPS, CURVE_TOP = 8192, 2.0


def _curve() -> Array:
    """Display value of linear light 0..CURVE_TOP: sRGB with a soft shoulder, so highlights glow and never clip."""
    light = np.arange(CURVE_STEPS, dtype=np.float64) / CURVE_STEPS * CURVE_TOP
    knee = 0.62
    over = np.maximum(light - knee, 0)
    light = np.minimum(light, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.int16)


CURVE = _curve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comp:
    """PNG of the picture and of the product's mask; `focal` and `live_area` (left, top, right, bottom) are 0..1."""

    image: bytes
    mask: bytes
    focal: tuple[float, float]
    live_area: tuple[float, float, float, float]
    manifest: dict[str, Any]


def render(
    scene: Mapping[str, Any],
    *,
    seed: int,
    width: int,
    height: int,
    step: Callable[[int, int], None] = lambda done, of: None,
) -> Comp:
    """The comp of a scene; `step` hears how far it is, and may raise to end it."""
    told = read(scene)
    camera = frame(told, width=width, height=height, tall=tall(told.product))
    where = stand(told)
    lift = where.plinth[1] if where.plinth else 0.0
    form = build(told.product, unit=round(camera.unit * where.size, 3), side=told.side)
    product = _product(form, told, where, lift)
    others = [body for body in props.around(told, where, seed=seed, unit=round(camera.unit, 3)) if _clear(camera, body)]
    if where.plinth:
        radius, height_ = where.plinth
        others.append(props.plinth(radius, height_, props.plinth_colour(told), round(camera.unit, 3), (where.x, 0.0, where.z)))
    room = Room(camera=camera, light=light(told, seed=seed, x=where.x, z=where.z))
    step(1, STEPS)
    planes = _background(told, camera, where, product, others, _shape(told, where, seed=seed), room)
    step(2, STEPS)
    mask = _bodies(camera, room, planes, product, others)
    step(3, STEPS)
    pixels = _develop(planes, seed=seed)
    furniture.draw(pixels, told, seed=seed)
    step(4, STEPS)
    focal, area = _frame_of(mask, camera, product, form.eye)
    comp = Comp(
        image=png.encode(pixels),
        mask=png.encode(mask),
        focal=focal,
        live_area=area,
        manifest={
            "renderer": RENDERER,
            "scene": dict(scene),
            "seed": seed,
            "width": width,
            "height": height,
            "versions": versions(),
        },
    )
    step(5, STEPS)
    return comp


def versions() -> dict[str, str]:
    return {
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "freetype": features.version("freetype2") or "",
        "raqm": features.version("raqm") or "",
    }


def _product(form: Form, told: Scene, where: Stand, lift: float) -> Body:
    return Body(
        pieces=form.pieces,
        at=(where.x, lift, where.z),
        wide=form.radius * where.size,
        deep=form.radius * where.size * form.squat,
        height=tall(told.product) * where.size,
        size=where.size,
        product=told.product,
    )


def _shape(told: Scene, where: Stand, *, seed: int) -> Shape:
    drawn = stream(seed, "shape").uniform(-1, 1, 3)
    flip = -1.0 if told.reversed else 1.0
    if told.layout == "tile":
        offset = -0.15 * told.side if told.reversed else 0.0
        return Shape(kind="arch", x=where.x + offset + 0.012 * float(drawn[0]), y=0.245, z=0.34, radius=0.275, thick=0.05)
    if told.layout == "lifestyle":
        x, radius = where.x - (0.235 + 0.02 * float(drawn[0])) * flip, 0.262 + 0.012 * float(drawn[1])
        return Shape(kind="disc", x=x, y=radius, z=0.10, radius=radius, thick=0.05)
    x = where.x + 0.03 * float(drawn[0]) - (0.20 if where.x >= 0 else -0.20) * float(told.reversed)
    return Shape(kind="disc", x=x, y=0.31, z=0.12, radius=0.31, thick=0.05)


def _coverage(camera: Camera, bodies: list[Body], margin: int) -> Array:
    """What the bodies cover, on the coarse grid."""
    rows, columns = -(-camera.height // COARSE), -(-camera.width // COARSE)
    whole = np.zeros((rows + 2 * margin, columns + 2 * margin), dtype=np.float32)
    for body in bodies:
        for piece in body.pieces:
            cell = COARSE * piece.surface.fine
            left, top = place(camera, body, piece)
            small = shrink(piece.surface.cover, left, top, cell)
            _over(whole, small, left // cell + margin, top // cell + margin)
    return whole


def _over(whole: Array, part: Array, left: int, top: int) -> None:
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + part.shape[1], whole.shape[1]), min(top + part.shape[0], whole.shape[0])
    if x1 > x0 and y1 > y0:
        window = whole[y0:y1, x0:x1]
        np.maximum(window, part[y0 - top : y1 - top, x0 - left : x1 - left], out=window)


MARGIN = 48


def _clear(camera: Camera, body: Body) -> bool:
    """Whether a prop leaves the furniture alone."""
    return camera.project(*body.at)[1] < camera.height * (1 - 1.5 * furniture.OUTER)


def _background(
    told: Scene, camera: Camera, where: Stand, product: Body, others: list[Body], shape: Shape, room: Room
) -> Array:
    """Wall, table and shape, with everything's shadow."""
    standing = [product, *others]
    casters = [
        caster(camera, _coverage(camera, group, MARGIN), z=group[0].at[2], margin=MARGIN)
        for group in _groups(product, others)
    ]
    casters.append(caster(camera, backdrop.silhouette(camera, shape, MARGIN), z=shape.z, margin=MARGIN))
    contacts = [_contact(body) for body in standing if body.at[1] < 0.01 and body.wide]
    foot = shape.radius if shape.kind == "arch" else 0.06
    contacts.append(Contact(x=shape.x, y=0, z=shape.z, wide=foot, deep=0.03, height=0.12))
    lit = replace(room, casters=tuple(casters), contacts=tuple(contacts))
    flame = _flame(product)
    return backdrop.draw(told, lit, shape, flame=flame)


def _groups(product: Body, others: list[Body]) -> list[list[Body]]:
    """Bodies that cast together: what carries the product with it, and the rest."""
    beneath = [body for body in others if abs(body.at[0] - product.at[0]) < 0.01 and body.at[2] == product.at[2]]
    rest = [body for body in others if body not in beneath]
    behind = [body for body in rest if body.at[2] < product.at[2]]
    before = sorted((body for body in rest if body not in behind), key=lambda body: body.at[2])
    return [group for group in ([product, *beneath], behind, before[:2], before[2:]) if group]


def _contact(body: Body) -> Contact:
    x, y, z = body.at
    return Contact(x=x, y=y, z=z, wide=body.wide, deep=body.deep, height=body.height)


def _flame(product: Body) -> tuple[float, float, float] | None:
    for piece in product.pieces:
        if piece.ember:
            return product.at[0], product.at[1] + piece.ember * product.size, product.at[2]
    return None


def _bodies(camera: Camera, room: Room, planes: Array, product: Body, others: list[Body]) -> Array:
    """Everything that stands, back to front; returns the product's mask."""
    mask = np.zeros(planes.shape[1:], dtype=np.float32)
    shadow = caster(camera, _coverage(camera, [product], MARGIN), z=product.at[2], margin=MARGIN)
    under = replace(room, casters=(shadow,), contacts=(_contact(product),))
    for body in sorted([*others, product], key=lambda body: (body.at[2], body.at[1])):
        for piece in body.pieces:
            patch = shade(room if body is product else under, body, piece)
            _lay(planes, patch, mask if body is product else None)
    flame = _flame(product)
    if flame:
        burn(planes, camera, flame, product.size)
    return (np.clip(mask, 0, 1) * 255 + 0.5).astype(np.uint8)


def _lay(planes: Array, patch: Patch, mask: Array | None) -> None:
    height, width = planes.shape[1:]
    x0, y0 = max(patch.left, 0), max(patch.top, 0)
    x1, y1 = min(patch.left + patch.cover.shape[1], width), min(patch.top + patch.cover.shape[0], height)
    if x1 <= x0 or y1 <= y0:
        return
    part = (slice(y0 - patch.top, y1 - patch.top), slice(x0 - patch.left, x1 - patch.left))
    cover = patch.cover[part]
    window = planes[:, y0:y1, x0:x1]
    window *= 1 - cover
    window += patch.light[(slice(None), *part)]
    if mask is not None:
        seen = mask[y0:y1, x0:x1]
        np.maximum(seen, cover, out=seen)


def _develop(planes: Array, *, seed: int) -> Array:
    """Linear light to the bytes people see: vignette, shoulder, sRGB, grain."""
    _, height, width = planes.shape
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    vignette = 1 - 0.17 * ((x**2 + y**2) / 2) ** 1.4
    draw = stream(seed, "grain")
    noise = draw.standard_normal((height, width), dtype=np.float32)
    # Neighbours share a little: film grain has a size.
    noise[:, 1:] = 0.8 * noise[:, 1:] + 0.6 * noise[:, :-1]
    grain = np.rint(noise * GRAIN).astype(np.int16)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    scale = vignette * np.float32(CURVE_STEPS / CURVE_TOP)
    for plane in range(3):
        at = np.clip(planes[plane] * scale, 0, CURVE_STEPS - 1).astype(np.uint16)
        pixels[:, :, plane] = np.clip(CURVE[at] + grain, 0, 255)
    return pixels


def _frame_of(mask: Array, camera: Camera, product: Body, eye: float) -> tuple[tuple[float, float], tuple[float, float, float, float]]:
    """Focal point and live area: the product with a little air."""
    rows, columns = np.flatnonzero(mask.max(axis=1) > 127), np.flatnonzero(mask.max(axis=0) > 127)
    height, width = mask.shape
    air = 0.02 * min(height, width)
    left, right = max(0.0, float(columns[0]) - air) / width, min(width, float(columns[-1]) + 1 + air) / width
    top, bottom = max(0.0, float(rows[0]) - air) / height, min(height, float(rows[-1]) + 1 + air) / height
    column, row = camera.project(product.at[0], product.at[1] + eye * product.size, product.at[2])
    focal = (min(max(column / width, left), right), min(max(row / height, top), bottom))
    return (round(focal[0], 4), round(focal[1], 4)), (round(left, 4), round(top, 4), round(right, 4), round(bottom, 4))
