"""`python -m tests.postprocess.labelled [--save] [--pictures DIR] [--seeds FIRST LAST] [CHECK …]`.

How often each check is right: of proofs, or of the photographs in a folder. Without `--save` it says the figures, and
of each kind of picture between which numbers the check found them: by that limits are chosen, on other seeds and other
photographs than those that are published.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.postprocess.checks.published import FIGURES
from tests.postprocess.labelled.figures import figures, held_out, part, said
from tests.postprocess.labelled.natural import NATURAL, natural
from tests.postprocess.labelled.page import PAGE, page
from tests.postprocess.labelled.photographs import CHOSEN, HELD_OUT, USES, photographs
from tests.postprocess.labelled.said import Said
from tests.postprocess.labelled.sets import SETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.postprocess.labelled", description=__doc__)
    parser.add_argument("checks", nargs="*", choices=[[], *SETS])
    parser.add_argument("--seeds", nargs=2, type=int, metavar=("FIRST", "LAST"))
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="photographs, in whatever folders below")
    parser.add_argument("--listed", choices=USES, help="only those of photographs.txt for this use")
    parser.add_argument("--save", action="store_true", help="write published.json and docs/checks.md")
    asked = parser.parse_args()
    if asked.save and (asked.seeds or asked.listed == CHOSEN):
        parser.error("what is published is of the held-out seeds and photographs")
    of_photographs(asked) if asked.pictures else of_proofs(asked)


def of_proofs(asked: argparse.Namespace) -> None:
    for check in asked.checks or SETS:
        began = time.monotonic()
        found = said(check, range(*asked.seeds) if asked.seeds else held_out(check))
        figured = figures(check, found)
        _tell(check, found, figured, began)
        if asked.save:
            save(check, checks=figured, part=figures(check, said(check, part(check))))


def of_photographs(asked: argparse.Namespace) -> None:
    """All that lie in the folder, or those of the list for one use; what is published is of those held out."""
    taken = list(photographs(asked.pictures, HELD_OUT if asked.save else asked.listed))
    for check in asked.checks or NATURAL:
        if check in NATURAL:
            began = time.monotonic()
            found = natural(check, taken)
            figured = figures(check, found) | {"photographs": len(taken)}
            _tell(check, found, figured, began)
            if asked.save:
                save(check, photographs=figured)


def save(check: str, **figured: dict[str, Any]) -> None:
    """With the figures of the held-out seeds stand those of the part that the live tier repeats."""
    told = json.loads(FIGURES.read_text())
    for of, found in figured.items():
        told.setdefault(of, {})[check] = found
    FIGURES.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    PAGE.write_text(page(told["checks"], told["photographs"]))


def _tell(check: str, found: Sequence[Said], figured: dict[str, Any], began: float) -> None:
    took = time.monotonic() - began
    sys.stdout.write(f"{check}: {json.dumps(figured)} in {took:.0f} s\n{_spread(found)}\n")


def _spread(found: Sequence[Said]) -> str:
    lines = []
    for kind in dict.fromkeys((each.faulty, each.kind) for each in found):
        numbers = [each.number or 0.0 for each in found if (each.faulty, each.kind) == kind]
        low, middle, high = (f"{value:.3g}" for value in np.percentile(numbers, (2, 50, 98)))
        lines.append(f"  {'faulty' if kind[0] else 'good'} {kind[1]}: {low} … {middle} … {high}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
