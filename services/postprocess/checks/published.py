"""What was measured of checks (`python -m tests.postprocess.labelled --save`), and so which of them only advise."""

import json
from functools import cache
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parent / "published.json"
# A check that is wrong more often than this, either way, decides nothing.
GOOD_ENOUGH = 0.95


@cache
def figures(of: str = "checks") -> dict[str, dict[str, Any]]:
    """By check: its limit, how many pictures it saw, precision and recall; of proofs, or `of` "photographs"."""
    found: dict[str, dict[str, Any]] = json.loads(FIGURES.read_text())[of]
    return found


def advises_only(check: str) -> bool:
    """Of a check of ours; one that was never measured only advises, as one that errs on photographs alone."""
    found = [figures(of)[check] for of in ("checks", "photographs") if check in figures(of)]
    return not found or min(min(each["precision"], each["recall"]) for each in found) < GOOD_ENOUGH
