"""`calotype backup`."""

import asyncio
import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deploy.cli.options import DATA, AsJson, DataOption
from deploy.cli.terminal import Terminal
from deploy.errors import Problem
from deploy.local.backup import Backup
from deploy.local.data import DataFolder, read_json
from deploy.local.positions import read_positions


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.", metavar="DIR")],
    data: DataOption = DATA,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Copy database, events, pictures and settings of a running installation into DIR, whole or not at all.

    Nothing stops meanwhile. DIR holds the installation's secrets: keep it as you keep them. `calotype restore` makes a
    data folder of it again.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was copied so far goes
    with Terminal(Console(highlight=False, stderr=as_json)) as terminal:
        manifest = _take(DataFolder(data), folder.absolute(), terminal)
        terminal.step(f"The backup is {folder}, {manifest['bytes'] / 1e6:.0f} MB")
    if as_json:
        typer.echo(json.dumps({"backup": str(folder.absolute())} | shown(manifest), indent=1))


def _take(data: DataFolder, into: Path, terminal: Terminal) -> dict[str, Any]:
    servers = _running(data)
    if into.exists():
        raise Problem(f"{into} is there already.", remedy="Name a folder that is not: a backup never changes another.")
    if data.root in [into, *into.parents]:
        raise Problem(f"{into} lies in the data folder.", remedy="Name one outside, on another disk if you can.")
    began = datetime.now(UTC)
    positions = asyncio.run(read_positions(servers["kafka"]))  # no loop around the rest: it would swallow Ctrl-C
    terminal.step(f"{len(positions.groups)} consumer groups on {len(positions.ends)} topics")
    return Backup(data, into, positions, terminal).take(began)


def _running(data: DataFolder) -> dict[str, str]:
    """Address of each server that runs on the folder."""
    if data.holder() is None:
        raise Problem(
            f"Nothing runs on {data.root}.", remedy="Start it with `calotype up`, or name another: --data DIR."
        )
    found = {name: read_json(data.run / f"{name}.json") for name in ("postgres", "kafka")}
    for name, record in found.items():
        if not record:
            raise Problem(
                f"This installation uses a {name} of yours.",
                remedy="Use its own tools; docs/backup.md says how.",
            )
        if record["state"] != "ready":
            raise Problem(f"{name} is {record['state']}.", remedy="Try again when `calotype status` says it is ready.")
    return {name: record["address"] for name, record in found.items()}


def shown(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a person or a program wants to know of a backup; positions are the restore's business."""
    return {name: value for name, value in manifest.items() if name != "positions"}
