"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path, typer.Option("--data", envvar="CALOTYPE_DATA", help="The folder everything is kept in.", file_okay=False)
]
WorkspaceOption = Annotated[
    str | None, typer.Option("--workspace", help="Whose key of the data folder to use; default: the first one's.")
]
AnyId = Annotated[str, typer.Argument(metavar="ID", help="A request, batch, job, asset, file, publication, event…")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DATA = Path(".calotype")
