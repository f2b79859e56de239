"""`calotype up` with stand-ins for the six services: `python -m tests.servers.up --data DIR`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.terminal import Terminal
from deploy.cli.up import run
from deploy.local.supervisor import STAGES, Service, Supervisor


def stand_in(name: str) -> Service:
    argv = [sys.executable, "-m", "tests.servers.stand_in", "--with-worker"]
    root = str(Path(__file__).parents[2])
    return Service(name=name, argv=argv, environment={"STAND_IN": name, "PYTHONPATH": root})


def main(data: Annotated[Path, typer.Option()], port: Annotated[int | None, typer.Option()] = None) -> None:
    with Terminal() as terminal:
        services = [stand_in(name) for name in STAGES]
        supervisor = Supervisor(data, services=services, port=port, progress=terminal)
        asyncio.run(run(supervisor, terminal, greet=_say_nothing))


async def _say_nothing() -> None:
    """There is nobody to sign in: the stand-ins have no pages."""


if __name__ == "__main__":
    typer.run(main)
