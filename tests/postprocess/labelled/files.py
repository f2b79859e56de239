"""Faults of what is written and laid on pictures: a wrong size, and letters outside of the safe area."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from services.postprocess.checks.files import Subject, dimensions
from services.postprocess.compositing import inked
from services.postprocess.operations import Frame, Materials
from services.postprocess.operations.layout import Area, safe_area
from services.postprocess.operations.lettering import composed, ink_of, pitch, verdict_on
from services.postprocess.pictures import Picture
from services.postprocess.pixels import Pixels
from services.postprocess.typesetting import Drawn as Letters
from services.postprocess.typesetting import Room, fit
from services.postprocess.typesetting import draw as drawn_letters
from tests.postprocess.labelled.drawing import draw
from tests.postprocess.labelled.faults import Chance
from tests.postprocess.labelled.said import Said, chance_of

HEADLINES = (("en", "Evenings that smell of salt"), ("ar", "دفء الشتاء في زجاجة"), ("ja", "菩提樹の花、冬の一杯に。"))
SAFE = (0.1, 0.14, 0.9, 0.8)


def texts(seed: int) -> Iterator[Said]:
    """Outside: some pixels of ink over an edge of the safe area, as the picture itself shows."""
    chance, drawn = chance_of(seed, "text"), draw(seed)
    locale, words = HEADLINES[seed % len(HEADLINES)]
    height, width = drawn.pixels.shape[:2]
    frame = Frame.of(Picture(drawn.pixels), wanted=(width, height), safe=SAFE, materials=Materials(locale=locale))
    setting = composed(words, frame.materials, weight=500, families={})
    room = Room(width=width // 3, height=height // 3, largest=36, least=10, lines=3, leading=pitch(locale))
    letters = drawn_letters(fit(setting, room), "left")
    yield _laid(frame, letters, _within(frame, letters, chance), kind="inside")
    for kind in ("a little outside", "far outside"):
        by = int(chance.integers(1, 4) if kind == "a little outside" else chance.integers(4, 40))
        yield _laid(frame, letters, _beyond(frame, letters, chance, by), kind=kind)


def _within(frame: Frame, letters: Letters, chance: Chance) -> tuple[int, int]:
    area, (width, height) = safe_area(frame), letters.size
    across, down = max(1, area.width - width + 1), max(1, area.height - height + 1)
    return area.left + int(chance.integers(across)), area.top + int(chance.integers(down))


def _beyond(frame: Frame, letters: Letters, chance: Chance, by: int) -> tuple[int, int]:
    """As far over one of the edges."""
    area, (width, height), (left, top) = safe_area(frame), letters.size, _within(frame, letters, chance)
    edges = (
        (area.left - by, top),
        (area.right - width + by, top),
        (left, area.top - by),
        (left, area.bottom - height + by),
    )
    return edges[chance.integers(len(edges))]


def _laid(frame: Frame, letters: Letters, at: tuple[int, int], *, kind: str) -> Said:
    """The truth is of pixels that changed, the verdict of boxes."""
    left, top = at
    place = Area(left, top, left + letters.size[0], top + letters.size[1])
    before = np.zeros_like(frame.pixels())
    changed = inked(before, letters.coverage, (255, 255, 255), left=left, top=top)
    area = safe_area(frame)
    changed[area.top : area.bottom, area.left : area.right] = 0
    inside = area.holds(ink_of(letters, place))
    verdict = verdict_on("The headline stands", inside=inside, found=21.0, wanted=4.5)
    return Said(kind, bool(changed.any()), verdict.ok, verdict.number)


def sizes(seed: int) -> Iterator[Said]:
    """Wrong size: some pixels more or fewer than promised, in a real file."""
    chance, drawn = chance_of(seed, "dimensions"), draw(seed)
    height, width = drawn.pixels.shape[:2]
    yield _filed("as promised", drawn.pixels, (width, height), faulty=False)
    less = drawn.pixels[: height - int(chance.integers(1, 12)), : width - int(chance.integers(0, 12))]
    yield _filed("wrong size", less, (width, height), faulty=True)


def _filed(kind: str, pixels: Pixels, wanted: tuple[int, int], *, faulty: bool) -> Said:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    with Image.open(out) as file:
        width, height = file.size
    subject = Subject(
        label=kind,
        name="a.jpg",
        media_type="image/jpeg",
        width=width,
        height=height,
        bytes=len(out.getvalue()),
        wanted_type="image/jpeg",
        wanted=wanted,
    )
    verdict = dimensions(subject)
    return Said(kind, faulty, verdict.ok, verdict.number)
