"""One of the six services as the harness starts it: `python -m tests.faults.service STAGE`.

With CALOTYPE_MUTANT set, that mutant of the product is applied first; with CALOTYPE_BUGS, a folder, its release has the
bug of `bug.py`. Then it is the service and nothing else.
"""

import importlib
import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    stage = sys.argv.pop(1)
    if mutant := os.environ.get("CALOTYPE_MUTANT"):
        importlib.import_module("tests.faults.mutants").apply(mutant, stage=stage)
    if bugs := os.environ.get("CALOTYPE_BUGS"):
        importlib.import_module("tests.faults.bug").lay(Path(bugs), stage)  # not before the mutant is in its place
    runpy.run_module(f"services.{stage}.__main__", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
