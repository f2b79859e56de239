"""`make test`: the fast tier, lint, the live tier, the faults, each whatever the others said; one count at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out"
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "--quiet", "."),
    ("mypy",),
    ("lint-imports", "--no-logo"),
    ("squawk", "--reporter", "gcc"),
)
FAULTS = "tests/faults/test_faults.py"
NOT_RUN = OUT / "not-run.txt"
FAST = ("-n", "2", "--dist", "loadfile")
# Three at a time on two cores, each with servers of its own: most of it waits for something to happen. The files come
# in the order of tests/live/conftest.py, the longest first.
LIVE = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "20")


@dataclass
class Count:
    """How many of each; a linter counts as one."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def main(names: list[str]) -> int:
    OUT.mkdir(exist_ok=True)
    # What the browser tests saw, kept for people to look at.
    os.environ.setdefault("CALOTYPE_SCREENSHOTS", str(OUT / "screenshots"))
    NOT_RUN.unlink(missing_ok=True)
    aside = ThreadPoolExecutor(1)
    # Begun with the fast tests, which leave half a core to whoever wants it, and told in its turn.
    linted = [aside.submit(_linted, *each) for each in LINT] if not names or "lint" in names else []
    steps: dict[str, Callable[[], Count]] = {
        "fast": lambda: tests("fast", *FAST, "tests", "-m", "not live", "--ignore=tests/live", f"--ignore={FAULTS}"),
        "lint": lambda: lint(linted),
        "live": lambda: tests("live", *LIVE, "tests", "-m", "live", f"--ignore={FAULTS}"),
        # Alone: it has both cores for itself, and says every ten seconds where it stands.
        "faults": lambda: tests("faults", "-s", FAULTS),
    }
    counts = {}
    for name in names or steps:
        began = time.monotonic()
        say(f"\n== {name}")
        counts[name] = steps[name]()
        say(f"== {name}: {counts[name]} in {time.monotonic() - began:.0f} s")
    total = sum(counts.values(), Count())
    missed = NOT_RUN.read_text().splitlines() if NOT_RUN.exists() else []
    for line in missed:
        say(f"NOT RUN {line}")
    if missed and os.environ.get("CI") == "true":
        say("With CI=true every test has to run.")
        total.failed += len(missed)
    say(f"{total}")
    return 1 if total.failed else 0


def note_not_run(lines: Iterable[str]) -> None:
    """What could not be run here, each with why: told at the end, and a failure with CI=true."""
    NOT_RUN.parent.mkdir(exist_ok=True)
    with NOT_RUN.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def tests(name: str, *arguments: str) -> Count:
    report = OUT / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if not report.exists():
        return Count(failed=1)
    suites = ET.parse(report).getroot().iter("testsuite")
    found = sum((_count(suite) for suite in suites), Count())
    if status and not found.failed:  # it failed by something that is no test's: a broken plugin, an interrupt
        found.failed = 1
    return found


def _count(suite: ET.Element) -> Count:
    number = {name: int(suite.get(name, 0)) for name in ("tests", "errors", "failures", "skipped")}
    failed = number["errors"] + number["failures"]
    return Count(number["tests"] - failed - number["skipped"], failed, number["skipped"])


def lint(linted: Iterable[Future[tuple[str, bool]]]) -> Count:
    count = Count()
    for each in linted:
        told, passed = each.result()
        say(told)
        count += Count(passed=1) if passed else Count(failed=1)
    return count


def _linted(tool: str, *arguments: str) -> tuple[str, bool]:
    paths = [str(path) for path in migrations()] if tool == "squawk" else []
    command = [str(Path(sys.executable).parent / tool), *arguments, *paths]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = f"{tool} {' '.join(arguments)}: {'failed' if done.returncode else 'passed'}"
    return f"{done.stdout}{end}", done.returncode == 0


def migrations() -> Iterator[Path]:
    yield from ROOT.glob("s*/**/migrations/*.sql")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
