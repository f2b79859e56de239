"""`calotype mark …`: the invisible mark of pictures that come back from elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.options import DATA, AsJson, DataOption
from deploy.errors import Problem
from deploy.local.data import DataFolder
from shared.mark_keys import mark_key

SECONDS = 60
app = typer.Typer(help="The invisible mark of pictures.", no_args_is_help=True, add_completion=False)


@app.callback()
def mark() -> None:
    """The invisible mark that recipes with the operation `mark` leave in pictures."""


@app.command()
def read(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG, WebP or AVIF.", exists=True, dir_okay=False)],
    data: DataOption = DATA,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say which asset a picture was made as, from its pixels alone; exit status 1 where they carry no mark of ours."""
    key, brightness = _key(data), _brightness(file)
    from shared import marking  # noqa: PLC0415 a command line without the stages has no imaging library

    found = marking.read(marking.opened(brightness), key)
    if as_json:
        told = {"asset": found and found.asset, "score": found and found.score, "least": marking.LEAST}
        typer.echo(json.dumps(told))
    elif found:
        typer.echo(f"{found.asset} begins the asset's id (score {found.score:g}, {marking.LEAST:g} needed).")
    else:
        typer.echo("No mark of this key can be read.")
    raise typer.Exit(0 if found else 1)


def _key(data: Path) -> bytes:
    """The environment's, else the one that `calotype up` drew for this data folder."""
    given = os.environ.get("CALOTYPE_MARK_KEY")
    if given is None and not (data / "secrets.json").exists():
        remedy = "Set CALOTYPE_MARK_KEY to the key that the pictures were made with, or name the folder by --data."
        raise Problem(f"There is no mark key in {data}.", remedy=remedy)
    try:
        return mark_key(given if given is not None else DataFolder(data).mark_key())
    except ValueError as error:
        raise Problem(f"CALOTYPE_MARK_KEY cannot be used: {error}.", remedy="Look where the stages have it.") from None


def _brightness(file: Path) -> bytes:
    command = [sys.executable, "-m", "deploy.cli.mark_child"]
    try:
        with file.open("rb") as opened:
            child = subprocess.run(command, stdin=opened, capture_output=True, timeout=SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        why = said[-1] if said else "its decoder died or took too long"
        raise Problem(f"{file} cannot be read: {why}.", remedy="Try another copy of the picture.") from None
    return child.stdout
