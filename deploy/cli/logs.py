"""`calotype logs SERVICE`."""

import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import DATA, DataOption
from deploy.errors import Problem
from deploy.local.data import DataFolder


def logs(
    service: Annotated[str, typer.Argument(help="A name that `calotype status` shows.")],
    data: DataOption = DATA,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,  # noqa: FBT002 a flag
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.")] = 200,
) -> None:
    """Print the end of a service's or server's log."""
    folder = DataFolder(data).logs
    log = folder / f"{service}.log"
    if not log.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet"
        raise Problem(f"There is no log of {service!r} in {folder}.", remedy=f"There are: {known}.")
    with log.open(errors="replace") as file:
        sys.stdout.writelines(deque(file, lines))
        place = file.tell()
    while follow:
        place = _print_from(log, place)
        time.sleep(0.2)


def _print_from(log: Path, place: int) -> int:
    """Print what came after `place`, from the top where the log has been cut meanwhile."""
    with log.open(errors="replace") as file:
        file.seek(place if log.stat().st_size >= place else 0)
        sys.stdout.write(file.read())
        sys.stdout.flush()
        return file.tell()
