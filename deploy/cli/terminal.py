"""How a start looks in a terminal: a line for each step with its time, a bar for each download."""

import time
from functools import partial
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

WORTH_TELLING = 256 * 2**20  # bytes; less is over before anybody reads that it goes on
# Much of what is printed is strangers' words: brackets and colons in them are no markup and no emoji.
verbatim = partial(Console, highlight=False, markup=False, emoji=False)


class Terminal:
    """Shows progress while it is entered."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._bars = Progress(
            TextColumn("       {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self.console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._quarters: dict[str, int] = {}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def step(self, text: str) -> None:
        """Print a line."""
        self.console.print(Text.assemble((f"{time.monotonic() - self._began:5.1f} s", "dim"), f" {text}"))

    def download(self, what: str, *, done: int, total: int) -> None:
        """Move a bar; where there is no terminal to draw on, say when it begins."""
        if not self.console.is_terminal and done == 0:
            self.step(f"Downloading {what}, {total / 1e6:.0f} MB")
        self._bar(f"Downloading {what}", done, total)

    def share(self, what: str, *, done: int, total: int) -> None:
        """Move a bar; where there is no terminal to draw on, say each quarter."""
        quarter = 4 * done // max(total, 1)
        if not self.console.is_terminal and total >= WORTH_TELLING and 0 < quarter != self._quarters.get(what, 0) < 4:
            self._quarters[what] = quarter
            self.step(f"{what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        self._bar(what, done, total)

    def _bar(self, what: str, done: int, total: int) -> None:
        if not self.console.is_terminal:
            return
        if what not in self._tasks:
            self._bars.start()
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done)
        if done == total:
            self._bars.stop()


def plain_console(*, stderr: bool = False) -> Console:
    """For lists and sentences; into a pipe or a file, lines are as long as they are."""
    console = verbatim(stderr=stderr)
    return console if console.is_terminal else verbatim(stderr=stderr, width=1000)
