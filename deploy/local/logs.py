"""The children's logs: one file each under the data folder, cut when it grows."""

import asyncio
import shutil
from pathlib import Path

LONGEST = 10 * 2**20
KEPT = 3
EVERY_SECONDS = 10.0


async def keep_short(folder: Path) -> None:
    """Cut the logs of `folder` whenever they have grown too long, for ever."""
    while True:
        for log in folder.glob("*.log"):
            await asyncio.to_thread(cut, log)
        await asyncio.sleep(EVERY_SECONDS)


def cut(log: Path, *, longest: int = LONGEST, kept: int = KEPT) -> None:
    """Move a long log's content to NAME.1 (and that to NAME.2, …) and empty the file in place.

    In place, because the child goes on writing to the file it has: it was opened for appending, so it continues at the
    new end. A line written between copy and cut is lost; the logs are for reading, what counts is in the ledger.
    """
    if log.stat().st_size <= longest:
        return
    for number in range(kept - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    with log.open("r+b") as file:
        file.truncate(0)
