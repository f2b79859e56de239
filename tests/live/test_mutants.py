"""The fault harness catches what is wrong with the product: five known defects a day, all of them by `make mutants`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(1800)
def test_the_harness_catches_the_defects_whose_turn_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.mutants", "--rotate", "5", "--no-controls", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
