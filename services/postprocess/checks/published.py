"""What was measured of checks (`python -m tests.postprocess.labelled --save`), and so which of them only advise."""

import json
from functools import cache
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parent / "published.json"
# A check that is wrong more often than this, either way, decides nothing.
GOOD_ENOUGH = 0.95


@cache
def figures() -> dict[str, dict[str, Any]]:
    """By check: its limit, how many pictures it saw, precision and recall."""
    found: dict[str, dict[str, Any]] = json.loads(FIGURES.read_text())["checks"]
    return found


def advises_only(check: str) -> bool:
    """Of a check of ours; one that was never measured only advises."""
    found = figures().get(check)
    return found is None or min(found["precision"], found["recall"]) < GOOD_ENOUGH
