"""`python -m tests.postprocess.labelled [--save] [--seeds FIRST LAST] [CHECK …]`: how often each check is right.

Without `--save` it says the figures, and of each kind of picture between which numbers the check found them: by that
limits are chosen, on other seeds than those that are published.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.postprocess.checks.published import FIGURES
from tests.postprocess.labelled.figures import figures, held_out, part, said
from tests.postprocess.labelled.page import PAGE, page
from tests.postprocess.labelled.said import Said
from tests.postprocess.labelled.sets import SETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.postprocess.labelled", description=__doc__)
    parser.add_argument("checks", nargs="*", choices=[[], *SETS])
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FIRST", "LAST"))
    parser.add_argument("--save", action="store_true", help="write published.json and docs/checks.md")
    asked = parser.parse_args()
    if asked.save and asked.seeds:
        parser.error("what is published is of the held-out seeds")
    for check in asked.checks or SETS:
        began = time.monotonic()
        found = said(check, range(*asked.seeds) if asked.seeds else held_out(check))
        figured = figures(check, found)
        sys.stdout.write(f"{check}: {json.dumps(figured)} in {time.monotonic() - began:.0f} s\n{_spread(found)}\n")
        if asked.save:
            save(check, figured)


def save(check: str, found: dict[str, Any]) -> None:
    """With the figures of the held-out seeds stand those of the part that the live tier repeats."""
    told = json.loads(FIGURES.read_text())
    told["checks"][check] = found
    told["part"][check] = figures(check, said(check, part(check)))
    FIGURES.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    PAGE.write_text(page(told["checks"]))


def _spread(found: Sequence[Said]) -> str:
    lines = []
    for kind in dict.fromkeys((each.faulty, each.kind) for each in found):
        numbers = [each.number or 0.0 for each in found if (each.faulty, each.kind) == kind]
        low, middle, high = (f"{value:.3g}" for value in np.percentile(numbers, (2, 50, 98)))
        lines.append(f"  {'faulty' if kind[0] else 'good'} {kind[1]}: {low} … {middle} … {high}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
