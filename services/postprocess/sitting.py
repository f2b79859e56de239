"""One original, decoded once, and every rendition that is cut from it, in the order the documents give."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.postprocess.checks.profile import profile
from services.postprocess.decoding import inspect
from services.postprocess.encoding import Encoded, encode, encode_within
from services.postprocess.memory import ran_out
from services.postprocess.operations import Frame, Materials, operations
from services.postprocess.operations.colour import promised
from services.postprocess.orders import Derivative, Order
from services.postprocess.pictures import Picture
from services.postprocess.pixels import is_transparent
from shared.errors import unreadable
from shared.events import Verdict
from shared.library.documents import Operation, Rendition

# Recipes name a quality they like, not one they bear: under a byte budget the search stops here. Below it, blocks
# and mosquito noise show on flat walls at any size.
QUALITY_FLOOR = 40
# A reviewer judges edges and colour on these, so they keep full colour resolution and cost 5 ms each.
PROXY_QUALITY = 90
# What is laid on a picture that is whole without it.
OVERLAYS = frozenset({"text", "logo", "badge", "watermark", "mark"})
# A rendition that names no operations wants what its size says.
USUAL = (Operation(op="crop"), Operation(op="resize"))


class BadRecipe(Exception):
    """A recipe asks for an operation or a parameter there is none of; the message names the place."""


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


def renditions(sitting: Sitting) -> Iterator[Derivative]:
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


def proxies(sitting: Sitting) -> Iterator[Derivative]:
    """Pictures for the review page, never enlarged: the first size beyond the original's own is a copy at its own."""
    longest, sides = max(sitting.picture.size), sorted(sitting.order.proxies)
    smaller = [side for side in sides if side < longest]
    for side in sides[: len(smaller) + 1]:
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
