"""`calotype link`."""

from typing import Annotated

import typer

from deploy.cli.client import connected
from deploy.cli.options import DATA, DataOption, WorkspaceOption


def link(
    path: Annotated[str, typer.Argument(help="The page it opens.")] = "/",
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
) -> None:
    """Print an address that signs one browser in, once, within fifteen minutes."""
    with connected(data, workspace=workspace) as client:
        typer.echo(client.post("/v1/links", {"next": path})["url"])
