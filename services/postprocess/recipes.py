"""Runs recipes over one original: decoded once, every rendition cut from it, in the order the documents give.

Imported by the child process only. What comes in and goes out is plain data, so the worker and its children need
trust each other no further than JSON.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from services.postprocess import imaging
from services.postprocess.imaging import Encoded, Facts, Limits, Picture
from services.postprocess.operations import Frame, operations
from shared.library.documents import Operation, Recipe, Rendition

# Recipes name a quality they like, not one they bear: under a byte budget the search stops here. Below it, blocks
# and mosquito noise show on flat walls at any size.
QUALITY_FLOOR = 40
# A reviewer judges edges and colour on these, so they keep full colour resolution and cost 5 ms each.
PROXY_QUALITY = 90
LIMITS = Limits()
# A rendition that names no operations wants what its size says.
USUAL = (Operation(op="crop"), Operation(op="resize"))


class BadRecipe(Exception):
    """A recipe asks for an operation or a parameter there is none of; the message names the place."""


class Order(BaseModel):
    """What is to be made of one original: recipes by channel, and the longest sides of the review proxies."""

    model_config = ConfigDict(frozen=True)

    recipes: dict[str, Recipe]
    proxies: tuple[int, ...] = ()
    focal: tuple[float, float] | None = None
    live_area: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """One file that was made, with everything that made it. `channel` is None for a review proxy."""

    channel: str | None
    rendition: str
    data: bytes
    facts: Facts
    wanted_type: str
    wanted: tuple[int, int]
    exact: bool
    max_bytes: int | None
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Developed:
    """`original` is what the original's own bytes say of themselves."""

    original: Facts
    derivatives: list[Derivative]
    versions: dict[str, str]


def develop(data: bytes, order: Order, limits: Limits = LIMITS) -> Developed:
    """Every derivative of the original. Raises imaging.CorruptImage and BadRecipe."""
    picture, facts = imaging.decode(data, limits)
    made = [*_proxies(picture, order), *_renditions(picture, order)]
    return Developed(facts, made, imaging.versions())


def _renditions(picture: Picture, order: Order) -> Iterator[Derivative]:
    for channel, recipe in order.recipes.items():
        for rendition in recipe.renditions:
            yield _rendition(picture, order, channel, rendition, where=f"{recipe.label}, {rendition.name}")


def _rendition(picture: Picture, order: Order, channel: str, rendition: Rendition, *, where: str) -> Derivative:
    steps = rendition.operations or USUAL
    wanted = (rendition.width, rendition.height)
    frame = Frame.of(picture, wanted=wanted, focal=order.focal, live=order.live_area)
    for step in steps:
        frame = _applied(frame, step, where=where)
    encoded = imaging.encode_within(
        frame.pixels(),
        rendition.format,
        quality=rendition.quality,
        floor=min(QUALITY_FLOOR, rendition.quality),
        budget=rendition.max_bytes,
    )
    return Derivative(
        channel=channel,
        rendition=rendition.name,
        data=encoded.data,
        facts=imaging.inspect(encoded.data),
        wanted_type=f"image/{rendition.format}",
        wanted=wanted,
        exact=frame.exact,
        max_bytes=rendition.max_bytes,
        manifest={"operations": [step.model_dump() for step in steps], **_how(encoded)},
    )


def _applied(frame: Frame, step: Operation, *, where: str) -> Frame:
    operation = operations().get(step.op)
    if operation is None:
        raise BadRecipe(f"{where}: there is no operation {step.op!r}; there are {', '.join(sorted(operations()))}")
    try:
        return operation.apply(frame, step.params)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise BadRecipe(f"{where}, {step.op}: {faults}") from error


def _proxies(picture: Picture, order: Order) -> Iterator[Derivative]:
    """Pictures for the review page, never enlarged: the first size beyond the original's own is a copy at its own."""
    longest = max(picture.full.size)
    smaller = [side for side in sorted(order.proxies) if side < longest]
    sides = sorted(order.proxies)[: len(smaller) + 1]
    for side in sides:
        frame = Frame.of(picture, wanted=(side, side))
        step = Operation(op="resize", params={"mode": "inside"})
        image = _applied(frame, step, where="proxies").pixels()
        encoded = imaging.encode(image, "webp" if image.mode == "RGBA" else "jpeg", PROXY_QUALITY)
        yield Derivative(
            channel=None,
            rendition=f"proxy-{side}",
            data=encoded.data,
            facts=imaging.inspect(encoded.data),
            wanted_type=f"image/{encoded.format}",
            wanted=(side, side),
            exact=False,
            max_bytes=None,
            manifest={"operations": [step.model_dump()], **_how(encoded)},
        )


def _how(encoded: Encoded) -> dict[str, Any]:
    return {"format": encoded.format, "quality": encoded.quality}
