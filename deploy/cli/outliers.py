"""`calotype outliers CAMPAIGN`: which of its pictures are unlike the rest of their set, and in what."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console


def outliers(
    campaign: Annotated[str, typer.Argument(help="The campaign's name")],
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """Say which pictures of a campaign are unlike the rest, and in what; a set is what it has of one asset type."""
    with connected(data, workspace=workspace) as client:
        found = client.get("/v1/assets/statistics", campaign=campaign)
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = plain_console()
    if not found["sets"]:
        console.print(f"Nothing of {campaign} was measured yet.")
    for each in found["sets"]:
        console.print(said(each))
        if each["outliers"]:
            console.print(_table(each))


def said(found: Mapping[str, Any]) -> str:
    """One set in a line."""
    what = f"{found['asset_type']}: {found['assets']} pictures"
    if not found["measures"]:
        return f"{what}, too few to compare"
    medians = ", ".join(
        f"{name} {axis['median']:g} ± {axis['deviation']:g}" for name, axis in found["measures"].items()
    )
    return f"{what}, {len(found['outliers']) or 'none'} apart; {medians}"


def _table(found: Mapping[str, Any]) -> Table:
    table = Table("asset", "deviations", "why", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for one in found["outliers"]:
        table.add_row(one["asset_id"], f"{one['score']:g}", "; ".join(one["why"]))
    return table
