"""Good and faulty pictures for each check, a few of each from every seed, and what the check says of them."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inference.backends.proof.scene import PALETTE
from services.postprocess.checks.alike import alike
from services.postprocess.checks.colours import ciede2000
from services.postprocess.checks.examine import pixel_checks
from services.postprocess.checks.likeness import fingerprint
from services.postprocess.checks.view import Area, View, lab_of
from services.postprocess.compositing import flatten
from services.postprocess.pixels import Pixels
from services.postprocess.twins import LIMIT
from tests.inference.scenes import EVERY_FORM
from tests.postprocess.labelled.drawing import COLOURS, LABELS, WALLS, asked, draw
from tests.postprocess.labelled.faults import BLANK, CLIPPED, NOISE, SOFT, Chance, Change, afterwards, harmless, pushed
from tests.postprocess.labelled.files import sizes, texts
from tests.postprocess.labelled.said import Said, chance_of

# A wall that is turned but still this near (ΔE00) to a colour of the brand is in the brand's colours.
OFF = 8.0
# An original of today's models has a thousand pixels a side; labels are drawn at three quarters of that.
CLOSER = 2.0


def judged(check: str, kind: str, view: View, *, faulty: bool) -> Said:
    verdict = pixel_checks()[check].judge(view)
    return Said(kind, faulty, verdict.ok, verdict.number)


def changed(check: str, faults: tuple[Change, ...], seed: int) -> Iterator[Said]:
    """Good: as drawn or harmlessly changed, and cut out on white. Faulty: by each of the faults."""
    chance, drawn = chance_of(seed, check), draw(seed)
    yield judged(check, "as drawn", drawn.view(), faulty=False)
    yield judged(check, "harmless", drawn.but(harmless(drawn.pixels, chance)).view(), faulty=False)
    if check != "palette":
        white = flatten(np.dstack([drawn.pixels, drawn.mask]))
        yield judged(check, "on white", drawn.but(harmless(white, chance)).view(), faulty=False)
    for fault in faults:
        spoilt = drawn.but(afterwards(fault(drawn.pixels, chance), chance))
        yield judged(check, fault.__name__, spoilt.view(), faulty=True)


def palettes(seed: int) -> Iterator[Said]:
    """Off-palette: the wall has a colour of the brand, turned in hue by 25° to 60°."""
    yield from changed("palette", (), seed)
    chance = chance_of(seed, "palette")
    for _ in range(2):
        spoilt = draw(seed, wall=_off_palette(chance))
        yield judged("palette", "wall turned", spoilt.but(harmless(spoilt.pixels, chance)).view(), faulty=True)


def _off_palette(chance: Chance) -> str:
    brand = [_lab(colour) for colour in COLOURS]
    while True:
        light, a, b = _lab(PALETTE[str(chance.choice(WALLS))])
        turned = np.arctan2(b, a) + np.radians(chance.uniform(25, 60) * chance.choice([-1, 1]))
        lab = np.array([[[light, *np.hypot(a, b) * np.array([np.cos(turned), np.sin(turned)])]]], dtype=np.float32)
        rgb = np.clip(np.rint(np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)) * 255), 0, 255).astype(np.uint8)
        if min(float(ciede2000(lab_of(rgb)[0, 0], colour)) for colour in brand) >= OFF:
            return f"#{rgb.tobytes().hex()}"


def _lab(colour: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = lab_of(np.array([[list(bytes.fromhex(colour[1:]))]], dtype=np.uint8))[0, 0]
    return found


def twins(seed: int) -> Iterator[Said]:
    """Twins: written again, smaller, shifted, brighter, or all of it. Not: another wall, variant or form."""
    chance, drawn = chance_of(seed, "twin"), draw(seed)
    first = fingerprint(drawn.view().pixels, live=drawn.live)
    for kind, pixels, live in twins_of(drawn.pixels, drawn.live, chance):
        yield _compared(kind, first, pixels, live, faulty=True)
    others: dict[str, dict[str, Any]] = {
        "another wall": {"wall": _other(chance, WALLS, drawn.asked["wall"], drawn.asked["accent"])},
        "another variant": {"variant": drawn.asked["variant"] % 3 + 1},
        "another form": {"form": _other(chance, EVERY_FORM, drawn.asked["form"])},
    }
    for kind, change in others.items():
        other = draw(seed, **change)
        yield _compared(kind, first, other.pixels, other.live, faulty=False)


def _compared(kind: str, first: str, pixels: Pixels, live: Area | None, *, faulty: bool) -> Said:
    number = alike(first, fingerprint(View.of(pixels).pixels, live=live))
    return Said(kind, faulty, number < LIMIT, number)


def twins_of(pixels: Pixels, live: Area | None, chance: Chance) -> Iterator[tuple[str, Pixels, Area | None]]:
    """What becomes of one picture on its way into another job, and where its product is then."""
    yield "written again", _written(pixels, int(chance.integers(50, 90))), live
    yield "smaller", _sized(pixels, chance.uniform(0.4, 0.9)), live
    yield "brighter or darker", _lit(pixels, chance), live
    moved, there = _shifted(pixels, live, chance.uniform(-0.02, 0.02, 2))
    yield "shifted", moved, there
    moved, there = _shifted(pixels, live, chance.choice([-0.02, 0.02], 2))
    yield "all at once", _written(_sized(_lit(moved, chance), 0.6), 60), there


def _shifted(pixels: Pixels, live: Area | None, by: Any) -> tuple[Pixels, Area | None]:
    height, width = pixels.shape[:2]
    move = np.array([[1, 0, by[0] * width], [0, 1, by[1] * height]], dtype=np.float32)
    moved = cv2.warpAffine(pixels, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8), live and tuple(edge + by[at % 2] for at, edge in enumerate(live))


def _sized(pixels: Pixels, share: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = round(width * share), round(height * share)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _lit(pixels: Pixels, chance: Chance) -> Pixels:
    """Five hundredths brighter or darker, as shown."""
    return pushed(pixels, float(chance.choice([0.95, 1.05])) ** 2.2)


def _written(pixels: Pixels, quality: int) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def fidelities(seed: int) -> Iterator[Said]:
    """Wrong: the product has another form, or another colour."""
    chance, told = chance_of(seed, "fidelity"), asked(seed)
    yield _beside_photo("fidelity", "as drawn", seed, faulty=False)
    yield _beside_photo("fidelity", "another form", seed, faulty=True, form=_other(chance, EVERY_FORM, told["form"]))
    yield _beside_photo("fidelity", "another colour", seed, faulty=True, tint=_other(chance, WALLS, told["tint"]))


def labels(seed: int) -> Iterator[Said]:
    """Wrong: the label of another product, or letters that a model made up."""
    chance, told = chance_of(seed, "label"), asked(seed)
    others = [label for label in LABELS if label[1] != told["name"]]
    title, name, line = others[chance.integers(len(others))]
    yield _beside_photo("label", "as drawn", seed, faulty=False)
    yield _beside_photo("label", "another label", seed, faulty=True, name=name, label={"title": title, "line": line})
    made_up = {part: _garbled(text, chance) for part, text in told["label"].items()}
    yield _beside_photo("label", "made up", seed, faulty=True, name=_garbled(told["name"], chance), label=made_up)


def _garbled(text: str, chance: Chance) -> str:
    """A third of its letters are others."""
    letters = list(text)
    places = [at for at, letter in enumerate(letters) if letter.isalpha()]
    for at in chance.choice(places, max(2, len(places) // 3), replace=False):
        letters[at] = str(chance.choice(list("aeioumnrstlkxz")))
    return "".join(letters)


def _beside_photo(check: str, kind: str, seed: int, *, faulty: bool, **changes: Any) -> Said:
    """The approved photo: the product as it should be, cut out of a scene of its own."""
    own = draw(seed, scale=CLOSER, layout="tile", variant=1, wall="fog", accent="bone", light_side="left")
    drawn = draw(seed, scale=CLOSER, **changes)
    chance = chance_of(seed, f"{check}/{kind}")
    photo = np.dstack([own.pixels, own.mask])
    return judged(
        check, kind, drawn.but(harmless(drawn.pixels, chance)).view(photo=photo, mask=drawn.mask), faulty=faulty
    )


def _other(chance: Chance, among: Any, *than: str) -> str:
    return str(chance.choice([each for each in among if each not in than]))


SETS: dict[str, Callable[[int], Iterator[Said]]] = {
    "entropy": lambda seed: changed("entropy", BLANK, seed),
    "noise": lambda seed: changed("noise", NOISE, seed),
    "blur": lambda seed: changed("blur", SOFT, seed),
    "clipping": lambda seed: changed("clipping", CLIPPED, seed),
    "palette": palettes,
    "twin": twins,
    "fidelity": fidelities,
    "label": labels,
    "dimensions": sizes,
    "text": texts,
}
