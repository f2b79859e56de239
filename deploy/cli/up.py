"""`calotype up`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy.cli.options import DATA, DataOption
from deploy.cli.terminal import Terminal
from deploy.errors import Problem
from deploy.local.data import DataFolder, read_json
from deploy.local.first_run import FIRST_WORKSPACE, ensure_workspace, known_access, sign_in_link
from deploy.local.supervisor import Supervisor


def up(
    data: DataOption = DATA,
    port: Annotated[int | None, typer.Option(help="The port people use; default: the last one, else 8420.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when everything is ready.")] = False,  # noqa: FBT002 a flag
) -> None:
    """Start PostgreSQL, Kafka, the six services and the one address in front of them.

    What CALOTYPE_KAFKA_BOOTSTRAP, DATABASE_URL and CALOTYPE_BLOBS_URL name is used instead of an embedded one.
    Ctrl-C stops everything in order; pressed again, at once.
    """
    if detach:
        _detach(data, port)
    else:
        with Terminal() as terminal:
            asyncio.run(run(Supervisor(data, port=port, progress=terminal), terminal))


async def run(supervisor: Supervisor, terminal: Terminal) -> None:
    """Keep everything running until told to stop."""
    told = Told(supervisor)
    starting = asyncio.create_task(supervisor.start())
    if await told.lets_finish(starting):
        link = await first_link(supervisor)
        terminal.console.print(f"\n  [bold]{link}[/]", soft_wrap=True)
        terminal.console.print("  signs one browser in, once, within 15 minutes; `calotype link` makes another.")
        terminal.console.print("\nCtrl-C stops everything.")
        await told.wait()
        terminal.step("Stopping")
        await supervisor.stop()
    else:
        terminal.step("Stopping before everything had started")
        starting.cancel()
        await asyncio.wait({starting})
    terminal.step("Stopped")


async def first_link(supervisor: Supervisor) -> str:
    """A link into the workspace of this installation, which the first start makes."""
    async with httpx.AsyncClient(base_url=supervisor.url, timeout=30, trust_env=False) as client:
        known = known_access(supervisor.data)
        access = known or await ensure_workspace(client, supervisor.data, name=FIRST_WORKSPACE)
        return await sign_in_link(client, access)


class Told:
    """Whether somebody told us to stop; the second time, everything is killed."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._event = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._hear)

    async def wait(self) -> None:
        await self._event.wait()

    async def lets_finish(self, starting: "asyncio.Task[Any]") -> bool:
        """Wait for the start; return False if we are told to stop before it is through."""
        waiting = asyncio.create_task(self.wait())
        await asyncio.wait({waiting, starting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if starting.done():
            starting.result()
        return starting.done()

    def _hear(self) -> None:
        if self._event.is_set():
            self._supervisor.kill()
        self._event.set()


def _detach(data: Path, port: int | None) -> None:
    folder = DataFolder(data)
    folder.prepare()
    log = folder.logs / "supervisor.log"
    command = [sys.executable, "-m", "deploy.cli", "up", "--data", str(folder.root)]
    with log.open("ab") as output:
        shown = output.tell()
        child = subprocess.Popen(
            [*command, *(["--port", str(port)] if port else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    while True:
        ended = child.poll() is not None
        with log.open() as lines:
            lines.seek(shown)
            sys.stdout.write(lines.read())
            shown = lines.tell()
        if ended:
            raise Problem("It did not start.", remedy=f"Its output is above, and in {log}.")
        holder = read_json(folder.run / "supervisor.json")
        if holder.get("pid") == child.pid and "url" in holder:
            return
        time.sleep(0.1)
