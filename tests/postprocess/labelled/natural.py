"""The same faults as of proofs (`sets.py`), laid on photographs. Nobody says where their product is."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import cv2
import numpy as np

from services.postprocess.checks.alike import alike
from services.postprocess.checks.colours import ciede2000
from services.postprocess.checks.likeness import fingerprint
from services.postprocess.checks.measures import measured
from services.postprocess.checks.view import SIDE, View, lab_of, resized, seen
from services.postprocess.pixels import Pixels
from services.postprocess.twins import LIMIT
from tests.postprocess.labelled import faults
from tests.postprocess.labelled.faults import BLANK, CLIPPED, NOISE, Change, afterwards, harmless
from tests.postprocess.labelled.photographs import Photograph
from tests.postprocess.labelled.said import Said, chance_of
from tests.postprocess.labelled.sets import OFF, judged, twins_of

# Photographs are seen as large as checks see them, proofs at 384 px: the same share of the picture is soft.
SOFT: tuple[tuple[str, Change], ...] = tuple(
    (name, partial(getattr(faults, name), side=SIDE)) for name in ("gaussian", "defocus", "shake")
)

# As many pixels a side as a check of colours looks at.
SMALL = 48


def natural(check: str, photographs: Sequence[Photograph]) -> list[Said]:
    return [each for photograph in photographs for each in NATURAL[check](photograph, photographs)]


def changed(check: str, changes: Sequence[tuple[str, Change]], photograph: Photograph) -> Iterator[Said]:
    """Good: as taken or harmlessly changed, whole and cut. Faulty: by each of the faults."""
    chance = chance_of(photograph.seed, check)
    for pixels in photograph.shown:
        yield judged(check, "as taken", View.of(pixels), faulty=False)
        yield judged(check, "harmless", View.of(harmless(pixels, chance)), faulty=False)
        for name, change in changes:
            yield judged(check, name, View.of(afterwards(change(pixels, chance), chance)), faulty=True)


def blurs(photograph: Photograph, _: Sequence[Photograph]) -> Iterator[Said]:
    """What is soft all over as it was taken is neither good nor made faulty."""
    return changed("blur", SOFT, photograph) if photograph.sharp else iter(())


def palettes(photograph: Photograph, _: Sequence[Photograph]) -> Iterator[Said]:
    """The brand has the five colours that the photograph is made of. Off-palette: all hues turned by 25° to 60°."""
    chance = chance_of(photograph.seed, "palette")
    brand = [colour for colour, _ in measured(View.of(photograph.whole)).colours]
    for pixels in photograph.shown:
        yield judged("palette", "as taken", View.of(pixels, palette=brand), faulty=False)
        yield judged("palette", "harmless", View.of(harmless(pixels, chance), palette=brand), faulty=False)
        for _again in range(2):
            other = turned(pixels, float(chance.uniform(25, 60) * chance.choice([-1, 1])))
            if apart(pixels, other) >= OFF:
                view = View.of(harmless(other, chance), palette=brand)
                yield judged("palette", "hues turned", view, faulty=True)


def turned(pixels: Pixels, degrees: float) -> Pixels:
    """Every colour with another hue, as light and as strong as before where sRGB has such a colour."""
    lab = lab_of(pixels)
    turn = np.exp(1j * np.radians(degrees)) * (lab[..., 1] + 1j * lab[..., 2])
    lab = np.dstack([lab[..., 0], turn.real, turn.imag]).astype(np.float32)
    whole: Pixels = np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)
    return whole


def apart(pixels: Pixels, other: Pixels) -> float:
    """Mean ΔE00: a grey photograph has no hue to turn."""
    small = [lab_of(resized(each, SMALL, SMALL)) for each in (pixels, other)]
    return float(ciede2000(*small).mean())


def twins(photograph: Photograph, photographs: Sequence[Photograph]) -> Iterator[Said]:
    """Not twins: the photograph of all others that is most alike, and another crop of the same."""
    chance = chance_of(photograph.seed, "twin")
    whole, *closer = photograph.shown
    first = fingerprint(whole)
    for kind, pixels, _ in twins_of(whole, None, chance):
        number = alike(first, fingerprint(seen(pixels)))
        yield Said(kind, faulty=True, ok=number < LIMIT, number=number)
    others = [alike(first, _known(other)) for other in photographs if other is not photograph]
    crops = [alike(first, fingerprint(crop)) for crop in closer]
    for kind, number in [("another photograph", max(others, default=0.0)), *(("another crop", crop) for crop in crops)]:
        yield Said(kind, faulty=False, ok=number < LIMIT, number=number)


@lru_cache(maxsize=512)
def _known(photograph: Photograph) -> str:
    return fingerprint(seen(photograph.whole))


def _changing(check: str, changes: Sequence[Change]) -> Callable[[Photograph, Sequence[Photograph]], Iterator[Said]]:
    named = [(change.__name__, change) for change in changes]
    return lambda photograph, _: changed(check, named, photograph)


NATURAL: dict[str, Callable[[Photograph, Sequence[Photograph]], Iterator[Said]]] = {
    "entropy": _changing("entropy", BLANK),
    "noise": _changing("noise", NOISE),
    "blur": blurs,
    "clipping": _changing("clipping", CLIPPED),
    "palette": palettes,
    "twin": twins,
}
