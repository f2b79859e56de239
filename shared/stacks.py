"""What every task of a process waits for, for whoever looks at one that stands still."""

import asyncio
import signal
from types import CodeType
from typing import Any

import structlog

log = structlog.get_logger()


def show_on_signal(loop: asyncio.AbstractEventLoop) -> None:
    """From now on `kill -USR1` writes a line a task into the log; the process goes on."""
    loop.add_signal_handler(signal.SIGUSR1, show)


def show() -> None:
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        log.warning("task.waits", task=task.get_name(), at=places(task.get_coro()))


def places(coroutine: Any) -> list[str]:
    """Where a suspended coroutine stands and each that it waits for, outermost first: `function (file:line)`."""
    found = []
    while coroutine is not None:
        kind = "gi" if hasattr(coroutine, "gi_frame") else "cr"
        frame = getattr(coroutine, f"{kind}_frame", None)
        if frame is None:
            break  # a future, or a coroutine that C code runs
        code: CodeType = frame.f_code
        found.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else "cr_await", None)
    return found
