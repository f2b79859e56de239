"""`calotype audit`: who did what to the pipeline."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deploy.cli.client import connected, of_stages
from deploy.cli.options import DATA, AsJson, DataOption, WorkspaceOption
from deploy.cli.terminal import plain_console
from deploy.errors import Problem

STAGES = ("intake", "inference", "postprocess", "catalog", "publisher")


def audit(
    by: Annotated[str | None, typer.Option(help="Only what this person or system did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this act, or all of a kind: brake, dlq, key…")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    data: DataOption = DATA,
    workspace: WorkspaceOption = None,
    as_json: AsJson = False,  # noqa: FBT002 a flag
) -> None:
    """List what people did: brakes, retries, dead letters, keys, limits. Decisions are in `calotype trace`."""
    with connected(data, workspace=workspace) as client:
        answers = of_stages(client, STAGES, "actions", {"by": by, "action": action, "limit": limit})
    acts = [act for answer in answers.values() if answer is not None for act in answer["actions"]]
    acts.sort(key=lambda act: str(act["acted_at"]), reverse=True)
    silent = [stage for stage, answer in answers.items() if answer is None]
    if as_json:
        typer.echo(json.dumps({"actions": acts[:limit], "silent": silent}))
    else:
        console = plain_console()
        console.print(_table(acts[:limit]) if acts else Text("Nobody did anything.", "dim"))
    if silent:
        raise Problem(
            f"Acts on {', '.join(silent)} are missing here: no answer came.", remedy="See `calotype status`, ask again."
        )


def _table(acts: list[Mapping[str, Any]]) -> Table:
    table = Table("when (UTC)", "who", "did", "to", "more", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for act in acts:
        more = ", ".join(f"{name} {_short(value)}" for name, value in act["detail"].items() if value is not None)
        table.add_row(
            str(act["acted_at"])[:19].replace("T", " "), act["principal"], act["action"], act["subject"], more
        )
    return table


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
