"""Cut the product out: everything else becomes see-through.

Along the alpha that the picture came with, else the shape that came with the image, else one that is found: by the
installation's model where it has one, and by the picture's colours.
"""

import numpy as np

from services.postprocess.geometry import Box
from services.postprocess.matting import fitted, shape_of, without_ground
from services.postprocess.model_files import ModelFailed
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from services.postprocess.pixels import Pixels, is_transparent
from services.postprocess.saliency import most_salient, salient
from shared.events import Verdict
from shared.library.operations import CutOut

# A product does not fill its picture to the rim: above this, as below the recipe's `least`, a shape is likelier wrong.
MOST = 0.95
MISSING = "The product is not cut out: no shape came with the image, and the recipe takes no other."


def cut_out(frame: Frame, wanted: CutOut) -> Frame:
    whole = frame.whole()
    pixels = whole.pixels()
    if is_transparent(pixels):
        return whole.noted("cut-out", "as it came")
    alpha, how, fault = _alpha(whole, wanted)
    if fault:
        whole = whole.judged(Verdict(check="cut-out", ok=False, sentence=fault))
    if alpha is None:
        return whole
    share = float(np.count_nonzero(alpha > 127)) / alpha.size
    made = whole.replaced(without_ground(pixels, alpha)).noted("cut-out", how)
    if how == "found" or not wanted.least <= share <= MOST:
        made = made.judged(_doubt(share, how, least=wanted.least))
    return made


def _alpha(frame: Frame, wanted: CutOut) -> tuple[Pixels | None, str, str | None]:
    """The shape, how it was come by, and what a reviewer must know of that."""
    if frame.mask is not None and wanted.by != "found":
        return frame.mask.full, "shape", None
    if wanted.by == "shape":
        return None, "none", MISSING
    models, fault = frame.materials.equipment.models, None
    if models.cut_out:
        try:
            return fitted(frame.picture, models.cut_out(frame.pixels())), models.names["cut_out"], None
        except ModelFailed as failed:
            fault = f"The product was cut out by its colours, since the model {failed}."
    return shape_of(frame.picture, frame.live or _guessed(frame)), "found", fault


def _guessed(frame: Frame) -> Box:
    """Where the product probably is: the salient half of the picture."""
    box = frame.picture.box
    return most_salient(salient(frame.picture), box, within=box, width=box.width * 0.7, height=box.height * 0.7)


def _doubt(share: float, how: str, *, least: float) -> Verdict:
    ok = least <= share <= MOST
    judged = "look at its edge" if ok else "which is hardly a product"
    found = {"shape": "came with the image", "found": "was found by its colours"}.get(how, "was found by a model")
    return Verdict(
        check="cut-out",
        ok=ok,
        number=round(share, 4),
        limit=least if share < least else MOST,
        unit="of the picture",
        sentence=f"The product's shape {found} and takes {share:.0%} of the picture: {judged}.",
    )


CUT_OUT = Operation.of("cut-out", CutOut, cut_out)
