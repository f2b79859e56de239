"""Mutants of what no trial does: laid into the process of a live test of that, which has to fail.

As a plugin (`pytest -p tests.faults.mutants.in_a_test`) it lays CALOTYPE_MUTANT's mutant into pytest's own process.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.mutants import apply
from tests.faults.mutants.mutant import Scenario
from tests.faults.mutants.trial import Found

ROOT = Path(__file__).resolve().parents[3]
FAILED = 1  # pytest's exit status where a test failed; any other is trouble of its own


def pytest_configure() -> None:
    if name := os.environ.get("CALOTYPE_MUTANT"):
        apply(name)


async def tried_in_a_test(name: str, scenario: Scenario, *, out: Path, say: Callable[[str], None]) -> Found:
    """Runs the scenario's test with the mutant in it; `name` may be nothing."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", __name__, scenario.test]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "test.log").open("wb") as log:
        running = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**os.environ, "CALOTYPE_MUTANT": name}, stdout=log, stderr=log
        )
        status = await running.wait()
    told = (out / "test.log").read_text()
    if status not in {0, FAILED}:
        raise RuntimeError(f"pytest ended with status {status}: {told[-500:]}")
    failures = [line for line in told.splitlines() if line.startswith("FAILED ")]
    found = Found(Counter({"test": status}) if status else Counter(), failures, time.monotonic() - began, crashes=0)
    say(f"{name or 'control':36} {found.seconds:4.0f} s  {dict(found.by_invariant) or 'nothing'}")
    return found
