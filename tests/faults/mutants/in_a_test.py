"""Mutants of what no trial does: laid into the process of a live test of that, which has to fail.

As a plugin (`pytest -p tests.faults.mutants.in_a_test`) it lays CALOTYPE_MUTANT's mutant into pytest's own process.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.mutants import apply
from tests.faults.mutants.mutant import Scenario
from tests.faults.mutants.trial import Found

ROOT = Path(__file__).resolve().parents[3]
GRACE = 30.0  # seconds for a test that is ended to end what it started


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
        try:
            status = await running.wait()
        finally:
            await _ended(running)
    told = (out / "test.log").read_text()
    failures = [line for line in told.splitlines() if line.startswith("FAILED ")]
    if status and not failures:  # a fixture, a server that does not start
        raise RuntimeError(f"pytest ended with status {status}: {told[-500:]}")
    found = Found(Counter({"test": status}) if status else Counter(), failures, time.monotonic() - began, crashes=0)
    say(f"{name or 'control':36} {found.seconds:4.0f} s  {dict(found.by_invariant) or 'nothing'}")
    return found


async def _ended(running: asyncio.subprocess.Process) -> None:
    """As Ctrl-C ends it, so that its servers go too."""
    if running.returncode is not None:
        return
    running.send_signal(signal.SIGINT)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(running.wait(), GRACE)
        return
    running.kill()
    await running.wait()
