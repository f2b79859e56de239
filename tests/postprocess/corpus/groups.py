"""The corpus by what its files have in common."""

from functools import cache

from tests.postprocess.corpus import jpegs, others, pngs, pngs_bad, webps
from tests.postprocess.corpus.cases import Decodes

GOOD = {
    "png": pngs.good,
    "png, turned": pngs.turned,
    "jpeg": jpegs.good,
    "jpeg, turned": jpegs.turned,
    "webp": webps.good,
    "webp, turned": webps.turned,
    "profiles": others.profiles,
}
BAD = {
    "bad png": pngs_bad.bad,
    "png bombs": pngs_bad.bombs,
    "bad jpeg": jpegs.bad,
    "jpeg bombs": jpegs.bombs,
    "bad webp": webps.bad,
    "webp bombs": webps.bombs,
    "other formats": others.foreign,
    "polyglots": others.polyglots,
}
ALL = {**GOOD, **BAD}
SMALL = 4000  # bytes of a file that is changed at random: each change hits something


@cache
def good_files() -> tuple[bytes, ...]:
    """Small files that decode, of every kind."""
    cases = (case for group in GOOD.values() for case in group())
    return tuple(case.data for case in cases if isinstance(case.expected, Decodes) and len(case.data) < SMALL)
