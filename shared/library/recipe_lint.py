"""What is wrong with the steps of a recipe, found before it is published rather than when the first image is cut."""

from collections.abc import Collection, Iterator

from pydantic import ValidationError

from shared.library.documents import Operation, Recipe, Rendition
from shared.library.faults import Fault, fault
from shared.library.operations import MARKS, PARAMETERS, WITHOUT_PIXELS, Parameters
from shared.library.problems import Loc, problems_of, suggest


def check_steps(recipe: Recipe, *, marks: Collection[str] | None) -> Iterator[Fault]:
    """`marks`: all that a published brand has; None where no brand is known."""
    if recipe.renditions and all(rendition.optional for rendition in recipe.renditions):
        remedy = "leave `optional` off one of them"
        yield fault(
            recipe, ("renditions",), "nothing_made", "all are optional: a small original would give no file", remedy
        )
    for number, rendition in enumerate(recipe.renditions):
        at: Loc = ("renditions", number)
        yield from _safe_area(recipe, rendition, at)
        yield from _wide_colours(recipe, rendition, at)
        for place, step in enumerate(rendition.operations):
            yield from _step(recipe, step, (*at, "operations", place), marks)


def _safe_area(recipe: Recipe, rendition: Rendition, at: Loc) -> Iterator[Fault]:
    if rendition.safe_area is None:
        return
    left, top, right, bottom = rendition.safe_area
    if left >= right or top >= bottom:
        remedy = "write left, top, right, bottom as fractions: 0.05, 0.1, 0.95, 0.9 for instance"
        yield fault(recipe, (*at, "safe_area"), "malformed", "nothing lies between its edges", remedy)


def _wide_colours(recipe: Recipe, rendition: Rendition, at: Loc) -> Iterator[Fault]:
    """Steps that need pixels leave none but sRGB's behind them."""
    rendered = ""
    for place, step in enumerate(rendition.operations):
        if step.op == "colour" and rendered and step.params.get("profile", "srgb") != "srgb":
            what = f"comes after {rendered!r}, which leaves nothing that sRGB does not hold"
            yield fault(
                recipe, (*at, "operations", place), "too_late", what, "make it the first step, or the one after `crop`"
            )
        rendered = rendered or ("" if step.op in WITHOUT_PIXELS else step.op)


def _step(recipe: Recipe, step: Operation, at: Loc, marks: Collection[str] | None) -> Iterator[Fault]:
    model = PARAMETERS.get(step.op)
    if model is None:
        what = f"there is no operation {step.op!r} of ours; without one of that name from outside its jobs fail"
        yield fault(recipe, (*at, "op"), "unknown_operation", what, suggest(step.op, PARAMETERS), error=False)
        return
    try:
        wanted = model.model_validate(step.params)
    except ValidationError as error:
        # Of a union each branch has its complaint, under a name of its own: what was written is the parameter.
        told = {loc[:1]: problem for loc, problem in reversed(problems_of(error, model))}
        for loc, problem in sorted(told.items()):
            yield fault(recipe, (*at, "params", *loc), problem.code, problem.what, problem.remedy)
        return
    yield from _marks(recipe, wanted, (*at, "params"), marks)


def _marks(recipe: Recipe, wanted: Parameters, at: Loc, marks: Collection[str] | None) -> Iterator[Fault]:
    for name in MARKS:
        mark = getattr(wanted, name, None)
        if marks is not None and mark is not None and mark not in marks:
            what = f"no brand here has a mark {mark!r}: it would be left out"
            yield fault(recipe, (*at, name), "unknown_mark", what, suggest(mark, marks), error=False)
