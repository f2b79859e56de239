"""Every refusal that somebody may read says what to do about it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFUSALS = {"Rejected": 4, "HttpProblem": None}  # with the remedy in which place, else by name alone


def without_remedy(path: Path) -> Iterator[int]:
    """The lines at which a refusal is made that names no remedy. One that is handed on in whole names its own."""
    source = path.read_text()
    if not any(name in source for name in REFUSALS):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSALS:
            place = REFUSALS[node.func.id]
            given = {keyword.arg for keyword in node.keywords}  # None: **fields
            whole = any(isinstance(argument, ast.Starred) for argument in node.args)
            if not (whole or given & {"remedy", None} or (place and len(node.args) >= place)):
                yield node.lineno


def test_every_refusal_says_what_to_do() -> None:
    paths = [path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")]
    silent = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in without_remedy(path)]
    assert not silent
