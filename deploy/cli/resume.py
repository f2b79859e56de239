"""`calotype resume`: takes a brake off again."""

import json

import typer

from deploy.cli.brakes import EveryoneOption, KindOption, NameOption, take_off
from deploy.cli.client import connected
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption


def resume(
    kind: KindOption,
    name: NameOption = None,
    *,
    everyone: EveryoneOption = False,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,
) -> None:
    """Let go what `pause` or `drain` holds back; for a consumer that stopped there is `calotype dlq resume`."""
    with connected(data, workspace=workspace) as client:
        found = take_off(client, kind, name, everyone=everyone)
    if as_json:
        typer.echo(json.dumps(found))
        return
    where = ", ".join(each["stage"] for each in found if each["released"])
    typer.echo(f"{kind} {name or 'of yours'} goes on in {where}." if where else f"{kind} {name or ''} was not braked.")
