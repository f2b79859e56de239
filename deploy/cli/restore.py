"""`calotype restore`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.cli.backup import shown
from deploy.cli.options import DATA, AsJson, DataOption
from deploy.cli.terminal import Terminal
from deploy.local.data import DataFolder
from deploy.local.restoring import restore as restore_into


def restore(
    folder: Annotated[Path, typer.Argument(help="What `calotype backup` made.", metavar="DIR")],
    data: DataOption = DATA,
    replace: Annotated[bool, typer.Option("--replace", help="Move a data folder that is not empty aside.")] = False,  # noqa: FBT002 a flag
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Make a data folder of a backup. Every file is checked before anything is touched.

    At its first `calotype up` every service hears again what was told after its part of the backup, and work that was
    ended by then is not done again. What was accepted after the backup is not in it.
    """
    with Terminal(Console(highlight=False, stderr=as_json)) as terminal:
        manifest = restore_into(folder.absolute(), DataFolder(data), replace=replace, progress=terminal)
        if manifest["moved_aside"]:
            terminal.step(f"What was there is {manifest['moved_aside']} now")
        terminal.step(f"{data} stands as at {manifest['started_at']}; start it with `calotype up`")
    if as_json:
        typer.echo(json.dumps({"data": str(DataFolder(data).root)} | shown(manifest), indent=1))
