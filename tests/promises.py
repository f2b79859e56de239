"""What the product promises, and whether each promise is shown: `make promises` prints what is not."""

import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/promises.md"


@dataclass(frozen=True, slots=True)
class Promise:
    """One row of the page: what a user may hold the product to, and the test ids or commands that show it."""

    text: str
    shown_by: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.text}: {', '.join(self.shown_by) or 'nothing shows it'}"


def promises(page: str) -> list[Promise]:
    rows = [line.strip().strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    return [
        Promise(cells[0].strip(), tuple(re.findall(r"`([^`]+)`", cells[1])))
        for cells in rows
        if len(cells) == 2 and cells[0].strip() not in {"promise", "---"} and set(cells[0]) != {"-"}
    ]


def unmet(found: Sequence[Promise]) -> list[Promise]:
    """Promises that nothing shows, or that name a test or a command which does not exist."""
    targets = set(re.findall(r"^([a-z][a-z%-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    return [
        promise for promise in found if not promise.shown_by or not all(_exists(e, targets) for e in promise.shown_by)
    ]


def _exists(evidence: str, targets: set[str]) -> bool:
    if evidence.startswith("make "):
        name = evidence.split()[1]
        return name in targets or (name.startswith("bench-") and (ROOT / f"benchmarks/{name[6:]}.py").exists())
    path, _, name = evidence.partition("::")
    file = ROOT / path
    return file.is_file() and (not name or name.split("[")[0] in _tests(file))


def _tests(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


def main() -> int:
    found = promises(PAGE.read_text())
    missing = unmet(found)
    for promise in missing:
        sys.stdout.write(f"not shown: {promise}\n")
    line = {"promises": len(found), "shown": len(found) - len(missing), "unmet": [promise.text for promise in missing]}
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
