"""Runs recipes over one original, and checks what came of it.

Imported by the child process only. What comes in and goes out is plain data (orders.py), so the worker and its children
need trust each other no further than JSON.
"""

from collections.abc import Sequence

from services.postprocess.beside import PHOTO, Beside, beside
from services.postprocess.checks.examine import examine
from services.postprocess.checks.moderation import MODERATION, moderated
from services.postprocess.checks.view import View
from services.postprocess.decoding import decode
from services.postprocess.encoding import versions
from services.postprocess.operations import NO_EQUIPMENT, Equipment, Materials
from services.postprocess.orders import Developed, Order
from services.postprocess.pictures import Picture
from services.postprocess.sitting import Sitting, proxies, renditions
from shared.pictures import Admitted, Limits

LIMITS = Limits()


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
    made = [*proxies(sitting), *renditions(sitting)]
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
