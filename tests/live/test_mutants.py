"""The fault harness catches what is wrong with the product: five known defects a day, all of them by `make mutants`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
A_DAY = 5
# Of those that come to light in every trial, whatever the machine does beside it: nothing has to be met in its moment.
SURE = (
    "approval-without-asset-version",
    "asset-version-without-derivatives",
    "blob-key-without-hash",
    "ceiling-ignored",
    "completed-with-the-first-job",
    "dead-letter-not-kept",
    "dedupe-on-ce-id-alone",
    "event-id-drawn",
    "event-id-positional",
    "idempotency-key-without-workspace",
    "inbox-key-removed",
    "job-id-by-place",
    "partitioned-by-event",
    "poison-kills-the-batch",
    "progress-in-the-ledger",
    "prompt-logged",
    "publication-by-event",
    "secret-logged",
    "trace-not-carried-over-work",
    "workspace-filter-missing",
)


@pytest.mark.timeout(1800)
def test_the_harness_catches_the_defects_whose_turn_it_is(tmp_path: Path) -> None:
    first = int(time.time() // 86400) * A_DAY % len(SURE)
    today = (SURE + SURE)[first : first + A_DAY]
    command = [sys.executable, "-m", "tests.faults.mutants", "--only", *today]
    done = subprocess.run(
        [*command, "--no-controls", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
