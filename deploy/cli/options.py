"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path, typer.Option("--data", envvar="CALOTYPE_DATA", help="The folder everything is kept in.", file_okay=False)
]
DATA = Path(".calotype")
