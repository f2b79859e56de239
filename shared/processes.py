"""Processes of our own code that take work off this one: few variables, our modules, nothing on the terminal."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# All it inherits: how to find programs and libraries, none of the service's secrets.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


async def start_module(module: str) -> Process:
    """Runs a module of ours, asked over its standard input and heard over its standard output."""
    inherited = {name: value for name, value in os.environ.items() if name in INHERITED}
    # numpy's linear algebra is not used: its threads would only take memory.
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        env=inherited | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal is the worker's to answer
    )
