"""The fault harness catches what is wrong with the product: five known defects a day, all of them by `make mutants`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
A_DAY = 5


@pytest.mark.timeout(1800)
def test_the_harness_catches_five_defects_whose_turn_it_is(tmp_path: Path) -> None:
    turn = int(time.time() // 86400)
    command = [sys.executable, "-m", "tests.faults.mutants", "--rotate", str(A_DAY), "--seed", str(turn)]
    done = subprocess.run(
        [*command, "--no-controls", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
