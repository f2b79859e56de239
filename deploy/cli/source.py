"""`calotype source …`: pictures that requests start from."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

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


@app.command(name="list")
def list_(data: DataOption = DATA, workspace: WorkspaceOption = None, as_json: AsJson = False) -> None:  # noqa: FBT002 a flag
    """List the workspace's pictures, newest first, and what they take."""
    kept: list[dict[str, Any]] = []
    with connected(data, workspace=workspace) as client:
        page = client.get("/v1/sources", limit=500)
        kept += page["sources"]
        while page["next"] is not None:
            page = client.get("/v1/sources", limit=500, after=page["next"])
            kept += page["sources"]
    if as_json:
        typer.echo(json.dumps({"sources": kept, "used": page["used"], "limit": page["limit"]}))
        return
    table = Table(Column("source", min_width=36), "size", Column("bytes", justify="right"), "added", "by", box=None)
    for one in kept:
        size = f"{one['width']} × {one['height']}"
        table.add_row(one["source_id"], size, f"{one['bytes']:,}", one["created_at"][:16], one["uploaded_by"])
    console = plain_console()
    console.print(table)
    limit = "without limit" if page["limit"] is None else f"of {page['limit']:,}"
    console.print(f"{page['used']:,} bytes {limit}")


@app.command()
def delete(
    source_ids: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Ids of `calotype source list`.")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
) -> None:
    """Delete pictures and their bytes.

    Requests cannot name them any more, and jobs that were to start from them end as `missing_source`; the same picture,
    added again, comes back under its id.
    """
    with connected(data, workspace=workspace) as client:
        for source_id in source_ids:
            client.call("DELETE", f"/v1/sources/{source_id}")
            typer.echo(f"{source_id} is deleted.")
