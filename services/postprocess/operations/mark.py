"""Write the asset's id into the pixels, where nobody sees it and `calotype mark read` finds it again. Comes last."""

from services.postprocess.marking import write
from services.postprocess.operations.frame import Frame
from services.postprocess.operations.operation import Operation
from shared.events import Verdict
from shared.library.operations import Mark
from shared.mark_keys import fingerprint
from shared.marking import LEAST, luma, read


def mark(frame: Frame, wanted: Mark) -> Frame:  # noqa: ARG001  # every operation is called alike
    key, asset = frame.materials.equipment.mark_key, frame.materials.asset
    if key is None or asset is None:
        return frame.judged(_verdict(None, "The picture carries no invisible mark: CALOTYPE_MARK_KEY is not set"))
    whole = frame.whole()
    marked = write(whole.pixels(), asset=asset, key=key)
    found = read(luma(marked), key)
    if found is None or not str(asset).startswith(found.asset):
        # Pure white, pure black, or so small that nothing fits in: the picture stays as it was.
        return frame.judged(_verdict(0, "The picture leaves no room for an invisible mark"))
    told = _verdict(found.score, f"The invisible mark reads {found.asset} with a score of {found.score:g}")
    return whole.replaced(marked).noted("mark", f"key {fingerprint(key)}").judged(told)


def _verdict(score: float | None, sentence: str) -> Verdict:
    return Verdict(check="mark", ok=bool(score), number=score, limit=LEAST, sentence=f"{sentence}.")


MARK = Operation.of("mark", Mark, mark)
