"""What every benchmark shares: interleaved rounds, a table for people, one JSON object as the last line.

`make bench-NAME` runs `python -m benchmarks.NAME`; `--save` keeps the last line in `benchmarks/results/NAME.json`,
which the README's figures are held against.
"""

import argparse
import asyncio
import gc
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from deploy.local.servers import EmbeddedServers
from shared.service import GC_THRESHOLDS

RESULTS = Path(__file__).parent / "results"
Arm = Callable[[], Coroutine[Any, Any, dict[str, float]]]


@dataclass
class Result:
    """Figures per arm and round, and what is claimed of them."""

    name: str
    unit: str
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def median(self, arm: str, figure: str) -> float:
        return statistics.median(round_[figure] for round_ in self.rounds[arm])

    def ratio(self, arm: str, other: str, figure: str) -> float:
        """Median of the ratios of neighbouring rounds: what drifts on the machine cancels out."""
        pairs = zip(self.rounds[arm], self.rounds[other], strict=True)
        return round(statistics.median(one[figure] / two[figure] for one, two in pairs), 3)


async def interleave(result: Result, arms: Mapping[str, Arm], *, rounds: int, warm: int = 1) -> None:
    """Runs the arms in turn, in the other order every second round; the first rounds only warm up."""
    for number in range(-warm, rounds):
        names = list(arms)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            figures = await arms[name]()
            if number >= 0:
                result.rounds.setdefault(name, []).append(figures)
                result.order.append(name)
                say(
                    f"  round {number + 1} of {rounds}: {name} "
                    + ", ".join(f"{k} {v:,.1f}" for k, v in figures.items())
                )


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def report(result: Result, ratios: dict[str, float], *, save: bool, **more: Any) -> None:
    """The table, then the last line."""
    figures = list(next(iter(result.rounds.values()))[0])
    table = Table("arm", *(f"{figure} (median)" for figure in figures), title=f"{result.name}, {result.unit}")
    for arm in result.rounds:
        table.add_row(arm, *(f"{result.median(arm, figure):,.1f}" for figure in figures))
    Console(width=110).print(table)
    line = {
        "benchmark": result.name,
        **ratios,
        "arms": {arm: {figure: round(result.median(arm, figure), 2) for figure in figures} for arm in result.rounds},
        "order": result.order,
        "commit": commit(),
        **more,
    }
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{result.name}.json").write_bytes(
            orjson.dumps(line, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    sys.stdout.write(orjson.dumps(line).decode() + "\n")


def commit() -> str:
    """The commit that was measured, marked when the tree differs from it."""
    command = ("git", "describe", "--always", "--dirty", "--abbrev=12")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def arguments(description: str | None, *, more: Sequence[tuple[str, dict[str, Any]]] = ()) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results/")
    for name, options in more:
        parser.add_argument(name, **options)
    return parser.parse_args()


@contextmanager
def servers(*, kafka: bool = True) -> Iterator[EmbeddedServers]:
    """The embedded Kafka and Postgres, watched from a thread of their own, on a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="calotype-bench-"))
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="servers")
    thread.start()
    running = EmbeddedServers(folder, kafka=kafka)
    try:
        asyncio.run_coroutine_threadsafe(running.start(), loop).result()
        yield running
        asyncio.run_coroutine_threadsafe(running.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        shutil.rmtree(folder, ignore_errors=True)


def run(main: Callable[[EmbeddedServers], Coroutine[Any, Any, None]], *, kafka: bool = True) -> None:
    """Runs `main` on the loop that the services run on, beside real servers."""
    import uvloop  # noqa: PLC0415  # only a benchmark's entry pays

    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with servers(kafka=kafka) as running, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(running))
