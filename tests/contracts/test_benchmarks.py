"""The README's figures are those of the committed results, and every figure says which benchmark gives it."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).parents[2]
RESULTS: dict[str, Any] = {
    path.stem: orjson.loads(path.read_bytes()) for path in (ROOT / "benchmarks/results").glob("*.json")
}
ROW = re.compile(r"^\| `make bench-(\w+)` \| `(\w+)` \| ([\d.,]+) \|", re.MULTILINE)
FIGURES = ROW.findall((ROOT / "README.md").read_text())


def test_the_readme_has_a_figure_of_every_committed_result() -> None:
    assert {benchmark for benchmark, _, _ in FIGURES} == set(RESULTS)
    assert RESULTS


@pytest.mark.parametrize(("benchmark", "figure", "said"), FIGURES)
def test_a_figure_of_the_readme_is_the_committed_one(benchmark: str, figure: str, said: str) -> None:
    assert float(said.replace(",", "")) == RESULTS[benchmark][figure]


@pytest.mark.parametrize("benchmark", sorted(RESULTS))
def test_a_committed_result_names_its_arms_their_order_and_the_commit(benchmark: str) -> None:
    assert (ROOT / f"benchmarks/{benchmark}.py").is_file()
    assert {"arms", "order", "commit"} <= set(RESULTS[benchmark])
    assert set(RESULTS[benchmark]["order"]) == set(RESULTS[benchmark]["arms"])
