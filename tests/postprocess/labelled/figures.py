"""How often each check is right, from what it said of pictures of which the truth is known."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from services.postprocess.checks.examine import pixel_checks
from services.postprocess.twins import LIMIT
from tests.postprocess.labelled.said import Said
from tests.postprocess.labelled.sets import SETS

# Limits were chosen by the first; what is published is of the second, which nobody looked at before.
CHOSEN_BY = range(164)
HELD_OUT = range(1000, 1120)
# Fewer for those that are drawn twice as large, beside a photo: a seed of them takes two seconds.
BESIDE_PHOTO = frozenset({"label", "fidelity"})
# What the live tier repeats.
PART = range(1000, 1004)


def held_out(check: str) -> range:
    return HELD_OUT[: len(HELD_OUT) // 2] if check in BESIDE_PHOTO else HELD_OUT


def part(check: str) -> range:
    return PART[: len(PART) // 2] if check in BESIDE_PHOTO else PART


def said(check: str, seeds: Iterable[int]) -> list[Said]:
    return [each for seed in seeds for each in SETS[check](seed)]


def figures(check: str, found: Sequence[Said]) -> dict[str, Any]:
    """Recall: of the faulty, those stopped; alarms: of the good. Precision: of those stopped, if half were faulty."""
    faulty, good = [each for each in found if each.faulty], [each for each in found if not each.faulty]
    recall = sum(not each.ok for each in faulty) / len(faulty)
    alarms = sum(not each.ok for each in good) / len(good)
    missed = Counter(each.kind for each in found if each.ok == each.faulty)
    return {
        "limit": limit_of(check),
        "good": len(good),
        "faulty": len(faulty),
        "precision": round(recall / max(recall + alarms, 1e-9), 4),
        "recall": round(recall, 4),
        "alarms": round(alarms, 4),
        "wrong": dict(sorted(missed.items())),
    }


def limit_of(check: str) -> float | None:
    ours = pixel_checks().get(check)
    return ours.limit if ours else LIMIT if check == "twin" else None
