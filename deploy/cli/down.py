"""`calotype down`."""

import asyncio
import os
import signal
import time

from deploy.cli.options import DATA, DataOption
from deploy.cli.terminal import verbatim
from deploy.errors import Problem
from deploy.local.data import DataFolder
from deploy.local.servers import stop_leftovers

PATIENCE = 120.0


def down(data: DataOption = DATA) -> None:
    """Stop the supervisor of a data folder and everything it runs, or what a killed one left running."""
    console = verbatim()
    folder = DataFolder(data)
    holder = folder.holder()
    if holder is None and not folder.root.is_dir():
        raise Problem(f"There is no folder {folder.root}.", remedy="Name the one `calotype up` was given: --data DIR.")
    if holder is None:
        with folder.held():
            stopped = asyncio.run(stop_leftovers(folder))
        console.print(f"Stopped what was left running: {', '.join(stopped)}" if stopped else "Nothing was running.")
        return
    os.kill(holder.pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while holder.alive():
        if time.monotonic() > deadline:
            raise Problem(
                f"Process {holder.pid} is still stopping after {PATIENCE:.0f} s.",
                remedy=f"See {folder.logs}; `kill -9 {holder.pid}` is safe, the next `calotype up` recovers.",
            )
        time.sleep(0.05)
    console.print("Stopped.")
