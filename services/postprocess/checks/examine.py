"""Everything that is found in one picture by looking at it: the verdicts that are asked for, and its measures.

A check from outside this tree is an entry point in the group `calotype.checks` that names a `Check`.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points

from services.postprocess.checks.blur import BLUR
from services.postprocess.checks.check import Check
from services.postprocess.checks.clipping import CLIPPING
from services.postprocess.checks.entropy import ENTROPY, NOISE
from services.postprocess.checks.fidelity import FIDELITY, LABEL
from services.postprocess.checks.measures import measured
from services.postprocess.checks.palette import PALETTE
from services.postprocess.checks.published import advises_only
from services.postprocess.checks.view import View
from shared.events import Measures, Verdict

OURS = (ENTROPY, NOISE, BLUR, CLIPPING, PALETTE, LABEL, FIDELITY)


@cache
def pixel_checks() -> dict[str, Check]:
    """Every check of pixels by its name; one of ours cannot be replaced from outside."""
    found = {point.name: point.load() for point in entry_points(group="calotype.checks")}
    return found | {check.name: replace(check, advisory=advises_only(check.name)) for check in OURS}


def examine(
    view: View, *, asked: Collection[str] = (), limits: Mapping[str, float] | None = None
) -> tuple[list[Verdict], Measures]:
    """The usual checks and those that are asked for; `limits` by check in place of the shipped ones."""
    own = limits or {}
    checks = [check for check in pixel_checks().values() if check.name in asked or _is_usual(check, view)]
    return [check.judge(view, limit=own.get(check.name)) for check in checks], measured(view)


def _is_usual(check: Check, view: View) -> bool:
    """A tiny picture gets no lines that say it is tiny, unless somebody asks."""
    return check.usual and not view.is_small
