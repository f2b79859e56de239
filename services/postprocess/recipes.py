"""Runs recipes over one original: decoded once, every rendition cut from it, in the order the documents give.

Imported by the child process only. What comes in and goes out is plain data, so the worker and its children need
trust each other no further than JSON.
"""

import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from services.postprocess.beside import PHOTO, Beside, beside
from services.postprocess.checks.examine import examine
from services.postprocess.checks.moderation import MODERATION, moderated
from services.postprocess.checks.profile import profile
from services.postprocess.checks.view import View
from services.postprocess.decoding import Facts, decode, inspect
from services.postprocess.encoding import Encoded, encode, encode_within, versions
from services.postprocess.memory import ran_out
from services.postprocess.operations import NO_EQUIPMENT, Equipment, Frame, Materials, operations
from services.postprocess.operations.colour import promised
from services.postprocess.pictures import Picture
from services.postprocess.pixels import is_transparent
from shared.errors import unreadable
from shared.events import Measures, SourceType, Verdict
from shared.library.documents import Operation, Recipe, Rendition
from shared.pictures import Admitted, Limits

# Recipes name a quality they like, not one they bear: under a byte budget the search stops here. Below it, blocks
# and mosquito noise show on flat walls at any size.
QUALITY_FLOOR = 40
# A reviewer judges edges and colour on these, so they keep full colour resolution and cost 5 ms each.
PROXY_QUALITY = 90
LIMITS = Limits()
# What is laid on a picture that is whole without it.
OVERLAYS = frozenset({"text", "logo", "badge", "watermark", "mark"})
# A rendition that names no operations wants what its size says.
USUAL = (Operation(op="crop"), Operation(op="resize"))


class BadRecipe(Exception):
    """A recipe asks for an operation or a parameter there is none of; the message names the place."""


class Origin(BaseModel):
    """What is said in every published file of where it comes from; signed where there are `certificates` (PEM).

    Of a draft nothing is signed: it leaves the room that signing would take, and comes out as it would be signed.
    `manifest` and `recipes` are SHA-256: of what the image can be made again from, and of each channel's recipe.
    """

    model_config = ConfigDict(frozen=True)

    source_type: SourceType
    alt_text: str | None = None
    caption: str | None = None
    manifest: str
    recipes: dict[str, str]
    certificates: str | None = None
    algorithm: str = ""
    anchors: str = ""
    is_draft: bool = False


class Order(BaseModel):
    """What is to be made of one original: recipes by channel, and the longest sides of the review proxies.

    `texts`, `locale` and `palette` are what overlays may say and in which colours. `inputs` names the pictures that
    come with the original, in order: `mask`, `photo` of the approved product, and `mark/NAME` for the brand's own;
    `missing` says of those that should and do not, why.
    `checks` are those to be made beside the usual ones, `limits` take the place of the shipped ones. `reserve` is,
    by channel and rendition, what of a byte budget belongs to what is said of the file.
    """

    model_config = ConfigDict(frozen=True)

    recipes: dict[str, Recipe]
    proxies: tuple[int, ...] = ()
    focal: tuple[float, float] | None = None
    live_area: tuple[float, float, float, float] | None = None
    texts: dict[str, str] = {}
    locale: str = "en"
    palette: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    missing: dict[str, str] = {}
    asset: UUID | None = None
    origin: Origin | None = None
    reserve: dict[str, dict[str, int]] = {}
    checks: tuple[str, ...] = ()
    limits: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Sitting:
    """One decoded original with all that its renditions share."""

    order: Order
    picture: Picture
    mask: Picture | None
    materials: Materials

    def frame(self, wanted: tuple[int, int], safe: tuple[float, float, float, float] | None = None) -> Frame:
        return Frame.of(
            self.picture,
            wanted=wanted,
            focal=self.order.focal,
            live=self.order.live_area,
            mask=self.mask,
            safe=safe,
            materials=self.materials,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """One file that was made, with everything that made it. `channel` is None for a review proxy.

    The manifest names every operation that was asked for, `changed_by` those that changed the picture: what is claimed.
    """

    channel: str | None
    rendition: str
    data: bytes
    facts: Facts
    wanted_type: str
    wanted: tuple[int, int]
    exact: bool
    max_bytes: int | None
    manifest: dict[str, Any]
    verdicts: tuple[Verdict, ...] = ()
    unsigned_sha256: str | None = None
    changed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Developed:
    """`original` is what the original's own bytes say of themselves; `unsigned` why nothing could be signed."""

    original: Facts
    derivatives: list[Derivative]
    versions: dict[str, str]
    checks: list[Verdict]
    measures: Measures
    unsigned: str | None = None


def develop(
    data: bytes | Admitted,
    order: Order,
    inputs: Sequence[bytes] = (),
    *,
    equipment: Equipment = NO_EQUIPMENT,
    limits: Limits = LIMITS,
) -> Developed:
    """Every derivative of the original. Raises Refused and BadRecipe."""
    picture, facts = decode(data, limits, wide=_wants_its_own_colours(order))
    found = beside(dict(zip(order.inputs, inputs, strict=True)), order.missing, limits)
    sitting = _sitting(order, picture, found, equipment)
    made = [*_proxies(sitting), *_renditions(sitting)]
    view = _view(sitting, found)
    checks, measures = examine(view, asked=order.checks, limits=order.limits)
    checks += found.unmasked()
    if equipment.models.moderation or MODERATION in order.checks:
        checks.append(moderated(view, equipment.models, limit=order.limits.get(MODERATION)))
    return Developed(facts, made, versions() | _scored_by(equipment), checks, measures)


def _scored_by(equipment: Equipment) -> dict[str, str]:
    """Of a model that made no file, and so is named by none."""
    return {hook: name for hook, name in equipment.models.names.items() if hook == MODERATION}


def _view(sitting: Sitting, found: Beside) -> View:
    """What checks look at."""
    return View.of(
        sitting.picture.full,
        mask=None if sitting.mask is None else sitting.mask.full.reshape(sitting.mask.full.shape[:2]),
        live=sitting.order.live_area,
        palette=tuple(sitting.order.palette.values()),
        photo=found.photo,
        photo_absent=found.absent.get(PHOTO),
    )


def _sitting(order: Order, picture: Picture, found: Beside, equipment: Equipment) -> Sitting:
    materials = Materials(
        texts=order.texts,
        locale=order.locale,
        palette=order.palette,
        marks=found.marks,
        absent=found.absent,
        asset=order.asset,
        equipment=equipment,
    )
    # A mask of another size is of another picture.
    mask = found.mask if found.mask and found.mask.size == picture.size else None
    return Sitting(order, picture, mask, materials)


def _wants_its_own_colours(order: Order) -> bool:
    steps = (step for recipe in order.recipes.values() for made in recipe.renditions for step in made.operations)
    return any(step.op == "colour" for step in steps)


def _renditions(sitting: Sitting) -> Iterator[Derivative]:
    for channel, recipe in sitting.order.recipes.items():
        for rendition in recipe.renditions:
            if rendition.optional and _is_smaller(sitting.picture, rendition):
                continue
            yield _rendition(sitting, channel, rendition, where=f"{recipe.label}, {rendition.name}")


def _rendition(sitting: Sitting, channel: str, rendition: Rendition, *, where: str) -> Derivative:
    steps = [step for step in rendition.operations or USUAL if _applies(step, sitting.materials.market)]
    wanted = (rendition.width, rendition.height)
    frame, changed_by = sitting.frame(wanted, rendition.safe_area), []
    for step in steps:
        frame, differs = _compared(frame, step, where=where)
        if differs:
            changed_by.append(step.op)
    reserve = sitting.order.reserve.get(channel, {}).get(rendition.name, 0)
    encoded = encode_within(
        frame.pixels(),
        rendition.format,
        quality=rendition.quality,
        floor=min(QUALITY_FLOOR, rendition.quality),
        budget=rendition.max_bytes and max(1, rendition.max_bytes - reserve),
        profile=frame.picture.profile,
    )
    return Derivative(
        channel=channel,
        rendition=rendition.name,
        data=encoded.data,
        facts=inspect(encoded.data),
        wanted_type=f"image/{rendition.format}",
        wanted=wanted,
        exact=frame.exact,
        max_bytes=rendition.max_bytes,
        manifest={"operations": [step.model_dump() for step in steps], **_how(encoded), **_noted(frame)},
        verdicts=(*frame.verdicts, *_colours(steps, sitting.picture, encoded.data)),
        changed_by=tuple(changed_by),
    )


def _compared(frame: Frame, step: Operation, *, where: str) -> tuple[Frame, bool]:
    """What the step made of it, and whether that looks otherwise. A function: what was before is let go at its end."""
    made = _applied(frame, step, where=where)
    return made, not made.looks_like(frame)


def _is_smaller(picture: Picture, rendition: Rendition) -> bool:
    width, height = picture.size
    return width < rendition.width and height < rendition.height


def _colours(steps: Sequence[Operation], picture: Picture, data: bytes) -> tuple[Verdict, ...]:
    """Whether the file has the profile that the recipe asks for last, if it asks for any."""
    asked = [step.params for step in steps if step.op == "colour"]
    return (profile(data, asked=promised(asked[-1], picture)),) if asked else ()


def _applies(step: Operation, market: str | None) -> bool:
    """Whether a step is for this request's market; one that names none is for all."""
    return not step.markets or market in step.markets


def _applied(frame: Frame, step: Operation, *, where: str) -> Frame:
    operation = operations().get(step.op)
    if operation is None:
        raise BadRecipe(f"{where}: there is no operation {step.op!r}; there are {', '.join(sorted(operations()))}")
    try:
        return operation.apply(frame, step.params)
    except ValidationError as error:
        raise BadRecipe(f"{where}, {step.op}: {unreadable(error)}") from error
    except Exception as error:
        if step.op not in OVERLAYS or ran_out(error):
            raise
        sys.stderr.write(f"{where}, {step.op}: left out, for a bug of ours: {traceback.format_exc()}")
        return frame.judged(_failed(step, error))


def _failed(step: Operation, error: Exception) -> Verdict:
    """The picture was paid for, and is not lost for what was to be laid on it."""
    sentence = f"The {step.op} is left out, since it failed ({type(error).__name__}): an operator reads the log."
    return Verdict(check=step.op, ok=False, blocking=True, sentence=sentence, code="other")


def _proxies(sitting: Sitting) -> Iterator[Derivative]:
    """Pictures for the review page, never enlarged: the first size beyond the original's own is a copy at its own."""
    longest, proxies = max(sitting.picture.size), sorted(sitting.order.proxies)
    smaller = [side for side in proxies if side < longest]
    for side in proxies[: len(smaller) + 1]:
        frame = Frame.of(sitting.picture, wanted=(side, side))
        step = Operation(op="resize", params={"mode": "inside"})
        pixels = _applied(frame, step, where="proxies").pixels()
        encoded = encode(pixels, "webp" if is_transparent(pixels) else "jpeg", PROXY_QUALITY)
        yield Derivative(
            channel=None,
            rendition=f"proxy-{side}",
            data=encoded.data,
            facts=inspect(encoded.data),
            wanted_type=f"image/{encoded.format}",
            wanted=(side, side),
            exact=False,
            max_bytes=None,
            manifest={"operations": [step.model_dump()], **_how(encoded)},
        )


def _how(encoded: Encoded) -> dict[str, Any]:
    return {"format": encoded.format, "quality": encoded.quality}


def _noted(frame: Frame) -> dict[str, Any]:
    return {"notes": [list(note) for note in frame.notes]} if frame.notes else {}
