"""`calotype source …`: pictures that requests start from."""

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console

app = typer.Typer(help="Pictures that requests start from.", no_args_is_help=True, add_completion=False)


@app.callback()
def source() -> None:
    """Pictures that requests start from: references, and masks of what is to be made anew."""


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP of at most 20 MiB.", exists=True, dir_okay=False)],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Add a picture and print the id that requests name it by; the same picture again has the same."""
    headers = {"Content-Type": "application/octet-stream"}  # its bytes say what it is
    with connected(data, workspace=workspace) as client:
        added = client.post("/v1/sources", content=file.read_bytes(), headers=headers)
    if as_json:
        typer.echo(json.dumps(added))
        return
    typer.echo(added["source_id"])
    plain_console(stderr=True).print(f"{added['width']} × {added['height']} px, sha256 {added['sha256']}")
