"""How a program of the harness ends early: with everything that it started ended first."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until_told_to_end(work: Coroutine[Any, Any, T]) -> T:
    """SIGTERM is answered as Ctrl-C is."""
    task = asyncio.create_task(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
