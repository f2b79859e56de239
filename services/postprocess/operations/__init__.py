"""The operations a recipe is made of: one file and one function each, from frame to frame, with typed parameters.

Those that only choose where to look (crop) move the frame's window and cost nothing; those that need pixels (resize,
pad) cut them from the shared pyramid, once, at the size asked for.

An operation from outside this tree is an entry point in the group `calotype.operations` that names an `Operation`.
"""

from functools import cache
from importlib.metadata import entry_points

from services.postprocess.operations.badge import BADGE
from services.postprocess.operations.canvas import CANVAS
from services.postprocess.operations.colour import COLOUR
from services.postprocess.operations.crop import CROP
from services.postprocess.operations.cut_out import CUT_OUT
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.logo import LOGO
from services.postprocess.operations.mark import MARK
from services.postprocess.operations.materials import NO_EQUIPMENT, Equipment, Materials
from services.postprocess.operations.operation import Operation
from services.postprocess.operations.pad import PAD
from services.postprocess.operations.resize import RESIZE
from services.postprocess.operations.sharpen import SHARPEN
from services.postprocess.operations.text import TEXT
from services.postprocess.operations.upscale import UPSCALE
from services.postprocess.operations.watermark import WATERMARK
from shared.library.operations import Parameters

__all__ = ["NO_EQUIPMENT", "Equipment", "Frame", "Materials", "Operation", "Parameters", "operations"]

OURS = (BADGE, CANVAS, COLOUR, CROP, CUT_OUT, LOGO, MARK, PAD, RESIZE, SHARPEN, TEXT, UPSCALE, WATERMARK)


@cache
def operations() -> dict[str, Operation]:
    """Every operation by its name; one of ours cannot be replaced from outside."""
    found = {point.name: point.load() for point in entry_points(group="calotype.operations")}
    return found | {operation.name: operation for operation in OURS}
