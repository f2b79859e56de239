"""`calotype up`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from deploy.cli.options import DATA, DataOption
from deploy.cli.terminal import Terminal
from deploy.errors import Problem
from deploy.local.data import DataFolder
from deploy.local.first_run import FIRST_WORKSPACE, ensure_workspace, known_access, sign_in_link
from deploy.local.supervisor import Supervisor


def up(
    data: DataOption = DATA,
    port: Annotated[int | None, typer.Option(help="The port people use; default: the last one, else 8420.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when everything is ready.")] = False,  # noqa: FBT002 a flag
    link: Annotated[bool, typer.Option(help="Print a link that signs one browser in, once.")] = True,  # noqa: FBT002 a flag
) -> None:
    """Start PostgreSQL, Kafka, the six services and the one address in front of them.

    What CALOTYPE_KAFKA_BOOTSTRAP, DATABASE_URL and CALOTYPE_BLOBS_URL name is used instead of an embedded one.
    Ctrl-C stops everything in order; pressed again, at once.
    """
    with Terminal() as terminal:
        if detach:
            address = _detach(data, port)
            if link:
                asyncio.run(print_link(terminal, data=DataFolder(data), address=address))
        else:
            asyncio.run(_up(Supervisor(data, port=port, signs=True, progress=terminal), terminal, link=link))


async def _up(supervisor: Supervisor, terminal: Terminal, *, link: bool) -> None:
    async def greet() -> None:
        if link:
            await print_link(terminal, data=supervisor.data, address=supervisor.local_url)
        else:
            terminal.console.print(f"\n  [bold]{supervisor.url}[/]")

    await run(supervisor, terminal, greet=greet)


async def run(supervisor: Supervisor, terminal: Terminal, *, greet: Callable[[], Awaitable[None]]) -> None:
    """Start everything, greet, and keep it running until told to stop."""
    told = Told(supervisor)
    starting = asyncio.create_task(supervisor.start())
    if not await told.lets_finish(starting):
        terminal.step("Stopping before everything had started")
        starting.cancel()
        await asyncio.wait({starting})
        return
    try:
        await greet()
        terminal.console.print("\nCtrl-C stops everything.")
        await told.wait()
    finally:
        terminal.step("Stopping")
        await supervisor.stop()
        terminal.step("Stopped")


async def print_link(terminal: Terminal, *, data: DataFolder, address: str) -> None:
    """Print a link into the workspace of this installation, which the first start makes."""
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as client:
        access = known_access(data) or await ensure_workspace(client, data, name=FIRST_WORKSPACE)
        url = await sign_in_link(client, access)
    terminal.console.print(f"\n  [bold]{url}[/]", soft_wrap=True)
    terminal.console.print("  signs one browser in, once, within 15 minutes; `calotype link` makes another.")


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


def _detach(data: Path, port: int | None) -> str:
    """Start another process that keeps everything running, and return its address when everything is ready."""
    folder = DataFolder(data)
    folder.prepare()
    log = folder.logs / "supervisor.log"
    command = [sys.executable, "-m", "deploy.cli", "up", "--no-link", "--data", str(folder.root)]
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
        with log.open("rb") as lines:
            lines.seek(shown)
            sys.stdout.buffer.write(lines.read())
            sys.stdout.flush()
            shown = lines.tell()
        if ended:
            raise Problem("It did not start.", remedy=f"Its output is above, and in {log}.")
        if address := folder.local_address(of=child.pid):
            return address
        time.sleep(0.1)
