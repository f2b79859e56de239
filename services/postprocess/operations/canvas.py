"""Another ground behind what was cut out: a colour, one of the brand's, or the picture itself out of focus."""

from dataclasses import replace

import cv2
import numpy as np

from services.postprocess.operations.frame import Frame, extent
from services.postprocess.operations.layout import Area, inset
from services.postprocess.operations.layout import placed as anchored
from services.postprocess.operations.operation import Operation
from services.postprocess.operations.pad import placed
from services.postprocess.pixels import WHITE, Colour, Pixels, colour_of, is_transparent, plain
from shared.events import Verdict
from shared.library.operations import Canvas

# A contact shadow: how flat it lies under the product, how soft it is against the product's width.
FLATNESS, SOFTNESS = 0.07, 0.05


def canvas(frame: Frame, wanted: Canvas) -> Frame:
    width, height = frame.wanted
    ground, fault = _ground(frame, wanted, width, height)
    inner = _sized(_closed_in(frame) if wanted.fill else frame, wanted, width, height)
    corner = _corner(inner, wanted, width, height)
    if wanted.shadow and is_transparent(inner.pixels()):
        ground = _shaded(ground, inner, corner, wanted.shadow)
    made = placed(inner, ground, corner)
    return made.judged(fault) if fault else made


def _ground(frame: Frame, wanted: Canvas, width: int, height: int) -> tuple[Pixels, Verdict | None]:
    if wanted.background == "blur":
        return _blurred(frame, width, height), None
    colour = _colour(frame, wanted.background)
    if colour is not None:
        return plain(width, height, colour), None
    sentence = f"The brand has no colour {wanted.background}, so the ground is white: correct the recipe or the brand."
    return plain(width, height, WHITE), Verdict(check="canvas", ok=False, sentence=sentence)


def _colour(frame: Frame, named: str) -> Colour | None:
    text = named if named.startswith("#") else frame.materials.palette.get(named)
    return colour_of(text) if text else None


def _blurred(frame: Frame, width: int, height: int) -> Pixels:
    """The picture stretched over the canvas and so soft that nothing in it is told apart."""
    small = np.ascontiguousarray(frame.picture.render(frame.window, 32, 32)[..., :3])
    soft = cv2.GaussianBlur(small, (0, 0), 4)
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _closed_in(frame: Frame) -> Frame:
    """Just what can be seen: the box around everything that is not see-through, else around the product."""
    whole = frame.whole()
    pixels = whole.pixels()
    box = extent(np.ascontiguousarray(pixels[..., 3])) if is_transparent(pixels) else whole.live
    return replace(whole, window=box) if box and min(box.width, box.height) >= 1 else whole


def _sized(frame: Frame, wanted: Canvas, width: int, height: int) -> Frame:
    share = wanted.fill or 1.0
    factor = min(wanted.enlarge, share * width / frame.window.width, share * height / frame.window.height)
    size = (max(1, round(frame.window.width * factor)), max(1, round(frame.window.height * factor)))
    return frame.rendered(min(size[0], width), min(size[1], height))


def _corner(inner: Frame, wanted: Canvas, width: int, height: int) -> tuple[int, int]:
    """Where its left and top go: at the anchor, with as much air at the edge as it has above or beside it."""
    area = inset(Area(0, 0, width, height), (1 - (wanted.fill or 1)) / 2)
    place = anchored(inner.size, area, wanted.anchor, locale=inner.materials.locale)
    return min(max(place.left, 0), width - inner.size[0]), min(max(place.top, 0), height - inner.size[1])


def _shaded(ground: Pixels, inner: Frame, corner: tuple[int, int], strength: float) -> Pixels:
    """The ground with a soft ellipse where the product stands."""
    across, down = inner.size
    shade = np.zeros(ground.shape[:2], dtype=np.float32)
    axes = max(1, round(across * 0.46)), max(1, round(across * FLATNESS))
    cv2.ellipse(shade, (corner[0] + across // 2, corner[1] + down - axes[1] // 2), axes, 0, 0, 360, strength, -1)
    soft = cv2.GaussianBlur(shade, (0, 0), max(1.0, across * SOFTNESS))
    return np.asarray(np.rint(ground * (1 - soft[..., None])), dtype=np.uint8)


CANVAS = Operation.of("canvas", Canvas, canvas)
