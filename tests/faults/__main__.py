"""`python -m tests.faults --seed S --requests N --faults M`: breaks everything, and says what became of it."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.arms import CRASHED
from tests.faults.ending import until_told_to_end
from tests.faults.registry import KINDS
from tests.faults.run import Asked, last_line, run
from tests.faults.scale import Scale

KNOWN = {CRASHED, *(kind.name for kind in KINDS)}
SECONDS_A_FAULT = 1.2
SECONDS_A_REQUEST = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--scale", type=float, default=Scale().factor, help="1: production's durations")
    parser.add_argument("--minutes", type=float, default=None, help="how long the load is spread over")
    parser.add_argument("--gap", type=float, default=None, help="seconds between planned faults, else minutes / faults")
    parser.add_argument("--only", nargs="+", default=[], metavar="KIND", help="these kinds of faults")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--mutant", default="", help="a mutant of tests/faults/mutants, that has to be caught")
    parser.add_argument(
        "--after", nargs="+", default=[], type=Path, metavar="REPORT", help="earlier runs, whose crash points count too"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and ledgers of a run that went well too")
    told = parser.parse_args()
    out: Path = told.out or Path(tempfile.mkdtemp(prefix=f"faults-{told.seed}-"))
    if told.out is not None and out.exists() and any(out.iterdir()):
        parser.error(f"{out} is not empty: ledgers of two runs must not mix")
    out.mkdir(parents=True, exist_ok=True)
    if unknown := set(told.only) - KNOWN:
        parser.error(f"no kind of fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(KNOWN))}")
    if told.only == [CRASHED]:
        parser.error(f"{CRASHED} needs a kind beside it that makes services start again, for example process.killed")
    seconds = (
        told.minutes * 60 if told.minutes else max(told.faults * SECONDS_A_FAULT, told.requests * SECONDS_A_REQUEST)
    )
    asked = Asked(
        seed=told.seed,
        requests=told.requests,
        faults=told.faults,
        scale=Scale(factor=told.scale),
        seconds=seconds,
        gap=told.gap,
        out=out.resolve(),
        only=tuple(told.only),
        mutant=told.mutant,
        met_before=dict(sum((met_in(report) for report in told.after), Counter())),
    )
    if too_long := set(told.only) - {CRASHED} - {kind.name for kind in asked.kinds()}:
        parser.error(f"{', '.join(sorted(too_long))} lasts too long for this run: give it more --minutes")
    report = asyncio.run(until_told_to_end(run(asked, say=say)))
    for violation in report["violations"]:
        say(f"VIOLATION {violation}")
    if report["violations"]:
        say(f"logs, ledgers and report.json: {asked.out}")
    elif not told.keep:
        clear(asked.out, wholly=told.out is None)
    say(json.dumps(last_line(report)))
    return 1 if report["violations"] else 0


def met_in(report: Path) -> Counter[str]:
    return Counter(json.loads(report.read_text())["crash_points"])


def clear(out: Path, *, wholly: bool) -> None:
    """Of a run that went well only the report is worth keeping, and that only where somebody named a place for it."""
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "report.json":
            path.unlink()
    if wholly:
        shutil.rmtree(out)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
