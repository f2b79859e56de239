"""The fault harness catches what is wrong with the product: two known defects a day, all of them by `make mutants`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Of those that come to light in every trial, whatever the machine does beside it.
SURE = ("completed-with-the-first-job", "event-id-drawn", "progress-in-the-ledger")


@pytest.mark.timeout(1800)
def test_the_harness_catches_the_defects_whose_turn_it_is(tmp_path: Path) -> None:
    turn = int(time.time() // 86400)
    left_out = SURE[turn % len(SURE)]
    today = [name for name in SURE if name != left_out]
    command = [sys.executable, "-m", "tests.faults.mutants", "--only", *today]
    done = subprocess.run(
        [*command, "--no-controls", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
