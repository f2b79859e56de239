"""Whether the product is soft: out of focus, shaken, or painted over."""

from services.postprocess.checks.check import Check
from services.postprocess.checks.view import View
from shared.events import Verdict


def look(view: View, limit: float) -> Verdict:
    if view.softness is None:
        return Verdict(check="blur", ok=True, limit=limit, sentence="There is no edge to be sharp.")
    number = round(view.softness, 3)
    ok = number <= limit
    sentence = "The product is sharp." if ok else "The product is soft."
    return Verdict(check="blur", ok=ok, number=number, limit=limit, unit="of 1", sentence=sentence)


BLUR = Check(name="blur", look=look, limit=0.575, code="soft", usual=True)
