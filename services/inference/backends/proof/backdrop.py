"""Wall, table and the shape behind the product, in the window's light and with everything's shadow on them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from services.inference.backends.proof.camera import COARSE, COS, SIN, SWEEP, Array, Camera
from services.inference.backends.proof.light import KEY
from services.inference.backends.proof.scene import Colour, Scene, mix
from services.inference.backends.proof.shade import Room
from services.inference.backends.proof.shadow import MARGIN, open_sky, sunlit

LINEN = (0.79, 0.755, 0.70)
WARM = (1.0, 0.56, 0.22)
FILL, SUN = 0.74, 0.57


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An arch (standing, `y` is where its round begins) or a disc (hung, `y` is its middle), facing us at depth `z`."""

    kind: str
    x: float
    y: float
    z: float
    radius: float
    thick: float

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance to the outline in its own plane, negative inside."""
        across = x - self.x
        if self.kind == "disc":
            return np.asarray(np.hypot(across, y - self.y) - self.radius)
        round_part = np.hypot(across, np.maximum(y - self.y, 0)) - self.radius
        return np.maximum(round_part, -y)


def table_colour(scene: Scene) -> Colour:
    """Tiles and heroes stand on one seamless sheet; a lifestyle table is pale linen with a breath of the wall."""
    return mix(LINEN, scene.wall, 0.20) if scene.layout == "lifestyle" else scene.wall


def draw(scene: Scene, room: Room, shape: Shape, *, flame: tuple[float, float, float] | None) -> Array:
    """(3, height, width) of linear light."""
    camera = room.camera
    x, y, z = camera.coarse()
    direct, sky = _fields(room, x, y, z)
    if room.lying is not None:
        sky *= 1 - 0.55 * _beneath(room.lying, sky.shape, room.light.side)
    fields = [enlarge(field, camera.width, camera.height) for field in (direct, sky)]
    glow = _glow(camera, flame, x, y, z) if flame else None
    rows = (np.arange(camera.height, dtype=np.float32) + 0.5 - camera.line) / camera.unit
    table = 0.5 + 0.5 * np.tanh(rows / (SWEEP * 1.1))
    planes = np.empty((3, camera.height, camera.width), dtype=np.float32)
    for plane, (wall, top) in enumerate(zip(scene.wall, table_colour(scene), strict=True)):
        albedo = (wall + (top - wall) * table).astype(np.float32)[:, None]
        np.multiply(fields[0], room.light.sun[plane], out=planes[plane])
        planes[plane] += room.light.fill[plane] * fields[1]
        if glow is not None:
            planes[plane] += WARM[plane] * glow
        planes[plane] *= albedo
    _stand_up(scene, room, shape, planes, glow)
    return planes


def enlarge(field: Array, width: int, height: int) -> Array:
    """A coarse field at full size."""
    rows, columns = field.shape
    large = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32)).resize(
        (columns * COARSE, rows * COARSE), Image.Resampling.BICUBIC
    )
    return np.asarray(large)[:height, :width]


def silhouette(camera: Camera, shape: Shape) -> Array:
    """Coverage on the coarse grid, with its margin."""
    rows, columns = -(-camera.height // COARSE), -(-camera.width // COARSE)
    at_column = (np.arange(-MARGIN, columns + MARGIN) + 0.5) * COARSE
    at_row = (np.arange(-MARGIN, rows + MARGIN) + 0.5) * COARSE
    x, y = _plane(camera, shape.z, at_column[None, :], at_row[:, None])
    return np.clip(0.5 - shape.distance(x, y) * camera.unit / COARSE, 0, 1)


def _fields(room: Room, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Key and fill light on the coarse grid."""
    side = room.light.side
    towards = np.tanh(1.1 * side * x)
    on_table = np.clip(z / 0.05, 0, 1)
    facing = 0.96 + 0.04 * on_table
    direct = room.light.pattern(x, y, z) * sunlit(room.camera, side, room.casters, x, y, z) * facing
    fold = 1 - 0.10 * np.exp(-((y / 0.07) ** 2) - (z / 0.30) ** 2)
    sky = (1 + 0.17 * towards) * (1 - 0.10 * np.clip(y - 0.15, 0, 1)) * fold * (1 + 0.05 * on_table)
    sky = sky * open_sky(room.contacts, x, y, z)
    return (SUN * direct).astype(np.float32), (FILL * sky).astype(np.float32)


def _beneath(lying: Array, shape: tuple[int, ...], side: int) -> Array:
    """What lies flat shows a thread of shade on the side away from the light, and towards us."""
    rows, columns = (
        slice(MARGIN - shift, MARGIN - shift + size) for shift, size in zip((1, -side), shape, strict=True)
    )
    beneath: Array = lying[rows, columns]
    return beneath


def _glow(camera: Camera, flame: tuple[float, float, float], x: Array, y: Array, z: Array) -> Array:
    """Candle light on what is behind it: falls off with the distance and has no edge anywhere."""
    away = np.sqrt((x - flame[0]) ** 2 + (y - flame[1] * 0.9) ** 2 + (0.55 * (z - flame[2])) ** 2)
    coarse = 0.72 / (1 + (away / 0.20) ** 2) ** 1.6
    return enlarge(coarse.astype(np.float32), camera.width, camera.height)


def _stand_up(scene: Scene, room: Room, shape: Shape, planes: Array, glow: Array | None) -> None:
    """The shape over the wall: first its edge, which shows above it because we look down, then its face."""
    camera = room.camera
    reach = shape.radius + 4 / camera.unit
    low = 0.0 if shape.kind == "arch" else shape.y - reach
    left, top = camera.project(shape.x - reach, shape.y + reach, shape.z - shape.thick)
    right, bottom = camera.project(shape.x + reach, low, shape.z)
    x0, x1 = _span(left, right, camera.width)
    y0, y1 = _span(top, bottom + 2, camera.height)
    if x1 <= x0 or y1 <= y0:
        return
    columns = (np.arange(x0, x1, dtype=np.float32) + 0.5)[None, :]
    rows = (np.arange(y0, y1, dtype=np.float32) + 0.5)[:, None]
    window = planes[:, y0:y1, x0:x1]
    front_x, front_y = _plane(camera, shape.z, columns, rows)
    back_x, back_y = _plane(camera, shape.z - shape.thick, columns, rows)
    edge = np.clip(0.5 - shape.distance(back_x, back_y) * camera.unit, 0, 1)
    face = np.clip(0.5 - shape.distance(front_x, front_y) * camera.unit, 0, 1)

    coarse_x, coarse_y = _plane(camera, shape.z, columns[:, COARSE // 2 :: COARSE], rows[COARSE // 2 :: COARSE])
    bare = Room(camera=camera, light=room.light, casters=tuple(c for c in room.casters if c.z > shape.z + 0.01))
    direct, sky = _fields(bare, coarse_x, coarse_y, np.full_like(coarse_y, shape.z))
    foot = 1 - 0.22 * np.exp(-np.maximum(coarse_y, 0) / 0.035) if shape.kind == "arch" else np.ones_like(coarse_y)
    direct, sky = (
        enlarge(np.broadcast_to(field, (coarse_y.shape[0], coarse_x.shape[1])), x1 - x0, y1 - y0)
        for field in (direct, sky * foot)
    )
    slope = np.arctan2(front_y - shape.y, (front_x - shape.x) * -room.light.side)
    lit = np.clip(np.cos(slope - math.atan2(KEY[1], KEY[0])), 0, 1)
    for plane, colour in enumerate(scene.accent):
        side = colour * (0.52 + 0.50 * lit)
        window[plane] += (side - window[plane]) * edge
        front = colour * (room.light.fill[plane] * sky + room.light.sun[plane] * direct)
        if glow is not None:
            front += colour * WARM[plane] * glow[y0:y1, x0:x1]
        window[plane] += (front - window[plane]) * face


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole coarse cells that cover low..high inside the frame."""
    return max(0, math.floor(low / COARSE) * COARSE), min(size, math.ceil(high / COARSE) * COARSE)


def _plane(camera: Camera, z: float, columns: Array, rows: Array) -> tuple[Array, Array]:
    """Where on the upright plane at depth `z` the pixels look."""
    return (columns - camera.centre) / camera.unit, (z * SIN - (rows - camera.line) / camera.unit) / COS
